"""From the cluster's objects to what the planner plans on: GPUs with their slices, the pods that wait, who is left out.

The planner process keeps a `WorldKeeper` and tells it what it sees each round; only nodes on which something changed
are read again, which is what makes a round on a thousand nodes fast. One that is told all at once makes the same world.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

from knative_mig.core.changes import Changes
from knative_mig.core.cluster.eligibility import Eligible, Shape, free_on
from knative_mig.core.cluster.idle_worth import Reuse, workload
from knative_mig.core.cluster.models import Models
from knative_mig.core.cluster.moving import NOTHING_MOVES, Moving
from knative_mig.core.cluster.node_view import Amended, NodeView, view_node
from knative_mig.core.cluster.objects import HOSTNAME, NodeFacts, PodFacts, QuotaFacts
from knative_mig.core.cluster.staleness import USABLE, AwaitingAgent, LeftOut, Verdict
from knative_mig.core.cluster.waiting import (
    Group,
    Unplanned,
    groups_of,
    is_waiting,
    quota_left,
    wanted_profile,
    why_unplanned,
)
from knative_mig.core.gpu_node import Condition, GpuNode
from knative_mig.core.inventory import Gpu, Inventory, NodeName, Quotas
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is seen in one round. Keys are the caller's; objects that did not change are the same objects."""

    gpu_nodes: Mapping[Any, GpuNode]
    pods: Mapping[Any, PodFacts]
    nodes: Mapping[Any, NodeFacts]
    quotas: Mapping[Any, QuotaFacts] = field(default_factory=dict)
    verdicts: Mapping[NodeName, Verdict] = field(default_factory=dict)
    moving: Moving = NOTHING_MOVES
    let_go: frozenset[str] = frozenset()  # UIDs of pods whose gate was lifted, though they may be seen with it still


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    views: Mapping[NodeName, NodeView]
    groups: tuple[Group, ...]
    unplanned: tuple[Unplanned, ...]
    left_out: Mapping[NodeName, str]
    quotas: Quotas

    @property
    def inventory(self) -> Inventory:
        return Inventory(gpus=tuple(gpu for view in self.views.values() for gpu in gpus_of(view)), quotas=self.quotas)


def gpus_of(view: NodeView) -> Iterator[Gpu]:
    return (each.gpu for each in view.gpus)


_NO_PODS: Final[Mapping[int, PodFacts]] = {}
# Shapes that nobody waits with any more and that may come again.
_SPARE_SHAPES: Final = 64
_STARTS_HALF_LIFE_S: Final = 3600.0


