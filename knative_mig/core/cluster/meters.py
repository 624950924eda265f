"""Pay as you go: how long which share of a GPU was whose, and how long requests waited beside idle shares.

A share is a slice's memory units over its GPU's: seven eighths of a second of a whole GPU and a second of a 7g slice
cost the same to whoever else wanted them. The planner's leader accrues from what it sees and has the totals stored with
the time up to which they count; whoever leads next goes on from that time, so that nothing is counted twice. Seconds
that nobody watched for long are nobody's. The subtle thing is the sum: it is kept per node, so that a round costs what
changed and not what there is.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from knative_mig.core.cluster.node_view import NodeView
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import GpuNode, Holder, SliceStatus
from knative_mig.core.inventory import Gpu, Idle, NodeName
from knative_mig.core.profile import ProfileName

# A leader that dies is followed within its lease's time; a longer gap was an outage, and what ran then is not known.
LONGEST_GAP_S: Final = 120.0
_FORMAT: Final = "1"


class Whose(NamedTuple):
    """The labels of a share, a tuple because thousands of them are hashed in every round. A slice without a pod is
    nobody's: namespace and service are empty.
    """

    namespace: str
    service: str
    profile: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """`until`: the wall clock's time up to which all is counted; None: nothing has been counted yet."""

    share_seconds: Mapping[Whose, float] = field(default_factory=dict)
    fragmented_s: Mapping[str, float] = field(default_factory=dict)  # by profile
    blocked_s: Mapping[str, float] = field(default_factory=dict)
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What accrues each second."""

    shares: Mapping[Whose, float] = field(default_factory=dict)
    fragmented: Mapping[str, int] = field(default_factory=dict)
    blocked: Mapping[str, int] = field(default_factory=dict)


def accrue(meters: Meters, rates: Rates, now: float) -> Meters:
    """`rates` are those that held from `meters.until` to now. What `lost_s` tells of is counted for nobody, and all is
    counted from now on: a clock that once was ahead must not silence the meters until that hour has come.
    """
    if meters.until is None:
        return Meters(until=now)
    seconds = 0.0 if lost_s(meters, now) else now - meters.until
    return Meters(
        share_seconds=_grown(meters.share_seconds, rates.shares, seconds),
        fragmented_s=_grown(meters.fragmented_s, rates.fragmented, seconds),
        blocked_s=_grown(meters.blocked_s, rates.blocked, seconds),
        until=now,
    )


def lost_s(meters: Meters, now: float) -> float:
    """Seconds that nobody watched for long, or by which the clock was set back: no meter has them."""
    seconds = 0.0 if meters.until is None else now - meters.until
    return 0.0 if 0 <= seconds <= LONGEST_GAP_S else abs(seconds)


def _grown(totals: Mapping[Any, float], rates: Mapping[Any, float], seconds: float) -> dict[Any, float]:
    grown = dict(totals)
    for key, rate in rates.items():
        if rate and seconds:
            grown[key] = grown.get(key, 0.0) + rate * seconds
    return grown


# -- shares ---------------------------------------------------------------------------------------------------------


class Shares:
    """Of all nodes, kept: each node's part is replaced when the node changes."""

    def __init__(self) -> None:
        self._of_node: dict[NodeName, dict[Whose, float]] = {}
        self._sum: dict[Whose, float] = {}
        self._count: dict[Whose, int] = {}

    def put(self, name: NodeName, node: GpuNode | None, pods: Iterable[PodFacts]) -> None:
        now = shares_of(node, {(pod.namespace, pod.name): pod for pod in pods}) if node else {}
        before = self._of_node.get(name, {})
        if now == before:
            return
        for whose, share in before.items():
            self._count[whose] -= 1
            self._sum[whose] -= share
            if not self._count[whose]:  # what is left of a sum of fractions is not quite nothing
                del self._count[whose], self._sum[whose]
        for whose, share in now.items():
            self._count[whose] = self._count.get(whose, 0) + 1
            self._sum[whose] = self._sum.get(whose, 0.0) + share
        self._of_node[name] = now

    @property
    def per_second(self) -> Mapping[Whose, float]:
        return self._sum


def shares_of(node: GpuNode, pods: Mapping[tuple[str, str], PodFacts]) -> dict[Whose, float]:
    found: dict[Whose, float] = {}
    units = {model.name: model.memory_units for model in node.status.models} if node.status else {}
    for gpu in node.status.gpus if node.status else ():
        if gpu.model in units:
            for each in gpu.slices:
                whose = _whose(each, pods)
                found[whose] = found.get(whose, 0.0) + each.size / units[gpu.model]
    return found


