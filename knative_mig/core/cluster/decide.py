"""Plans a round: the planner core's steps, given to pods, and put right where the cluster knows more than geometry.

Called by the planner's loop with its kept fleet. A first plan may turn out not to hold: two pods that each fit on a
node do not fit there together; a slice in the making is wanted by nobody any more; a released slice is still counted by
the scheduler. Then what was found is added and everything is planned again, three times at the most; what still does
not hold is left for the next round.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from knative_mig.core.cluster.eligibility import Shape, too_little
from knative_mig.core.cluster.node_view import Amended
from knative_mig.core.cluster.objects import PodFacts, Resources
from knative_mig.core.cluster.waiting import Group, Unplanned, groups_of
from knative_mig.core.cluster.world import World, WorldKeeper, gpus_of, unpinned
from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import Gpu, GpuUuid, Inventory, NodeName
from knative_mig.core.planner.batch import plan_on
from knative_mig.core.planner.decisions import Because, How, Plan, Reason, Step
from knative_mig.core.planner.fits import Tier
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.holds import Hold
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import StartupEstimate
from knative_mig.core.planner.times import by_the_clock

_ROUNDS: Final = 4
_NAMED: Final = 3  # nodes in one Event's text
# What is written into specs. A wait is for the next round to see; who moves functions carries out moves, and ends what
# an older Revision has.
CARRIED_OUT: Final = frozenset({How.REUSE, How.CREATE, How.MERGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A step, and the pod that it is for."""

    step: Step
    pod: PodFacts
    nodes: frozenset[NodeName]

    @property
    def key(self) -> SliceKey:
        return key_of(self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    granted: tuple[Granted, ...] = ()  # of steps that are carried out, in the order in which they were decided
    waiting: tuple[Granted, ...] = ()  # the rest: nothing is done for them yet
    refused: tuple[Unplanned, ...] = ()
    amended: frozenset[NodeName] = frozenset()

    @property
    def without_slice(self) -> tuple[PodFacts, ...]:
        return (*(each.pod for each in self.waiting), *(each.pod for each in self.refused))


def key_of(step: Step) -> SliceKey:
    return SliceKey(profile=step.target.place.profile.name, start=step.target.place.start)


class KeptFleet:
    """The planner's fleet, told what changed; made anew when GPUs come or go, for it is arranged by position."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._gpus: dict[NodeName, tuple[Gpu, ...]] = {}
        self._fleet: Fleet | None = None

    def take(self, keeper: WorldKeeper, names: Iterable[NodeName]) -> Fleet:
        fleet = self._fleet
        for name in names:
            view = keeper.views.get(name)
            now = tuple(gpus_of(view)) if view else ()
            before = self._gpus.get(name, ())
            if _alike(before, now):
                for old, new in zip(before, now, strict=True):
                    if fleet and old != new:
                        fleet.replace(new)
            else:
                fleet = None
            self._gpus[name] = now
        if fleet is None:
            self._gpus = {name: gpus for name, gpus in self._gpus.items() if gpus}
            every = tuple(gpu for gpus in self._gpus.values() for gpu in gpus)
            fleet = _warm(Fleet(Inventory(gpus=every), self._policy))
        self._fleet = fleet
        return fleet


def _warm(fleet: Fleet) -> Fleet:
    """Every GPU ranked for every profile, or the first to ask for one would wait for that."""
    for name in fleet.profiles():
        for tier in Tier:
            fleet.fits(tier, name)
    return fleet


def _alike(before: tuple[Gpu, ...], now: tuple[Gpu, ...]) -> bool:
    return [(gpu.uuid, id(gpu.model)) for gpu in before] == [(gpu.uuid, id(gpu.model)) for gpu in now]


def decide(
    keeper: WorldKeeper,
    fleet: KeptFleet,
    changed: Iterable[NodeName],
    now: float,
    *,
    startup: StartupEstimate | None = None,
    holds: Sequence[Hold] = (),
) -> Decision:
    """`changed`: the nodes that `keeper` has looked at anew since the last decision. `holds`: of moves under way."""
    world = keeper.world()
    on = fleet.take(keeper, changed)
    groups, refused = _named(on, world.groups)
    amended: dict[NodeName, Amended] = {}
    early: dict[str, Granted] = {}
    aside: dict[str, Granted] = {}
    for last in (False,) * (_ROUNDS - 1) + (True,):
        pendings = [group.pending for group in groups]
        plan = plan_on(on, pendings, now, startup=startup, quotas=world.quotas, holds=holds, when=by_the_clock)
        granted = _given_to_pods(plan.steps, groups)
        crowded = _crowded(keeper, granted)
        too_early = _too_early(world, granted)
        served = {each.pod.uid for each in granted}
        nowhere = {uid: each for uid, each in early.items() if uid not in served and uid not in aside}
        anew = _more_known(amended, _unneeded(world, granted), too_early, nowhere.values())
        if last or not (crowded or anew):
            break
        early |= {each.pod.uid: each for each in too_early}
        aside |= nowhere
        for name, known in anew.items():
            keeper.amend(name, known, now)
        amended |= anew
        on = fleet.take(keeper, anew)
        groups = _without(_kept_away(groups, crowded), aside)
    left = {id(each) for each in (*crowded, *too_early)}
    done = [each for each in granted if each.step.how in CARRIED_OUT and id(each) not in left]
    granted = [*granted, *aside.values()]
    done_for = {each.pod.uid for each in done}
    return Decision(
        granted=tuple(done),
        waiting=tuple(each for each in granted if each.pod.uid not in done_for),
        refused=(*refused, *_refused(keeper, world, plan, groups, granted), *world.unplanned),
        amended=frozenset(amended),
    )


def finds_another(keeper: WorldKeeper, fleet: KeptFleet, pod: PodFacts, now: float, holds: Sequence[Hold]) -> bool:
    """Whether one pod more of the same function would have a slice now, when all who wait are served before it."""
    world = keeper.world()
    on = fleet.take(keeper, ())
    groups, _ = _named(on, world.groups)
    (another,) = groups_of([replace(unpinned(pod), created=now)], keeper.nodes_of, keeper.everywhere)
    if not another.nodes:
        return False
    pendings = [*(group.pending for group in groups), another.pending]
    plan = plan_on(on, pendings, now, quotas=world.quotas, holds=holds)
    served = sum(1 for step in plan.steps if step.function == pod.function and step.how in CARRIED_OUT)
    return served > sum(each.count for each in pendings[:-1] if each.function == pod.function)


def _named(fleet: Fleet, groups: Sequence[Group]) -> tuple[list[Group], list[Unplanned]]:
    """To Kubernetes a resource is its name: another driver's name of a profile is a resource that nobody offers."""
    known: list[Group] = []
    refused: list[Unplanned] = []
    for group in groups:
        asked = group.pending.profile
        here = fleet.name_here(asked)
        if here == asked:
            known.append(group)
            continue
        reason = Reason(Because.NO_SUCH_PROFILE, f"no GPU here has {asked}; it is called {here} here")
        refused.extend(Unplanned(pod=pod, reason=reason, helps=(f"ask for {here.resource}",)) for pod in group.pods)
    return known, refused


def _given_to_pods(steps: Iterable[Step], groups: Sequence[Group]) -> list[Granted]:
    """A step names a function: whoever of it has the fewest nodes to go to comes first where several could take it."""
    of_function: dict[object, list[tuple[Group, list[PodFacts]]]] = {}
    for group in sorted(groups, key=lambda each: (-each.pending.priority, len(each.nodes))):
        key = (group.pending.function, group.pending.profile)
        of_function.setdefault(key, []).append((group, [*reversed(group.pods)]))
    granted = []
    for step in steps:
        for group, pods in of_function[step.function, step.profile]:
            if pods and step.target.node in group.nodes:
                granted.append(Granted(step=step, pod=pods.pop(), nodes=group.nodes))
                break
    return granted


def _crowded(keeper: WorldKeeper, granted: Iterable[Granted]) -> list[Granted]:
    """Those that do not fit on their node beside the pods that this same round sends there."""
    crowded = []
    used: dict[NodeName, Resources] = {}
    for each in granted:
        node = each.step.target.node
        if node not in used:
            used[node] = _sum(
                pod.asks
                for pod in keeper.pinned(node)
                if pod.uid != each.pod.uid and pod.uid in keeper.views[node].claimed
            )
        free, taken = keeper.eligible.free(node), used[node]
        left = Resources(
            cpu_milli=free.cpu_milli - taken.cpu_milli,
            memory_bytes=free.memory_bytes - taken.memory_bytes,
            pods=free.pods - taken.pods,
        )
        if too_little(each.pod.asks, left):
            crowded.append(each)
        else:
            used[node] = _sum((taken, replace(each.pod.asks, pods=1)), counted=True)
    return crowded


def _sum(asks: Iterable[Resources], *, counted: bool = False) -> Resources:
    every = list(asks)
    return Resources(
        cpu_milli=sum(each.cpu_milli for each in every),
        memory_bytes=sum(each.memory_bytes for each in every),
        pods=sum(each.pods for each in every) if counted else len(every),
    )


def _kept_away(groups: Sequence[Group], crowded: Sequence[Granted]) -> list[Group]:
    """Their pods, one by one, look elsewhere; the rest of the group stays together."""
    away = {each.pod.uid: each.step.target.node for each in crowded}
    kept: list[Group] = []
    for group in groups:
        moved = [pod for pod in group.pods if pod.uid in away]
        rest = tuple(pod for pod in group.pods if pod.uid not in away)
        if not moved:
            kept.append(group)
            continue
        if rest:
            kept.append(_of(group, rest))
        by_node: dict[NodeName, list[PodFacts]] = {}
        for pod in moved:
            by_node.setdefault(away[pod.uid], []).append(pod)
        kept.extend(_of(group, tuple(pods)).away_from(node) for node, pods in by_node.items())
    return kept


def _without(groups: Iterable[Group], aside: Mapping[str, Granted]) -> list[Group]:
    kept = []
    for group in groups:
        pods = tuple(pod for pod in group.pods if pod.uid not in aside)
        if pods:
            kept.append(group if len(pods) == len(group.pods) else _of(group, pods))
    return kept


def _of(group: Group, pods: tuple[PodFacts, ...]) -> Group:
    return replace(group, pods=pods, pending=replace(group.pending, count=len(pods), since=pods[0].created))


def _first(texts: Sequence[str]) -> str:
    more = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _refused(
    keeper: WorldKeeper, world: World, plan: Plan, groups: Sequence[Group], granted: Iterable[Granted]
) -> Iterator[Unplanned]:
    has = {each.pod.uid for each in granted}
    of_pending = {id(group.pending): group for group in groups}
    for rejection in plan.rejections:
        pods = [pod for pod in of_pending[id(rejection.pending)].pods if pod.uid not in has][: rejection.count]
        reason, helps = rejection.reason, rejection.helps
        away = [world.left_out[name] for name in keeper.nodes_of(pods[0]) & world.left_out.keys()] if pods else []
        if away and reason.code in (Because.NO_ELIGIBLE_NODE, Because.NO_FREE_PLACE, Because.NO_SPARE_SLICE):
            which = f"it can run on nodes that are left out: {_first(sorted(away))}"
            nowhere = reason.code is Because.NO_ELIGIBLE_NODE  # beside these
            reason = replace(reason, text=which if nowhere else f"{reason.text}; {which}")
            helps = ("look at the agents' pods there",) if nowhere else (*helps, "look at the agents' pods there")
        if pods and reason.code is Because.NO_ELIGIBLE_NODE:
            kinds = keeper.eligible.why_nowhere(Shape.of(pods[0]))
            if kinds:
                listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
                reason = replace(reason, text=f"{reason.text}; of the nodes with GPUs: {listed}")
        yield from (Unplanned(pod=pod, reason=reason, helps=helps) for pod in pods)


_Slots = dict[NodeName, set[tuple[GpuUuid, SliceKey]]]


def _more_known(
    amended: Mapping[NodeName, Amended],
    unneeded: _Slots,
    too_early: Iterable[Granted],
    nowhere: Iterable[Granted],
) -> dict[NodeName, Amended]:
    """A place that somebody cannot have yet is closed while that one looks elsewhere; who finds nothing (`nowhere`)
    waits for it, and others with another profile may have it meanwhile.
    """
    early: _Slots = {}
    for each in too_early:
        early.setdefault(each.step.target.node, set()).add((each.step.target.gpu, each.key))
    opened: _Slots = {}
    for each in nowhere:
        opened.setdefault(each.step.target.node, set()).add((each.step.target.gpu, each.key))
    more = {}
    for name in unneeded.keys() | early.keys() | opened.keys():
        known = amended.get(name, Amended())
        grown = Amended(
            cancelled=known.cancelled | unneeded.get(name, set()),
            not_yet=(known.not_yet | early.get(name, set())) - opened.get(name, set()),
        )
        if grown != known:
            more[name] = grown
    return more


def _unneeded(world: World, granted: Iterable[Granted]) -> _Slots:
    """Slices in the making that nobody was given, while the idle ones that they cost still stand."""
    needed = {(each.step.target.gpu, each.key) for each in granted if each.step.target.reuses}
    found: _Slots = {}
    for node in world.views.values():
        for view in node.gpus:
            if view.making and view.writable:
                for key, back in view.making.items():
                    if back and (view.gpu.uuid, key) not in needed:
                        found.setdefault(node.name, set()).add((view.gpu.uuid, key))
    return found


def _too_early(world: World, granted: Iterable[Granted]) -> list[Granted]:
    """Steps that would make a slice that stands and is released: its pod still counts for the scheduler."""
    return [each for each in granted if each.step.how in CARRIED_OUT and _is_released(world, each)]


def _is_released(world: World, granted: Granted) -> bool:
    target = granted.step.target
    return not target.reuses and any(
        view.gpu.uuid == target.gpu and granted.key in view.released for view in world.views[target.node].gpus
    )
