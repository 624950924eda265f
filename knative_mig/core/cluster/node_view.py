"""Reads one GpuNode as the planner has to see it: spec, status and pods made into one list of slices a GPU.

Called by `world` for each node that changed. Three things are not as the status says. What the spec wants and nobody
has made yet is an idle slice to come, so that no plan is made twice. A pod that is bound to the node and not yet seen
on a slice takes an idle one of its profile. And what is busy wins over whatever the spec says of its place.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from knative_mig.core.cluster.idle_worth import NOTHING, Reuse, worth
from knative_mig.core.cluster.models import Models
from knative_mig.core.cluster.moving import Reservation
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.staleness import LeftOut, Usable, Verdict
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.gpu_node import (
    OF_NO_POD,
    GpuHealth,
    GpuNode,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    Layout,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
)
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, NodeName, Slice, Use
from knative_mig.core.profile import ProfileName

NOBODY = Function("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuView:
    """`keep`: what the spec has to name if nothing is decided; `idle`: usable now; `making`: wanted, not there yet,
    each with the idle slices that would come back if it were not wanted any more (none once the agent has begun).
    """

    gpu: Gpu
    keep: frozenset[SliceKey] = frozenset()
    idle: frozenset[SliceKey] = frozenset()
    making: Mapping[SliceKey, tuple[SliceKey, ...]] = field(default_factory=dict)
    released: frozenset[SliceKey] = frozenset()
    reserved: frozenset[SliceKey] = frozenset()  # idle, and kept for a function's new pod
    writable: bool = False
    differs: bool = False  # the spec has to be put right though nothing is decided


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    name: NodeName
    gpus: tuple[GpuView, ...] = ()
    left_out: LeftOut | None = None
    claimed: frozenset[str] = frozenset()  # UIDs of pods that a slice is set aside for, though none is seen to hold it
    holders: frozenset[tuple[str, str]] = frozenset()  # pods that hold a slice, by namespace and name
    given_away: tuple[ProfileName, ...] = ()  # slices that the kubelet has given to somebody whom it has not named yet
    holds_until: float = inf  # by the wall clock: worths are judged again then
    unlisted: frozenset[GpuUuid] = frozenset()  # GPUs that the spec names and that are not on the node any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """What a round has found out and looks at again: slices that are not to be made after all, and released ones that
    nobody can have yet.
    """

    cancelled: frozenset[tuple[GpuUuid, SliceKey]] = frozenset()
    not_yet: frozenset[tuple[GpuUuid, SliceKey]] = frozenset()


def view_node(  # noqa: PLR0917 - what is seen of a node, and what it is judged by
    node: GpuNode,
    verdict: Verdict,
    bound: Iterable[PodFacts],
    models: Models,
    reuse: Reuse,
    now: float,
    amended: Amended | None = None,
    *,
    reserved: Sequence[Reservation] = (),
    may_go: Callable[[PodFacts], frozenset[NodeName] | None] | None = None,
) -> NodeView:
    """`bound`: the pods on the node that ask for slices, and those that can go nowhere else and are not held back.
    `may_go`: where a movable pod's successor could run, None meaning anywhere, nowhere that it stays.
    """
    left_out = verdict if isinstance(verdict, LeftOut) else None
    status = node.status
    if status is None:
        return NodeView(name=node.name, left_out=left_out)
    known = {model.name: models.shared(model) for model in status.models}
    if left_out:
        blocked = tuple(_blocked(each, node.name, known[each.model]) for each in status.gpus if each.model in known)
        return NodeView(name=node.name, gpus=blocked, left_out=left_out)
    pods = {(pod.namespace, pod.name): pod for pod in bound}
    reader = _Reader(pods, reuse, now, amended or Amended(), may_go or _anywhere)
    as_it_is = status.spec_set_aside
    drafts = [
        _Draft(
            each,
            known[each.model],
            None if as_it_is else node.spec.wanted(each.uuid),
            static=as_it_is,
            writable=isinstance(verdict, Usable),
        )
        for each in status.gpus
        if each.model in known
    ]
    for draft in drafts:
        reader.read(draft)
    reader.reserve(drafts, reserved)
    reader.claim(drafts)
    return NodeView(
        name=node.name,
        gpus=tuple(draft.finished(node.name) for draft in drafts),
        claimed=frozenset(reader.claimed),
        holders=frozenset(reader.seen),
        given_away=tuple(each.key.profile for _, each in reader.unnamed if not each.pids),
        holds_until=reader.holds_until,
        unlisted=_unlisted(node, status) if isinstance(verdict, Usable) else frozenset(),
    )


def _unlisted(node: GpuNode, status: GpuNodeStatus) -> frozenset[GpuUuid]:
    """By a report that has answered this spec. One without any GPU says more of the driver than of the GPUs."""
    there = {gpu.uuid for gpu in status.gpus}
    dynamic = status.layout is not Layout.STATIC
    return frozenset(gpu.uuid for gpu in node.spec.gpus if gpu.uuid not in there) if there and dynamic else frozenset()


def _anywhere(pod: PodFacts) -> frozenset[NodeName] | None:  # noqa: ARG001 - stands in for who knows the nodes
    return None


class _Draft:
    """One GPU while it is being read."""

    def __init__(
        self, status: GpuStatus, model: GpuModel, wanted: WantedGpu | None, *, static: bool, writable: bool
    ) -> None:
        self.status = status
        self.model = model
        self.wanted = wanted
        self.static = static or not writable or status.health is GpuHealth.MODE_PENDING
        self.writable = writable and not static and status.health is GpuHealth.HEALTHY
        self.works = status.health in (GpuHealth.HEALTHY, GpuHealth.MODE_PENDING)
        self.uses: dict[Place, Use] = {}
        self.taken = 0
        self.standing: dict[SliceKey, Place] = {}  # idle
        self.coming: dict[SliceKey, Place] = {}  # wanted, not there
        self.beneath: dict[SliceKey, Place] = {}  # idle, to be destroyed for what is coming
        self.released: dict[SliceKey, Place] = {}
        self.keep: set[SliceKey] = set()
        self.draining = 0
        self.reserved: set[SliceKey] = set()

    def put(self, place: Place, use: Use) -> None:
        self.uses[place] = use
        self.taken |= place.mask

    def place(self, key: SliceKey) -> Place | None:
        return next((each for each in self.model.places_named(key.profile) if each.start == key.start), None)

    def finished(self, node: NodeName) -> GpuView:
        if not self.works:
            return _blocked(self.status, node, self.model)
        free_of_coming = [key for key, place in self.released.items() if not place.mask & self._mask(self.coming)]
        keep = frozenset({*self.keep, *self.standing, *self.coming, *free_of_coming})
        slices = [Slice(place, use) for place, use in self.uses.items()]
        slices.sort(key=lambda each: (each.place.start, each.place.index))
        named = None if self.wanted is None else {(each.key, each.size) for each in self.wanted.slices}
        kept = {(key, place.profile.memory_units) for key in keep if (place := self.place(key))}
        return GpuView(
            gpu=Gpu(uuid=self.status.uuid, node=node, model=self.model, slices=tuple(slices), static=self.static),
            keep=keep,
            idle=frozenset(key for key, place in self.standing.items() if isinstance(self.uses.get(place), Idle)),
            making={
                key: () if place.mask & self.draining else self._back(place)
                for key, place in self.coming.items()
                if isinstance(self.uses[place], Idle)
            },
            released=frozenset(free_of_coming),
            reserved=frozenset(self.reserved),
            writable=self.writable,
            differs=self.writable and named is not None and named != kept,
        )

    def _back(self, place: Place) -> tuple[SliceKey, ...]:
        return tuple(sorted(key for key, other in self.beneath.items() if other.mask & place.mask))

    @staticmethod
    def _mask(places: Mapping[SliceKey, Place]) -> int:
        mask = 0
        for place in places.values():
            mask |= place.mask
        return mask


class _Reader:
    """Of one node: knows its pods, and which of them have been seen on a slice."""

    def __init__(
        self,
        pods: Mapping[tuple[str, str], PodFacts],
        reuse: Reuse,
        now: float,
        amended: Amended,
        may_go: Callable[[PodFacts], frozenset[NodeName] | None],
    ) -> None:
        self._pods = pods
        self._may_go = may_go
        self.seen: set[tuple[str, str]] = set()
        self._reuse = reuse
        self._now = now
        self._amended = amended
        self.holds_until = inf
        self.claimed: set[str] = set()
        self.unnamed: list[tuple[_Draft, SliceStatus]] = []  # busy, by whom the kubelet has not said yet

    def read(self, draft: _Draft) -> None:
        stands = {each.key: each for each in draft.status.slices}
        for each in draft.status.slices:
            self.seen.update((holder.namespace, holder.pod) for holder in each.holders)
            self._read_lasting(draft, each)
        _block_foreign(draft)
        self._read_wanted(draft, stands)
        coming = draft._mask(draft.coming)  # noqa: SLF001 - one reader, one draft: they share this file
        for each in draft.status.slices:
            if each.state is SliceState.IDLE and (place := draft.place(each.key)) and not place.mask & draft.taken:
                if place.mask & coming:
                    draft.beneath[each.key] = place
                else:
                    draft.standing[each.key] = place
                    draft.put(place, self._worth(each))
        for place in draft.coming.values():
            draft.put(place, NOTHING.idle)

    def _read_lasting(self, draft: _Draft, each: SliceStatus) -> None:
        place = draft.place(each.key)
        if place is None:
            return
        match each.state:
            case SliceState.BUSY:
                draft.put(place, self._use(each))
                draft.keep.add(each.key)
                if not each.holders and each.why != OF_NO_POD:
                    self.unnamed.append((draft, each))
            case SliceState.BROKEN:
                draft.put(place, Busy(Function("", f"broken slice {each.key}")))
                named = draft.wanted is not None and all(wanted.key != each.key for wanted in draft.wanted.slices)
                if each.holders or each.pids or not named:
                    draft.keep.add(each.key)
            case SliceState.RELEASED:
                draft.released[each.key] = place
                if (draft.status.uuid, each.key) in self._amended.not_yet:
                    draft.put(place, self._use(each))
            case SliceState.DRAINING:
                draft.draining |= place.mask
            case SliceState.IDLE:
                pass

    def _read_wanted(self, draft: _Draft, stands: Mapping[SliceKey, SliceStatus]) -> None:
        """What is wanted and cannot be, for its place is busy or illegal, is dropped: the spec is put right."""
        for wanted in draft.wanted.slices if draft.wanted else ():
            there = stands.get(wanted.key)
            if there and there.state is not SliceState.DRAINING:
                continue
            place = draft.place(wanted.key)
            if place is None or place.mask & (draft.taken | draft._mask(draft.coming)):  # noqa: SLF001 - as above
                continue
            if (draft.status.uuid, wanted.key) not in self._amended.cancelled:
                draft.coming[wanted.key] = place

    def _use(self, each: SliceStatus) -> Use:
        pods = [self._pods.get((holder.namespace, holder.pod)) for holder in each.holders]
        known = [pod for pod in pods if pod]
        if not each.holders:
            return self._left(each)
        if not known:
            return Busy(_pod(each.holders[0]))
        ends = [pod.ends_at for pod in known if pod.ends_at is not None]
        if len(ends) == len(pods):
            return Ending(known[0].function, max(ends))
        staying = next(pod for pod in known if pod.ends_at is None) if len(ends) < len(known) else known[0]
        if staying.movable and len(pods) == 1:
            nodes = self._may_go(staying)
            if nodes is None or nodes:
                return Busy(staying.function, movable=True, move_s=self._reuse.cold_start_s, nodes=nodes)
        return Busy(staying.function)

    def _left(self, each: SliceStatus) -> Use:
        """Busy, and the kubelet names nobody. Processes of a pod that ends are listed until the GPU is read again: who
        waits is not to have others moved for that.
        """
        last = None if each.why else each.last_holder
        if last is None:
            return Busy(NOBODY)
        pod = self._pods.get((last.namespace, last.pod))
        if pod is None or pod.over:
            return Ending(pod.function if pod else _pod(last), self._now)
        return Busy(NOBODY) if pod.ends_at is None else Ending(pod.function, pod.ends_at)

    def _worth(self, each: SliceStatus) -> Idle:
        found = worth(each, self._reuse, self._now)
        self.holds_until = min(self.holds_until, found.holds_until)
        return found.idle

    def reserve(self, drafts: Sequence[_Draft], reserved: Iterable[Reservation]) -> None:
        """Nobody but the new pod that it is kept for may have it, and that one is planned for no more."""
        for kept in reserved:
            for draft in drafts:
                if draft.status.uuid != kept.slice.gpu:
                    continue
                place = draft.standing.get(kept.slice.key) or draft.coming.get(kept.slice.key)
                if place is not None and isinstance(draft.uses[place], Idle):
                    draft.uses[place] = Busy(kept.function)
                    if kept.slice.key in draft.standing:
                        draft.reserved.add(kept.slice.key)
                    if kept.pod:
                        self.claimed.add(kept.pod)

    def claim(self, drafts: Sequence[_Draft]) -> None:
        """Which slice kubelet gave to a pod that is bound and not yet seen nobody knows: one that is busy, no holder
        named, else one more of its profile is busy. Who is not bound takes only what the scheduler can give it, which
        serves by priority.
        """
        for key, pod in sorted(self._pods.items(), key=_claims_first):
            if key not in self.seen and not pod.over and pod.ends_at is None and pod.uid not in self.claimed:
                slices = [profile for profile, count in pod.wants.items() for _ in range(count)]
                served = [
                    self._claim_unnamed(profile, pod) or _claim_one(drafts, profile, Busy(pod.function), pod)
                    for profile in slices
                ]
                if all(served):  # each has to be taken, whatever became of the others
                    self.claimed.add(pod.uid)

    def _claim_unnamed(self, profile: ProfileName, pod: PodFacts) -> bool:
        """First one with a process: what was handed out and has none may be for a pod not seen to be bound yet."""
        of_profile = [each for each in self.unnamed if each[1].key.profile == profile and pod.node is not None]
        if not of_profile:
            return False
        draft, status = found = max(of_profile, key=lambda each: bool(each[1].pids))
        self.unnamed.remove(found)
        if place := draft.place(status.key):
            draft.uses[place] = Busy(pod.function)
        return True


def _pod(holder: Holder) -> Function:
    """One that is not known, as what it is."""
    return Function(holder.namespace, f"pod/{holder.pod}")


def _claims_first(item: tuple[tuple[str, str], PodFacts]) -> tuple[object, ...]:
    key, pod = item
    return pod.node is None, -pod.priority, pod.created, key


def _claim_one(drafts: Sequence[_Draft], profile: ProfileName, busy: Busy, pod: PodFacts) -> bool:
    for draft in drafts:
        for places in (draft.standing, draft.coming if pod.node is not None else {}):
            for key, place in sorted(places.items()):
                if key.profile == profile and isinstance(draft.uses[place], Idle) and draft.works:
                    draft.uses[place] = busy
                    return True
    for draft in drafts if pod.node is not None else ():
        for key, place in sorted(draft.beneath.items()):
            if key.profile == profile:
                _bring_back(draft, key, place, busy)
                return True
    return False


def _bring_back(draft: _Draft, key: SliceKey, place: Place, busy: Busy) -> None:
    """It was to be destroyed, and a pod has it: what was to come in its place will not."""
    for coming, over in [*draft.coming.items()]:
        if over.mask & place.mask:
            del draft.coming[coming]
            del draft.uses[over]
    del draft.beneath[key]
    draft.uses[place] = busy
    draft.keep.add(key)
    coming_now = draft._mask(draft.coming)  # noqa: SLF001 - as above
    for other, stands in [*draft.beneath.items()]:
        if not stands.mask & coming_now:
            del draft.beneath[other]
            draft.standing[other] = stands
            draft.uses[stands] = NOTHING.idle


def _block_foreign(draft: _Draft) -> None:
    """Under the biggest places that lie within it, else under the smallest that covers what is left. A unit that no
    place covers without lying on a slice that stands takes the whole GPU out: to guess would be to ask for what cannot
    be made.
    """
    for each in draft.status.foreign:
        units = ((1 << each.size) - 1) << each.start & draft.model.memory_mask
        while left := units & ~draft.taken:
            covers = [
                place for place in draft.model.places if place.mask & left & -left and not place.mask & draft.taken
            ]
            within = [place for place in covers if not place.mask & draft.model.memory_mask & ~units]
            if not covers:
                draft.works = False
                return
            chosen = max(within, key=_size) if within else min(covers, key=_size)
            draft.put(chosen, Busy(Function("", f"foreign: {each.why}")))


def _size(place: Place) -> tuple[int, int]:
    return place.profile.memory_units, -place.index


def _blocked(status: GpuStatus, node: NodeName, model: GpuModel) -> GpuView:
    """Known to be there and not to be used: one place over all of it."""
    whole = max(model.places, key=lambda place: (place.profile.memory_units, -place.index))
    return GpuView(gpu=Gpu(uuid=status.uuid, node=node, model=model, slices=(Slice(whole, Busy(NOBODY)),)))
