"""Decides who of the planner's replicas leads, and under which fencing token.

Called by the planner's lease loop with what the API server has. Clocks need not agree: whoever waits for a lease to run
out counts its duration from its own first sight of that record. The token is what makes a paused leader harmless: a new
one takes a number above the Lease's and above every GpuNode's, so that a Lease which somebody deleted brings no old
number back, and stamps it on every GpuNode, where the API server then refuses anything lower. Where somebody has
written the highest number that there can be, nobody leads until it is gone: to go on counting would help nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from knative_mig.core.gpu_node import GpuNode

# The highest fencing token that a GpuNode takes. It and the next whole number are exact in whatever reads JSON's
# numbers as doubles, it is far from where an int64 ends, and a new leader each second would be there in 285 million
# years.
MOST_TOKEN: Final = 2**53 - 1


class Lease(Protocol):
    """What of a Lease decides; `ports.kube.LeaseRecord` is one."""

    @property
    def holder(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def renewed(self) -> float: ...
    @property
    def transitions(self) -> int: ...
    @property
    def fencing_token(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A record, and when this process first saw it as it is."""

    mark: tuple[str, float, int]
    since: float


def look(before: Sight | None, lease: Lease | None, now: float) -> Sight | None:
    if lease is None:
        return None
    mark = (lease.holder, lease.renewed, lease.transitions)
    return before if before and before.mark == mark else Sight(mark=mark, since=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """It is ours: write it again, under the same token."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Nobody holds it any more."""

    token: int
    transitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Somebody else holds it."""

    holder: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """Above this token there is none."""

    token: int


def decide(  # noqa: PLR0917 - a Lease, who asks, and what each side knows
    lease: Lease | None, sight: Sight | None, me: str, my_token: int | None, highest: int, now: float
) -> Renew | Take | Wait | Exhausted:
    """`my_token`: under which this process leads, None if it does not; `highest`: the highest on any GpuNode."""
    if lease is None or sight is None:
        return _take(max(highest, my_token or 0), transitions=0)
    if lease.holder == me and my_token is not None and lease.fencing_token == my_token:
        return Renew(token=my_token)
    until = sight.since + lease.duration_s
    if lease.holder not in ("", me) and now < until:
        return Wait(holder=lease.holder, until=until)
    return _take(max(lease.fencing_token, highest, my_token or 0), transitions=lease.transitions + 1)


def _take(above: int, *, transitions: int) -> Take | Exhausted:
    return Exhausted(token=above) if above >= MOST_TOKEN else Take(token=above + 1, transitions=transitions)


def highest_token(nodes: Iterable[GpuNode]) -> int:
    return max((node.spec.fencing_token for node in nodes), default=0)


def leads_until(asked_at: float, duration_s: float, margin_s: float) -> float:
    """Counted from before the write was sent: others count from when they see it, which is later."""
    return asked_at + duration_s - margin_s
