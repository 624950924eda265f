"""Decides which gated pods may go to the scheduler: those a slice is kept for, idle and allocatable, on a named node.

Called by the planner's loop after each plan (decision record 0012). To the scheduler all slices of one profile on a
node are alike, and whoever it looks at first takes one. So a pod that our webhook has gated is let go only when a
slice is its own, and can then go to that node alone; a pod of lower priority that came first stays gated for as long.
Whoever carries the gate and asks for no slice is let go at once.

The subtle thing is an agent that is away. The kubelet refuses whoever comes, and goes on telling the API server of its
slices for up to ten seconds, in which a ReplicaSet makes a hundred pods. So one that was refused counts as if it had
its slice, until the agent is back and deletes it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from knative_mig.core.cluster.decide import Granted
from knative_mig.core.cluster.node_view import NodeView
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import is_gated
from knative_mig.core.cluster.world import WorldKeeper, profiles_of
from knative_mig.core.gpu_node import Layout, SliceKey
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.planner.decisions import How
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    pod: PodFacts
    node: NodeName | None  # None: any


def needless(pods: Iterable[PodFacts], already: Mapping[str, Lift]) -> list[Lift]:
    """Of pods that ask for no slice: nothing is kept for them, and nobody else would ever let them go."""
    return [
        Lift(pod=pod, node=None)
        for pod in pods
        if is_gated(pod) and not any(pod.wants.values()) and pod.uid not in already and pod.ends_at is None
    ]


def lifts(
    granted: Iterable[Granted],
    keeper: WorldKeeper,
    already: Mapping[str, Lift],
    unsure: Mapping[str, PodFacts] = MappingProxyType({}),
) -> list[Lift]:
    """`already`: lifts whose effect has not been seen yet, by the pod's UID. `unsure`: pods that were to be let go, and
    nobody has answered: they may be on their way to any node. They come last, as to all others they count on each.
    """
    reusing = [each for each in granted if each.step.how is How.REUSE]
    if not any(is_gated(each.pod) for each in reusing):
        return []
    pool = _Pool(reusing, keeper, already.values(), unsure)
    found = []
    for each in sorted(reusing, key=lambda each: (-each.pod.priority, each.pod.created, each.pod.name)):
        if each.pod.uid in already:
            continue
        node = pool.take(each)
        if node is not None and is_gated(each.pod):
            found.append(Lift(pod=each.pod, node=node))
    return sorted(found, key=lambda lift: lift.pod.uid in unsure)


def counted_for_others(granted: Iterable[Granted], keeper: WorldKeeper, lifted: Collection[str]) -> bool:
    """Whether a slice is idle whose new pod was not let go: to the scheduler whoever left it has it until that pod is
    seen to be gone. `lifted`: the pods that were let go, by their UIDs.
    """
    return any(
        is_gated(each.pod)
        and each.step.how is How.REUSE
        and each.pod.uid not in lifted
        and _is_idle(keeper.views[each.step.target.node], each.step.target.gpu, each.key)
        for each in granted
    )


class _Pool:
    """The idle slices that this round's reuses are about. Whoever comes first takes one that is ready now, though the
    plan may have named another for it that is still in the making.
    """

    def __init__(
        self, reusing: Iterable[Granted], keeper: WorldKeeper, already: Iterable[Lift], unsure: Mapping[str, PodFacts]
    ) -> None:
        self._keeper = keeper
        self._unsure = unsure
        self._left: dict[tuple[NodeName, ProfileName], int] = {}
        self._lifted: dict[NodeName, list[PodFacts]] = {}
        for lift in already:
            if lift.node is not None:
                self._lifted.setdefault(lift.node, []).append(lift.pod)
        self._ready: dict[ProfileName, Counter[NodeName]] = {}
        for each in reusing:
            target = each.step.target
            view = keeper.views[target.node]
            if _is_idle(view, target.gpu, each.key):
                self._ready.setdefault(each.key.profile, Counter())[target.node] += 1

    def take(self, granted: Granted) -> NodeName | None:
        mine = granted.step.target.node
        profile = granted.key.profile
        ready = self._ready.get(profile, Counter())
        own = 1 if granted.pod.uid in self._unsure else 0  # it counts there itself
        for node in (mine, *ready):
            if ready[node] and node in granted.nodes and self._allocatable(node, profile) + own > 0:
                ready[node] -= 1
                self._left[node, profile] -= 1 - own
                return node
        return None

    def _allocatable(self, name: NodeName, profile: ProfileName) -> int:
        """As the scheduler counts: what the node says it has, less what pods there ask for and those about to come."""
        if (name, profile) not in self._left:
            node = self._keeper.node(name)
            counted: Counter[ProfileName] = profiles_of(
                {
                    pod.uid: pod
                    for pods in (
                        self._keeper.bound(name),
                        self._keeper.pinned(name),
                        self._lifted.get(name, ()),
                        (pod for pod in self._unsure.values() if name in self._keeper.nodes_of(pod)),
                    )
                    for pod in pods
                }.values()
            )
            counted.update(self._refused(name))
            self._left[name, profile] = (node.slices.get(profile, 0) if node else 0) - counted[profile]
        return self._left[name, profile]

    def _refused(self, name: NodeName) -> Counter[ProfileName]:
        """Not on a static node, where no agent deletes them."""
        found = Counter[ProfileName]()
        gpu_node = self._keeper.gpu_nodes.get(name)
        if gpu_node and gpu_node.status and gpu_node.status.layout is not Layout.STATIC:
            for pod in self._keeper.bound(name):
                if pod.is_refused:
                    found.update(pod.wants)
        return found


def _is_idle(view: NodeView, uuid: GpuUuid, key: SliceKey) -> bool:
    """Or kept for a new pod: who is given that is who it is kept for."""
    return any(each.gpu.uuid == uuid and (key in each.idle or key in each.reserved) for each in view.gpus)
