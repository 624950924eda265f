"""One tick of the autoscaler: how many pods a revision should have, and how much burst there is room for beyond them.

Called by `decider` every two seconds. The stable window says how many; when the panic window wants at least
`panic_threshold` times the pods that there are, the greater of the two counts, and for as long as that and a stable
window beyond it nothing is scaled down.

The subtle thing is what comes after what. The rates limit what the windows ask for, and nothing later: the activation
scale, the panic's highest number and the scale-down delay may each be beyond them, and all four come before the bounds
that `reconcile` knows.
"""

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Final

from knative_mig.core.kpa.settings import Settings
from knative_mig.core.kpa.stats import Observed

TICK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Of an interval of the length of a tick."""

    interval: int
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a tick leaves to the next one."""

    panicking_since: float | None = None  # its last moment over the threshold
    most_in_panic: int = 0
    delay_intervals: int = 0  # of the scale-down delay; 0: there is none
    wishes: tuple[Wish, ...] = ()  # within the delay, each lower and later than the one before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    pods: int
    excess_burst: int  # below 0: requests have to come by the activator
    memory: Memory
    reasons: tuple[str, ...]


def begun(settings: Settings, ready: int, now: float) -> Memory:
    """What a fresh autoscaler knows. It begins in panic where pods are, lest it scale down what it has no data of."""
    delay = ceil(settings.scale_down_delay_s / TICK_S)
    return Memory(panicking_since=now if ready > 1 else None, most_in_panic=ready, delay_intervals=delay)


def scale(memory: Memory, settings: Settings, ready: int, observed: Observed, now: float) -> Scaled:
    pods = max(1, ready)
    stable = ceil(observed.stable / settings.target)
    panic = ceil(observed.panic / settings.target)
    reasons = [f"{observed.stable:g} in the stable window is {stable} pods of {settings.target:g}"]
    wanted = _within(stable, settings, pods, reasons)
    memory = _panicked(memory, settings, now, over=panic / pods >= settings.panic_threshold)
    if memory.panicking_since is not None:
        reasons.append(f"panicking: {observed.panic:g} in the panic window is {panic} pods")
        most = max(memory.most_in_panic, wanted, _within(panic, settings, pods, reasons))
        if most > wanted:
            reasons.append(f"no fewer than {most} while panicking")
        memory = replace(memory, most_in_panic=most)
        wanted = most
    if settings.reachable and memory.delay_intervals:
        memory = replace(memory, wishes=_remembered(memory, floor(now) // int(TICK_S), wanted))
        if (held := memory.wishes[0].pods) != wanted:
            reasons.append(f"{held} for a scale-down delay of {settings.scale_down_delay_s:g} s")
            wanted = held
    excess = _excess_burst(settings, ready, observed.panic)
    return Scaled(pods=wanted, excess_burst=excess, memory=memory, reasons=tuple(reasons))


def _within(wish: int, settings: Settings, pods: int, reasons: list[str]) -> int:
    """What rates and activation scale make of what a window asks for."""
    most = ceil(settings.max_up_rate * pods)  # rounded up, so that it is more than there are
    least = floor(pods / settings.max_down_rate) if settings.reachable else 0
    wanted = min(max(wish, least), most)
    if wanted != wish:
        reasons.append(f"{wanted} by the rate of scaling {'up' if wanted < wish else 'down'}")
    if settings.activation_scale > 1 and wish > 0 and settings.activation_scale > wanted:
        reasons.append(f"{settings.activation_scale} by the activation scale")
        return settings.activation_scale
    return wanted


def _panicked(memory: Memory, settings: Settings, now: float, *, over: bool) -> Memory:
    if over:
        return replace(memory, panicking_since=now)
    if memory.panicking_since is not None and memory.panicking_since + settings.stable_window_s < now:
        return replace(memory, panicking_since=None, most_in_panic=0)
    return memory


def _remembered(memory: Memory, interval: int, pods: int) -> tuple[Wish, ...]:
    """The highest wish of the last intervals comes first. An earlier one that is no higher can never be it again."""
    higher = [each for each in memory.wishes if each.pods > pods and interval - each.interval < memory.delay_intervals]
    return (*higher, Wish(interval, pods))


def _excess_burst(settings: Settings, ready: int, in_flight: float) -> int:
    if settings.burst == 0:
        return 0
    if settings.burst < 0:
        return -1
    return floor(ready * settings.total - settings.burst - in_flight)
