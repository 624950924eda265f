"""Plans all pendings together: who gets which slice, who has to wait for what, and how far from the best that can be.

The entrance to the planner. The reconfigurer, the CLI, the benchmarks and later the simulator call `plan`, or
`plan_on` with a fleet that they keep. Each pending in turn takes the best place that is left; the order is what makes
that good: who outranks, then who is hardest to place. What is rejected for too long keeps a place from all who come
after it, so that an old 7g request ends up with a GPU however many small ones there are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from math import inf
from typing import Final

from knative_mig.core.inventory import Function, Inventory, NodeName, Pending, Quotas, Succession
from knative_mig.core.planner.bound import most_compute
from knative_mig.core.planner.decisions import Because, Bound, How, Plan, Reason, Rejection, Step
from knative_mig.core.planner.fleet import Fleet, Wish
from knative_mig.core.planner.grants import grant, grant_by_moving
from knative_mig.core.planner.holds import Hold
from knative_mig.core.planner.moves import MoveSearch
from knative_mig.core.planner.obstacles import nearest
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.recreations import recreate
from knative_mig.core.planner.shortage import Shortage, explain_shortage
from knative_mig.core.planner.startup import MeasuredStarts, StartupEstimate
from knative_mig.core.planner.times import WhenTold, in_seconds
from knative_mig.core.profile import ProfileName


def plan(
    inventory: Inventory,
    pendings: Sequence[Pending],
    policy: Policy,
    now: float,
    *,
    startup: StartupEstimate | None = None,
) -> Plan:
    fleet = Fleet(inventory, policy)
    return plan_on(fleet, pendings, now, startup=startup, quotas=inventory.quotas, prove=True)


def plan_on(
    fleet: Fleet,
    pendings: Sequence[Pending],
    now: float,
    *,
    startup: StartupEstimate | None = None,
    quotas: Quotas | None = None,
    prove: bool = False,
    holds: Sequence[Hold] = (),
    when: WhenTold | None = None,
) -> Plan:
    """Like `plan`, on a fleet that is afterwards as it was before. Without `prove` the bound is what was asked for.
    `when`: how reasons tell a time; None: in seconds from now.
    """
    policy = fleet.policy
    batch = _Batch(fleet, now, startup or MeasuredStarts(), quotas or {}, when or in_seconds(now))
    try:
        batch.hold(holds)
        for pending in _newer_first(sorted(pendings, key=lambda each: _turn(fleet, policy, now, each))):
            batch.serve(pending)
    finally:
        fleet.wind_back()
    return Plan(
        steps=tuple(batch.steps),
        rejections=tuple(batch.rejections),
        reasons=tuple(batch.reasons),
        bound=_bound(fleet, now, _wanted(fleet, pendings, quotas or {}), batch.steps, prove=prove),
    )


def _turn(fleet: Fleet, policy: Policy, now: float, pending: Pending) -> tuple[object, ...]:
    """Rank grows by one with every `starving_after_s` of age: in the end everybody outranks the newly come. Within a
    rank the profiles with the fewest legal starts go first, then the big ones: they become unplaceable first.
    """
    rank = pending.priority + int(_age(pending, now) // policy.starving_after_s)
    name = fleet.name_here(pending.profile)
    starts = max((len(model.profile(name).starts) for model in fleet.models_of(name)), default=0)
    where = () if pending.nodes is None else tuple(sorted(pending.nodes))
    who = (pending.function, pending.profile, pending.count, where)
    return (-rank, starts, -pending.profile.memory_gb, pending.since, *who)


def _newer_first(in_turn: list[Pending]) -> list[Pending]:
    """Whoever comes after a newer Revision has its turn behind all of that one's pods, and all others keep theirs."""
    last: dict[Function | None, int] = {each.function: at for at, each in enumerate(in_turn)}

    def turn(numbered: tuple[int, Pending]) -> tuple[int, bool, int]:
        at, each = numbered
        return max(at, last.get(each.after, at)), each.after is not None, at

    return [each for _, each in sorted(enumerate(in_turn), key=turn)]


