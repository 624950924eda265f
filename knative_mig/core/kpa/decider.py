"""What the autoscaler thinks of one revision between two ticks, and when a tick comes before its time.

Called by whoever keeps the time: `created` with the revision's first pass of `reconcile`, `ticked` each `TICK_S` from
then on, and at once where `wakes` says so. The subtle thing is the -1. A tick that knows nothing changes nothing, so
after a restart of the autoscaler nothing is wanted, not even what min-scale asks for, until there are data.
"""

from dataclasses import dataclass, replace
from typing import Final

from knative_mig.core.kpa.scale import Memory, begun, scale
from knative_mig.core.kpa.settings import Settings
from knative_mig.core.kpa.stats import Observed, Stat

UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    desired: int = UNKNOWN
    excess_burst: int
    memory: Memory
    reasons: tuple[str, ...] = ("nothing is known yet",)


def created(settings: Settings, ready: int, now: float) -> Decider:
    burst = (
        int(settings.burst) if settings.burst <= 0 else int(settings.initial_scale * settings.total - settings.burst)
    )
    return Decider(excess_burst=burst, memory=begun(settings, ready, now))


def ticked(decider: Decider, settings: Settings, ready: int, observed: Observed | None, now: float) -> Decider:
    if observed is None:
        return replace(decider, reasons=("no data",))
    done = scale(decider.memory, settings, ready, observed, now)
    return Decider(desired=done.pods, excess_burst=done.excess_burst, memory=done.memory, reasons=done.reasons)


def is_news(before: Decider, after: Decider) -> bool:
    """For `reconcile`, which is called at once."""
    changed_sides = (before.excess_burst < 0) != (after.excess_burst < 0)
    return before.desired != after.desired or changed_sides


def wakes(decider: Decider, stat: Stat) -> bool:
    """An activator's message: a request to a revision at zero does not wait for the next tick."""
    return decider.desired == 0 and stat.concurrency != 0
