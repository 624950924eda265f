"""Decides which nodes may be planned on: those whose agent lives and has answered the last spec.

A status older than the spec is waited for, up to a deadline; a node whose heartbeat has stopped is left out; each node
is judged alone, so the rest go on. Called by the planner's loop before every plan. The subtle thing is the clock: a
heartbeat is a Lease that carries its node's time, which may be off by an hour, so only our own clock counts, from our
own first sight of each change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from knative_mig.core.gpu_node import ConditionType, GpuNode
from knative_mig.core.inventory import NodeName


class Outside(StrEnum):
    """Why a node is left out: stable, metrics and reasons carry it."""

    NOT_STAMPED = "TokenRefused"
    NOT_REPORTED = "AgentNotReported"
    NOT_READY = "AgentNotReady"
    LATE = "AgentLate"
    SILENT = "AgentSilent"


@dataclass(frozen=True, slots=True)
class Usable:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitingAgent:
    """Its status is older than its spec: what is there may be reused, nothing more is asked of it yet."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    because: Outside
    why: str


Verdict = Usable | AwaitingAgent | LeftOut
USABLE: Final = Usable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    answer_s: float = 30.0  # an agent that lives answers a spec within a second; NVML at its slowest takes some
    silence_s: float = 20.0  # two heartbeats of ten seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """When this process first saw the present state of a node's two signs of life, by its own monotonic clock."""

    beat: object  # what changes with each heartbeat; None: there is none
    beat_seen: float
    generation: int
    generation_seen: float


def look(before: Sight | None, node: GpuNode, beat: object, now: float) -> Sight:
    if before and before.beat == beat and before.generation == node.generation:
        return before
    same_beat = before is not None and before.beat == beat
    same_generation = before is not None and before.generation == node.generation
    return Sight(
        beat=beat,
        beat_seen=before.beat_seen if before and same_beat else now,
        generation=node.generation,
        generation_seen=before.generation_seen if before and same_generation else now,
    )


def judge(node: GpuNode, sight: Sight, now: float, patience: Patience) -> Verdict:
    if node.status is None:
        return LeftOut(because=Outside.NOT_REPORTED, why="its agent has not reported yet")
    if now - sight.beat_seen >= patience.silence_s:
        return LeftOut(because=Outside.SILENT, why=f"no heartbeat of its agent for {patience.silence_s:.0f} s")
    ready = node.status.condition(ConditionType.READY)
    if ready and ready.status is False:
        return LeftOut(
            because=Outside.NOT_READY, why=f"{ready.reason}: {ready.message}" if ready.message else ready.reason
        )
    if node.status.observed_generation < node.generation:
        until = sight.generation_seen + patience.answer_s
        if now >= until:
            return LeftOut(
                because=Outside.LATE, why=f"its agent has not answered the last spec for {patience.answer_s:.0f} s"
            )
        return AwaitingAgent(until=until)
    return USABLE


_UNSTAMPED: Final = LeftOut(
    because=Outside.NOT_STAMPED, why="the leader's token could not be written into its spec; the planner's log says why"
)


class Lookout:
    """Judges all nodes, round by round."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._sights: dict[NodeName, Sight] = {}

    def judge_all(
        self, nodes: Mapping[NodeName, GpuNode], beats: Mapping[NodeName, object], now: float, token: int = 0
    ) -> dict[NodeName, Verdict]:
        """`token`: the leader's; where an older one stands a paused leader could still write."""
        sights, before = {}, self._sights
        verdicts = {}
        for name, node in nodes.items():
            sight = sights[name] = look(before.get(name), node, beats.get(name), now)
            verdicts[name] = judge(node, sight, now, self._patience) if node.spec.fencing_token >= token else _UNSTAMPED
        self._sights = sights
        return verdicts