def _age(pending: Pending, now: float) -> float:
    return max(0.0, now - pending.since)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Asked once in a plan: places only become fewer while it is made, so the answer holds for all who come after."""

    name: ProfileName
    nodes: frozenset[NodeName] | None
    spares_whole: bool


class _Batch:
    def __init__(self, fleet: Fleet, now: float, startup: StartupEstimate, quotas: Quotas, when: WhenTold) -> None:
        self.steps: list[Step] = []
        self.rejections: list[Rejection] = []
        self.reasons: list[Reason] = []
        self._fleet = fleet
        self._policy = fleet.policy
        self._now = now
        self._when = when
        self._startup = startup
        self._quota_left = {(ns, name): left for ns, by_name in quotas.items() for name, left in by_name.items()}
        self._refused: dict[_Refusal, Shortage] = {}
        self._held_for: list[tuple[Pending, int]] = []
        self._search_cut_short = False
        self._hindrances: Mapping[Function, str] | None = {}  # of the last search; None: moves are switched off
        self._cleared_for: dict[Function, list[tuple[int, int]]] = {}  # position and mask
        self._recreating: set[Function] = set()

    def hold(self, holds: Iterable[Hold]) -> None:
        for each in holds:
            position = self._fleet.where(each.gpu)
            if position is None or not self._fleet.gpu(position).model.has(each.profile):
                continue
            model = self._fleet.gpu(position).model
            mask = model.place(model.profile(each.profile), each.start).mask
            self._fleet.assign(position, self._fleet.slices(position), held=mask)
            if each.function is not None:
                self._cleared_for.setdefault(each.function, []).append((position, mask))
                if each.recreates:
                    self._recreating.add(each.function)

    def serve(self, pending: Pending) -> None:
        if cleared := self._cleared_for.pop(pending.function, None):
            self._serve_who_has_a_move(pending, cleared)
        else:
            self._serve(pending)

    def _serve_who_has_a_move(self, pending: Pending, cleared: Iterable[tuple[int, int]]) -> None:
        """What is being cleared for it is there for it alone, and nobody else is moved for it meanwhile."""
        for position, mask in cleared:
            self._fleet.release(position, mask)
        wish = self._wish(pending)
        served = 0
        while served < pending.count and self._quota_of(pending.function.namespace, pending.profile) > 0:
            offer = self._fleet.best(wish)
            if offer is None:
                break
            self.steps.append(grant(self._fleet, pending.function, wish, offer, self._now, self._when))
            self._spend_quota(pending.function, pending.profile, 1)
            served += 1
        if served < pending.count:
            if not served:
                for position, mask in cleared:
                    self._fleet.assign(position, self._fleet.slices(position), held=mask)
            recreates = pending.function in self._recreating
            self._reject(pending, pending.count - served, _ROLLING_OUT if recreates else _UNDER_WAY)

    def _serve(self, pending: Pending) -> None:
        wish = self._wish(pending)
        for served in range(pending.count):
            if self._quota_of(pending.function.namespace, pending.profile) <= 0:
                self._reject(pending, pending.count - served, _over_quota(pending))
                return
            refusal = _Refusal(wish.name, wish.nodes, wish.spares_whole)
            self._spend_quota(pending.function, pending.profile, 1)
            step = None if refusal in self._refused else self._step(pending, wish)
            step = step or self._instead_of_older(pending, wish)
            if step is None:
                self._spend_quota(pending.function, pending.profile, -1)
                shortage = self._refused.get(refusal) or self._shortage(wish)
                self._refused[refusal] = shortage
                self._reject(pending, pending.count - served, shortage)
                self._hold_for(pending, wish)
                return
            self.steps.append(step)

    def _wish(self, pending: Pending) -> Wish:
        name = self._fleet.name_here(pending.profile)
        single_start = any(len(model.profile(name).starts) == 1 for model in self._fleet.models_of(name))
        starving = _age(pending, self._now) >= self._policy.starving_after_s
        return Wish(
            name=name,
            nodes=pending.nodes,
            starts=self._startup(pending.function),
            waits=(self._now - self._policy.wait_at_most_s, self._now + self._policy.wait_at_most_s),
            spares_whole=not (single_start or starving) and self._policy.reserve_whole > 0,
        )

    def _step(self, pending: Pending, wish: Wish) -> Step | None:
        offer = self._fleet.best(wish)
        if offer:
            return grant(self._fleet, pending.function, wish, offer, self._now, self._when)
        return self._moved(pending, wish, 1 if self._breaks_whole(wish) else self._policy.max_moves)

    def _instead_of_older(self, pending: Pending, wish: Wish) -> Step | None:
        """Who only has to wait until it may break a whole GPU has nobody ended for it."""
        succession = pending.succeeds
        if succession is None or not succession.recreates or self._breaks_whole(wish):
            return None
        return recreate(self._fleet, pending.function, wish, succession)

    def _breaks_whole(self, wish: Wish) -> bool:
        """It has a place, on the last whole GPU: one move is worth such a GPU, two are not."""
        return wish.spares_whole and self._fleet.best(replace(wish, spares_whole=False)) is not None

    def _moved(self, pending: Pending, wish: Wish, most: int) -> Step | None:
        most = min(most, self._policy.max_moves)
        self._hindrances = {} if most else None
        if not most:
            return None
        search = MoveSearch(self._fleet, self._startup, self._quota_of)
        found = search.cheapest(wish, most)
        self._search_cut_short = search.cut_short
        self._hindrances = search.hindrances
        if found is None:
            return None
        for removal in found.removals:
            self._spend_quota(removal.busy.function, removal.source.profile.name, 1)
        return grant_by_moving(self._fleet, pending.function, wish, found)

    def _quota_of(self, namespace: str, name: ProfileName) -> float:
        return self._quota_left.get((namespace, name), inf)

    def _spend_quota(self, function: Function, name: ProfileName, count: int) -> None:
        key = (function.namespace, name)
        if key in self._quota_left:
            self._quota_left[key] -= count

    def _shortage(self, wish: Wish) -> Shortage:
        if wish.spares_whole and self._fleet.best(replace(wish, spares_whole=False)):
            return Shortage(
                Reason(
                    Because.KEPT_FOR_BIGGER,
                    f"{wish.name} would break the last whole GPU, which is kept for profiles with a single legal start "
                    f"(reserve_whole: {self._policy.reserve_whole})",
                ),
                (
                    f"waiting: after {self._policy.starving_after_s:.0f} s a request may take it",
                    "a smaller reserve_whole",
                ),
            )
        shortage = explain_shortage(
            self._fleet,
            wish,
            self._now,
            self._when,
            hindrances=self._hindrances,
            search_cut_short=self._search_cut_short,
            steps=self.steps,
        )
        older = next((each for each, position in self._held_for if self._fleet.fits_unheld(position, wish)), None)
        if older:
            text = f"{shortage.reason.text}; a place is held for {older.function}, which comes first"
            return Shortage(replace(shortage.reason, code=Because.HELD_FOR_OLDER, text=text), shortage.helps)
        return shortage

    def _reject(self, pending: Pending, count: int, shortage: Shortage) -> None:
        if pending.succeeds and shortage.reason.code in _NOT_SPARE:
            shortage = _no_spare(shortage, pending.succeeds)
        self.rejections.append(Rejection(pending=pending, count=count, reason=shortage.reason, helps=shortage.helps))

    def _hold_for(self, pending: Pending, wish: Wish) -> None:
        """The place that is nearest to coming free is nobody else's any more, and after each further
        `starving_after_s` one more: the nearest may be held by a pod that never ends, but not all of them are.
        """
        places = int(_age(pending, self._now) // self._policy.starving_after_s)
        obstacles = (
            (obstacle.cost, position, obstacle)
            for position in (self._fleet.eligible_positions(wish) if places else ())
            if (obstacle := nearest(self._fleet.state(position), wish.name))
        )
        for cost, position, obstacle in nsmallest(places, obstacles, key=lambda each: each[:2]):
            self._fleet.assign(position, self._fleet.slices(position), held=obstacle.place.mask)
            self._held_for.append((pending, position))
            self.reasons.append(
                Reason(
                    Because.HELD_FOR_OLDER,
                    f"{obstacle.place} of {self._fleet.gpu(position).uuid} is held for {pending.function}, which has "
                    f"waited {_age(pending, self._now):.0f} s: {cost[0]} units of it are still busy",
                )
            )


_UNDER_WAY: Final = Shortage(
    Reason(Because.MOVE_UNDER_WAY, "a function is being moved away to make room: its new pod starts first"),
    ("waiting: each new pod has to be Ready before the old one ends",),
)

_ROLLING_OUT: Final = Shortage(
    Reason(Because.REPLACES_REVISION, "a new Revision takes an older one's place: requests wait until it is Ready"),
    ("waiting: a pod ends when its requests are answered",),
)
_NOT_SPARE: Final = frozenset({Because.NO_FREE_PLACE, Because.HELD_FOR_OLDER, Because.KEPT_FOR_BIGGER})


def _no_spare(shortage: Shortage, succession: Succession) -> Shortage:
    text = (
        f"{succession} serves on; this newer Revision gets the first slice that is free, or that one's when it is at "
        f"zero: {shortage.reason.text}"
    )
    reason = replace(shortage.reason, code=Because.NO_SPARE_SLICE, text=text)
    if succession.recreates:
        return Shortage(replace(reason, text=f"{text}; no slice of {succession} does for it"), shortage.helps)
    more = "knative-mig.dev/rollout: recreate on the template, which has the older one end for it"
    return Shortage(reason, (*shortage.helps, more))


def _over_quota(pending: Pending) -> Shortage:
    text = f"namespace {pending.function.namespace} may hold no more {pending.profile}"
    return Shortage(
        Reason(Because.QUOTA_EXCEEDED, text),
        (f"a higher quota of {pending.profile.resource}", "another function of the namespace scaling to zero"),
    )


def _bound(fleet: Fleet, now: float, wanted: Mapping[ProfileName, int], steps: Iterable[Step], *, prove: bool) -> Bound:
    # Who gets an older Revision's slice takes no more than was taken: the bound knows nothing of it.
    served = sum(step.profile.compute for step in steps if step.how is not How.RECREATE)
    asked = sum(name.compute * count for name, count in wanted.items())
    if served == asked or not prove:
        return Bound(served=served, at_most=asked)
    policy = fleet.policy
    at_most = most_compute(fleet, wanted, served, moving=policy.max_moves > 0, wait_until=now + policy.wait_at_most_s)
    return Bound(served=served, at_most=min(asked, at_most))


def _wanted(fleet: Fleet, pendings: Iterable[Pending], quotas: Quotas) -> Mapping[ProfileName, int]:
    """What is asked for, as far as quotas allow it."""
    asked = Counter[tuple[str, ProfileName]]()
    for pending in pendings:
        asked[pending.function.namespace, pending.profile] += pending.count
    wanted = Counter[ProfileName]()
    for (namespace, name), count in asked.items():
        wanted[fleet.name_here(name)] += min(count, quotas.get(namespace, {}).get(name, count))
    return wanted