class WorldKeeper:
    def __init__(self, reuse: Reuse) -> None:
        self._reuse = reuse
        self._models = Models()
        self._changes = Changes[PodFacts]()
        # Pods by id(): a key would have to be hashed.
        self._bound: dict[NodeName, dict[int, PodFacts]] = {}
        self._waiting: dict[int, tuple[PodFacts, Shape]] = {}
        self._gpu_nodes: dict[NodeName, GpuNode] = {}
        self._nodes: dict[NodeName, NodeFacts] = {}
        self._verdicts: dict[NodeName, Verdict] = {}
        self._quotas: tuple[QuotaFacts, ...] = ()
        self._pinned: dict[NodeName, list[PodFacts]] = {}
        self._pinned_to: dict[str, NodeName] = {}
        self._shapes: dict[Shape, Shape] = {}  # one object for each, so that none is hashed in every round
        self._nodes_of: dict[int, frozenset[NodeName]] = {}
        self._starts = Counter[tuple[str, str]]()
        self._starts_halved = 0.0
        self._dirty: set[NodeName] = set()
        self._holders = Counter[tuple[str, str]]()
        self._everywhere: frozenset[NodeName] = frozenset()
        self._awaited: frozenset[NodeName] = frozenset()  # whose agents have yet to answer
        self._groups: tuple[Group, ...] = ()
        self._unplanned: tuple[Unplanned, ...] = ()
        self._moving = NOTHING_MOVES
        self._let_go: frozenset[str] = frozenset()
        self.eligible = Eligible()
        self.views: dict[NodeName, NodeView] = {}

    @property
    def gpu_nodes(self) -> Mapping[NodeName, GpuNode]:
        return self._gpu_nodes

    @property
    def everywhere(self) -> frozenset[NodeName]:
        """The nodes with GPUs that can be planned on."""
        return self._everywhere

    def nodes_of(self, pod: PodFacts) -> frozenset[NodeName]:
        return self.eligible.nodes(Shape.of(pod))

    def awaits_an_agent(self, pod: PodFacts) -> bool:
        """Whether this waiting pod may go to a node whose agent has yet to answer the last spec. Until then nothing
        more is asked of it, so that what is found of its GPUs may be another thing a moment later.
        """
        return bool(self._awaited) and not self._awaited.isdisjoint(self._nodes_of.get(id(pod), ()))

    def node(self, name: NodeName) -> NodeFacts | None:
        return self._nodes.get(name)

    def bound(self, name: NodeName) -> Iterable[PodFacts]:
        return self._bound.get(name, _NO_PODS).values()

    def pinned(self, name: NodeName) -> Iterable[PodFacts]:
        """Pods without a gate that can go there and nowhere else: the scheduler is about to bind them."""
        return self._pinned.get(name, ())

    def see(self, facts: Facts, now: float) -> set[NodeName]:
        """The nodes whose view was made anew."""
        self._age_starts(now)
        self._see_pods(facts.pods)
        self._see_nodes(facts.nodes)
        self._see_gpu_nodes(facts)
        self._see_moving(facts.moving)
        self._let_go = facts.let_go
        self._quotas = tuple(facts.quotas.values())
        self._sort_waiting()
        self._dirty.update(name for name, view in self.views.items() if view.holds_until <= now)
        anew = self._dirty
        self._dirty = set()
        for name in anew:
            self._view(name, now, None)
        self._group()
        return anew

    def amend(self, name: NodeName, amended: Amended, now: float) -> None:
        """Looks at the node again as something that this round found out has it; the next round begins anew."""
        self._view(name, now, amended)
        self._dirty.add(name)

    def forget(self, name: NodeName) -> None:
        """Its view is made anew in the next round, whether or not anything is seen to change."""
        self._dirty.add(name)

    def world(self) -> World:
        return World(
            views=self.views,
            groups=self._groups,
            unplanned=self._unplanned,
            left_out={
                view.name: f"{view.name} ({view.left_out.because}: {view.left_out.why})"
                for view in self.views.values()
                if view.left_out
            },
            quotas=quota_left(
                ((each.namespace, each.hard, each.used) for each in self._quotas),
                (pod for pod, _ in self._waiting.values()),
            ),
        )

    # -- what changed -----------------------------------------------------------------------------------------------

    def _see_pods(self, pods: Mapping[Any, PodFacts]) -> None:
        """Whoever starts is noted by workload: what comes often is worth keeping a slice for."""
        change = self._changes.take(pods)
        told: dict[str, Condition | None] = {}
        for pod in change.gone:
            if self._waiting.pop(id(pod), None):
                told[pod.uid] = pod.told
            if pod.node is not None:
                self._bound.get(pod.node, {}).pop(id(pod), None)
                self._dirty.add(pod.node)
        for pod in change.come:
            self._take(pod, starts=told.get(pod.uid, pod.told) == pod.told)

    def _take(self, pod: PodFacts, *, starts: bool) -> None:
        """`starts`: not where it is only that the planner has told it something."""
        if pod.node is not None:
            self._bound.setdefault(pod.node, {})[id(pod)] = pod
            self._dirty.add(pod.node)
        elif is_waiting(pod):
            shape = Shape.of(pod)
            self._waiting[id(pod)] = (pod, self._shapes.setdefault(shape, shape))
            if starts:
                self._starts[workload(pod.namespace, pod.name)] += 1

    def _see_nodes(self, nodes: Mapping[Any, NodeFacts]) -> None:
        named = {node.name: node for node in nodes.values()}
        for name, node in named.items():
            if self._nodes.get(name) is not node:
                self._dirty.add(name)
        for name in self._nodes.keys() - named.keys():
            self._dirty.add(name)
        self._nodes = named

    def _see_gpu_nodes(self, facts: Facts) -> None:
        named = {node.name: node for node in facts.gpu_nodes.values()}
        verdicts = {name: facts.verdicts.get(name, USABLE) for name in named}
        for name, node in named.items():
            if self._gpu_nodes.get(name) is not node or self._verdicts.get(name) != verdicts[name]:
                self._dirty.add(name)
        for name in self._gpu_nodes.keys() - named.keys():
            self._dirty.add(name)
        self._gpu_nodes, self._verdicts = named, verdicts
        self._awaited = frozenset(name for name, verdict in verdicts.items() if isinstance(verdict, AwaitingAgent))
        everywhere = frozenset(name for name, verdict in verdicts.items() if not isinstance(verdict, LeftOut))
        if everywhere != self._everywhere:
            self._everywhere = everywhere

    def _see_moving(self, moving: Moving) -> None:
        was, self._moving = self._moving, moving
        names = was.reserved.keys() | moving.reserved.keys()
        self._dirty.update(name for name in names if was.reserved.get(name) != moving.reserved.get(name))
        if changed := was.fixed ^ moving.fixed:
            bound = chain.from_iterable(pods.values() for pods in self._bound.values())
            self._dirty.update(pod.node for pod in bound if pod.node and pod.function in changed)

    def _age_starts(self, now: float) -> None:
        if now - self._starts_halved >= _STARTS_HALF_LIFE_S:
            self._starts_halved = now
            self._starts = Counter({name: count // 2 for name, count in self._starts.items() if count > 1})

    def _view(self, name: NodeName, now: float, amended: Amended | None) -> None:
        if before := self.views.get(name):
            self._holders.subtract(before.holders)
        gpu_node = self._gpu_nodes.get(name)
        if gpu_node is None:
            self.views.pop(name, None)
            return
        claimants = chain((pod for pod in self.bound(name) if pod.wants), self.pinned(name))
        self.views[name] = view_node(
            gpu_node,
            self._verdicts[name],
            claimants,
            self._models,
            self._now_reuse(),
            now,
            amended,
            reserved=self._moving.reserved.get(name, ()),
            may_go=self._may_go,
        )
        self._holders.update(self.views[name].holders)

    def _may_go(self, pod: PodFacts) -> frozenset[NodeName] | None:
        """Its successor."""
        if pod.function in self._moving.fixed:
            return frozenset()
        nodes = self.nodes_of(unpinned(pod)) & self._everywhere
        return None if nodes == self._everywhere else nodes

    def _now_reuse(self) -> Reuse:
        return Reuse(cold_start_s=self._reuse.cold_start_s, half_life_s=self._reuse.half_life_s, starts=self._starts)

    # -- who waits --------------------------------------------------------------------------------------------------

    def _sort_waiting(self) -> None:
        """Eligibility first has to be right for the nodes that changed; then who is pinned where is known."""
        for name in self._dirty:
            node = self._nodes.get(name)
            if node and name in self._gpu_nodes:
                self.eligible.put(node, free_on(node, self.bound(name)))
            else:
                self.eligible.remove(name)
        if len(self._shapes) > 2 * len(self._waiting) + _SPARE_SHAPES:
            self._shapes = {shape: shape for _, shape in self._waiting.values()}
            self.eligible.keep_only(self._shapes)
        answers = {
            id(shape): self.eligible.nodes(shape) for shape in {id(s): s for _, s in self._waiting.values()}.values()
        }
        self._nodes_of = {each: answers[id(shape)] for each, (_, shape) in self._waiting.items()}
        pinned: dict[NodeName, list[PodFacts]] = {}
        for each, nodes in self._nodes_of.items():
            pod = self._waiting[each][0]
            if len(nodes) == 1 and not pod.gates:
                pinned.setdefault(next(iter(nodes)), []).append(pod)
        for name in self._pinned.keys() | pinned.keys():
            if self._pinned.get(name) != pinned.get(name):
                self._dirty.add(name)
        self._pinned = pinned
        self._pinned_to = {pod.uid: name for name, pods in pinned.items() for pod in pods}

    def _group(self) -> None:
        plannable, unplanned = [], []
        kept_for = self._moving.pods
        given_away = {name: [*view.given_away] for name, view in self.views.items() if view.given_away}
        for pod, _ in self._waiting.values():
            why = why_unplanned(pod)
            if why:
                unplanned.append(why)
            elif pod.uid in kept_for or self._has_slice(pod) or self._has_started(pod, given_away):
                continue
            else:
                plannable.append(pod)
        moving = self._moving
        self._groups = tuple(
            groups_of(
                plannable, lambda pod: self._nodes_of[id(pod)], self._everywhere, moving.successions, moving.superseded
            )
        )
        self._unplanned = tuple(unplanned)

    def _has_started(self, pod: PodFacts, given_away: Mapping[NodeName, list[ProfileName]]) -> bool:
        """The mirror of pods may be behind that of GpuNodes: this pod, which seems to have no node, holds a slice, or
        is as likely as any to be who was just given one. A second slice for it would be nobody's.
        """
        if pod.gates and pod.uid not in self._let_go:
            return False
        if self._holders[pod.namespace, pod.name] > 0:
            return True
        profile = wanted_profile(pod)
        for name in self._nodes_of[id(pod)] & given_away.keys():
            if profile in given_away[name]:
                given_away[name].remove(profile)
                return True
        return False

    def _has_slice(self, pod: PodFacts) -> bool:
        """A pinned pod whose slice `view_node` has set aside for it."""
        view = self.views.get(self._pinned_to.get(pod.uid, NodeName("")))
        return view is not None and pod.uid in view.claimed


def unpinned(pod: PodFacts) -> PodFacts:
    """As its user made it: the node that the planner has named, when its gate was lifted, binds that pod alone."""
    if not pod.pinned:
        return pod
    selector = {key: value for key, value in pod.node_selector.items() if key != HOSTNAME}
    return replace(pod, pinned=False, node_selector=selector)


def profiles_of(facts: Iterable[PodFacts]) -> Counter[ProfileName]:
    """How many slices of each profile the scheduler counts for these pods."""
    counted = Counter[ProfileName]()
    for pod in facts:
        if not pod.over:
            counted.update(pod.wants)
    return counted
