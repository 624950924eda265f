"""Decides to which node a pod goes, or why to none: in the scheduler's order and in its words.

Called by `scheduler`. Taints, selectors and affinity are decided by `core.cluster.eligibility`, as the planner decides
them; what is added here is what the planner leaves to the scheduler: each resource by its name, all that a node lacks
and not the first of it, and who of several pods is first. Nobody is preempted, and a FailedScheduling says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from knative_mig.core.cluster.eligibility import CORDON, Shape, selected, untolerated
from knative_mig.core.cluster.objects import Effect, NodeFacts, PodFacts
from knative_mig.ports.kube import Key

Amounts = Mapping[str, Fraction]
PODS: Final = "pods"
_NOTHING: Final = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeker:
    """A pod as the scheduler sees it."""

    key: Key
    facts: PodFacts
    asks: Amounts
    may_preempt: bool = True
    ours: bool = True  # of the scheduler that everybody has who names none
    unreadable: str = ""  # why nobody knows where it may go


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    facts: NodeFacts
    allocatable: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    pod: Seeker
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unschedulable:
    pod: Seeker
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    pod: Seeker


Verdict = Bind | Unschedulable | Gated


@dataclass(slots=True)
class _Room:
    """What is left on a node."""

    host: Host
    free: dict[str, Fraction] = field(default_factory=dict)
    of_revision: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, pod: Seeker) -> None:
        for name, amount in {**pod.asks, PODS: Fraction(1)}.items():
            self.free[name] = self.free.get(name, _NOTHING) - amount
        self.of_revision[_revision(pod)] = self.of_revision.get(_revision(pod), 0) + 1


def decide(pods: Iterable[Seeker], hosts: Iterable[Host], assumed: Mapping[str, str]) -> list[Verdict]:
    """`assumed`: by uid, the nodes of pods that were bound and are not seen to be yet."""
    rooms = {str(host.facts.name): _Room(host=host, free=dict(host.allocatable)) for host in hosts}
    waiting = []
    for pod in pods:
        node = pod.facts.node or assumed.get(pod.facts.uid)
        if node is not None:
            if node in rooms and not pod.facts.over:
                rooms[node].take(pod)
        elif pod.ours and pod.facts.ends_at is None and not pod.facts.over:
            waiting.append(pod)
    verdicts: list[Verdict] = []
    for pod in sorted(waiting, key=lambda each: (-each.facts.priority, each.facts.created, each.key)):
        verdict = _verdict(pod, rooms)
        if isinstance(verdict, Bind):
            rooms[verdict.node].take(pod)
        verdicts.append(verdict)
    return verdicts


def _verdict(pod: Seeker, rooms: Mapping[str, _Room]) -> Verdict:
    if pod.facts.gates:
        return Gated(pod=pod)
    if pod.unreadable:
        return Unschedulable(pod=pod, message=pod.unreadable)
    if not rooms:
        return Unschedulable(pod=pod, message="no nodes available to schedule pods")
    reasons = {name: why_not(pod, room.host, room.free) for name, room in rooms.items()}
    fitting = [name for name, why in reasons.items() if not why]
    if fitting:
        return Bind(pod=pod, node=min(fitting, key=lambda name: _rank(pod, rooms[name])))
    return Unschedulable(pod=pod, message=_message(pod, rooms, reasons))


def why_not(pod: Seeker, host: Host, free: Amounts) -> tuple[str, ...]:
    """Empty: it fits. Of the filters the first that says no, as the scheduler runs them, with all that it says."""
    shape = Shape.of(pod.facts)
    taint = untolerated(shape.tolerations, host.facts)
    if taint is CORDON:
        return ("node(s) were unschedulable",)
    if taint is not None or not host.facts.ready:
        return ("node(s) had untolerated taint(s)",)
    if not selected(shape, host.facts):
        return ("node(s) didn't match Pod's node affinity/selector",)
    lacking = [f"Insufficient {name}" for name, asked in sorted(pod.asks.items()) if asked > free.get(name, _NOTHING)]
    return (*(("Too many pods",) if free.get(PODS, _NOTHING) < 1 else ()), *lacking)


def _rank(pod: Seeker, room: _Room) -> tuple[int, int, Fraction, str]:
    """Replicas of a revision are spread, as Knative asks for; else whoever has the most left."""
    disliked = sum(taint.effect is Effect.PREFER_NO_SCHEDULE for taint in room.host.facts.taints)
    used = _NOTHING
    for name in ("cpu", "memory"):
        whole = room.host.allocatable.get(name, _NOTHING)
        used += (whole - room.free.get(name, _NOTHING) + pod.asks.get(name, _NOTHING)) / whole if whole else 1
    return disliked, room.of_revision.get(_revision(pod), 0), used, str(room.host.facts.name)


def _message(pod: Seeker, rooms: Mapping[str, _Room], reasons: Mapping[str, tuple[str, ...]]) -> str:
    count = len(rooms)
    text = f"0/{count} nodes are available: {_histogram(why for whys in reasons.values() for why in whys)}."
    if not pod.may_preempt:
        return f"{text} no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    victims = _histogram(
        "No preemption victims found for incoming pod"
        if _might_help(pod, room, reasons[name])
        else "Preemption is not helpful for scheduling"
        for name, room in rooms.items()
    )
    return f"{text} no new claims to deallocate, preemption: 0/{count} nodes are available: {victims}."


def _might_help(pod: Seeker, room: _Room, why: tuple[str, ...]) -> bool:
    """Not where the whole node were too little, and not against taints and selectors."""
    lacks = all(each.startswith(("Insufficient ", "Too many pods")) for each in why)
    whole = room.host.allocatable
    return lacks and all(asked <= whole.get(name, _NOTHING) for name, asked in pod.asks.items())


def _histogram(reasons: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for each in reasons:
        counts[each] = counts.get(each, 0) + 1
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


def _revision(pod: Seeker) -> tuple[str, str]:
    return pod.key.namespace, pod.facts.revision or pod.key.name