def _whose(each: SliceStatus, pods: Mapping[tuple[str, str], PodFacts]) -> Whose:
    holder: Holder | None = min(each.holders, default=None)
    pod = pods.get((holder.namespace, holder.pod)) if holder else None
    return Whose(
        namespace=holder.namespace if holder else "",
        service=(pod.service or "") if pod else "",
        profile=str(each.key.profile),
        state=str(each.state),
    )


# -- waits ----------------------------------------------------------------------------------------------------------


class Unused:
    """Shares of GPUs without a pod on them, free or idle, by node and profile."""

    def __init__(self) -> None:
        self._of_node: dict[NodeName, dict[GpuModel, float]] = {}

    def put(self, name: NodeName, view: NodeView | None) -> None:
        mine: dict[GpuModel, float] = {}
        for each in view.gpus if view and not view.left_out else ():
            mine[each.gpu.model] = mine.get(each.gpu.model, 0.0) + _unused(each.gpu)
        self._of_node[name] = mine

    def on(self, nodes: frozenset[NodeName]) -> Mapping[GpuModel, float]:
        by_model: dict[GpuModel, float] = {}
        for name in nodes:
            for model, share in self._of_node.get(name, {}).items():
                by_model[model] = by_model.get(model, 0.0) + share
        return by_model


def _for(profile: ProfileName, by_model: Mapping[GpuModel, float]) -> tuple[float, float]:
    """The sum, and what one slice of the profile needs at the least; nothing where no GPU has it."""
    fitting = [model for model in by_model if model.has(profile)]
    needs = min((model.profile(profile).memory_units / model.memory_units for model in fitting), default=1.0)
    return sum(by_model[model] for model in fitting), needs


def _unused(gpu: Gpu) -> float:
    used = 0
    for each in gpu.slices:
        if not isinstance(each.use, Idle):
            used |= each.place.mask
    return (~used & gpu.model.memory_mask).bit_count() / gpu.model.memory_units


def waiting(
    unused: Unused, pods: Iterable[tuple[PodFacts, ProfileName, frozenset[NodeName]]]
) -> tuple[dict[str, int], dict[str, int]]:
    """How many of these, which have no place, wait beside an idle share, and beside one as big as what they need."""
    by_nodes: dict[frozenset[NodeName], Mapping[GpuModel, float]] = {}
    known: dict[tuple[ProfileName, frozenset[NodeName]], tuple[float, float]] = {}
    fragmented: dict[str, int] = {}
    blocked: dict[str, int] = {}
    for _, profile, nodes in pods:
        if (profile, nodes) not in known:
            if nodes not in by_nodes:
                by_nodes[nodes] = unused.on(nodes)
            known[profile, nodes] = _for(profile, by_nodes[nodes])
        share, needs = known[profile, nodes]
        name = str(profile)
        if share > 0:
            fragmented[name] = fragmented.get(name, 0) + 1
        if share >= needs:
            blocked[name] = blocked.get(name, 0) + 1
    return fragmented, blocked


# -- as stored ------------------------------------------------------------------------------------------------------


def encoded(meters: Meters) -> dict[str, str]:
    """As a ConfigMap's data."""
    shares = [
        [each.namespace, each.service, each.profile, each.state, round(seconds, 3)]
        for each, seconds in sorted(meters.share_seconds.items())
    ]
    return {
        "format": _FORMAT,
        "until": "" if meters.until is None else repr(meters.until),
        "share-seconds": json.dumps(shares, separators=(",", ":")),
        "fragmented-wait-seconds": json.dumps(_rounded(meters.fragmented_s)),
        "blocked-wait-seconds": json.dumps(_rounded(meters.blocked_s)),
    }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(each, 3) for name, each in sorted(seconds.items())}


def decoded(data: Mapping[str, str]) -> Meters:
    """BadInput where it is not what `encoded` writes: totals that cannot be read must not begin again at nought."""
    if data.get("format") != _FORMAT:
        raise BadInput(f"meters of format {data.get('format')!r}: legal is {_FORMAT!r}")
    try:
        shares = {Whose(*labels): float(seconds) for *labels, seconds in json.loads(data["share-seconds"])}
        return Meters(
            share_seconds=shares,
            fragmented_s={str(name): float(each) for name, each in json.loads(data["fragmented-wait-seconds"]).items()},
            blocked_s={str(name): float(each) for name, each in json.loads(data["blocked-wait-seconds"]).items()},
            until=float(data["until"]) if data["until"] else None,
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"meters cannot be read: {type(error).__name__}: {error}") from None
