"""Carries out moves: in the planner's leader, between what is planned and what pods and autoscalers do.

Called by the loop in each round: `see`, `advance`, `take` what was planned, `act`. What is decided is `core.mover`. The
journal is stored before anything is done, under the leader's token and the version that was read; all that is done is
what the stored journal wants, again and again until it is seen. So a new leader goes on where the old one died, and one
that was paused finds its journal taken over.

The floor is asked as every component asks it, through an object of the API server, though it runs in this process: so
there is one way in which a request comes and goes.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.moving import Moving, Reservation
from knative_mig.core.cluster.node_view import GpuView, NodeView
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import is_gated
from knative_mig.core.floor.values import Record, Request, Revision
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.asking import asks
from knative_mig.core.mover.choose import Journal, begin, fixed
from knative_mig.core.mover.look import sights
from knative_mig.core.mover.machine import advance, holds, may_evict, newcomers, successor, wants, wants_room
from knative_mig.core.mover.rollouts import successions, superseded
from knative_mig.core.mover.seen import Seen, SeenPods, SeenRevisions
from knative_mig.core.mover.values import GOES_FIRST, Leg, Move, Over, Phase, PodRef, Sight, SliceSight, Spot
from knative_mig.core.planner.decisions import How, Step, Target
from knative_mig.core.planner.holds import Hold
from knative_mig.ports.autoscaling import FloorRequests, MovedPods, MoveStore, StoredMoves
from knative_mig.ports.kube import (
    AlreadyExists,
    ClusterError,
    Conflict,
    EventRecorder,
    EventType,
    Key,
    Mirror,
    ObjectNotFound,
)
from knative_mig.ports.relays import HandedOver, PodAt
from reconfigurer.planner.asking import Asking
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.floor import subject_of
from reconfigurer.planner.hand_overs import HandOvers, Outcome
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.metrics import MoverMetrics
from reconfigurer.planner.settings import MoverSettings

_log = logging.getLogger(__name__)
COMPONENT: Final = "move"
# A write that the mirror has not shown for so long is done again.
_SEEN_WITHIN_S: Final = 5.0


class Mover:
    def __init__(
        self,
        *,
        store: MoveStore,
        requests: FloorRequests,
        requested: Mirror[tuple[Request, ...]],
        pods: MovedPods,
        revisions: Mirror[Revision],
        records: Callable[[], Mapping[str, Record]],
        leader: Leader,
        hand_overs: HandOvers,
        events: EventRecorder,
        metrics: MoverMetrics,
        settings: MoverSettings,
        mirror_age_limit_s: float,
    ) -> None:
        """`requested`: of the floor, by everybody; `records`: the floor's, by which a user's max-scale is told from
        what the floor has written.
        """
        self._store = store
        self._asking = Asking(requests, requested, COMPONENT, mirror_age_limit_s=mirror_age_limit_s)
        self._pods = pods
        self._revisions = revisions
        self._records = records
        self._leader = leader
        self._hand_overs = hand_overs
        self._events = events
        self._metrics = metrics
        self._settings = settings
        self._age_limit_s = mirror_age_limit_s
        self._seen = Seen()
        self._sees = False
        self.drop()

    def drop(self) -> None:
        """Another one leads, or what is kept may be half done: begun again from what is stored."""
        self._seen_pods, self._seen_revisions = SeenPods(), SeenRevisions()
        self._stored: StoredMoves | None = None
        self._asking.drop()
        self._done: dict[tuple[str, int | None], float] = {}
        self._fixed: Mapping[Function, str] = {}
        self._moved: list[Move] = []
        self._told_of: set[str] = set()  # whose hand-over, by the UID of the pod that ends
        self._hand_overs.forget_but(())
        self._served: frozenset[Function] = frozenset()  # given a slice in the last plan

    @property
    def journal(self) -> Journal:
        return self._stored.journal if self._stored else Journal()

    @property
    def is_moving(self) -> bool:
        return bool(self.journal.moves)

    def wake_on_changes(self, wake: Callable[[], None]) -> None:
        """A move goes on by what becomes of its Revisions, too, and what it asks is to stand."""

        def changed(key: Key) -> None:
            if self.is_moving and Function(key.namespace, key.name) in self.journal.movers | self.journal.beneficiaries:
                wake()

        self._revisions.on_change(changed)
        self._asking.wake_on_changes(wake)

    # -- before the plan ----------------------------------------------------------------------------------------------

    def see(self, nodes: Mapping[NodeName, GpuNode], pods: Mapping[Key, PodFacts], token: int, now: Now) -> Moving:
        if self._stored is None or self._stored.token != token:
            self._begin(token)
        self._seen_pods.see(pods)
        self._seen_revisions.see(self._revisions.snapshot() if self._is_fresh(now) else {})
        self._sees = self._stored is not None and self._is_fresh(now)
        self._seen = Seen(
            gpu_nodes=nodes,
            pods=self._seen_pods,
            revisions=self._seen_revisions,
            records=self._records(),
        )
        return self.moving(now)

    def moving(self, now: Now) -> Moving:
        self._fixed = fixed(self._seen, self.journal, now.wall)
        reserved: dict[NodeName, tuple[Reservation, ...]] = {}
        looked_at = self._sights()
        for uid, move in self.journal.moves.items():
            spot = wants(move).reserve
            if spot is not None:
                new = self._starting(move, looked_at[uid])
                kept = Reservation(slice=spot.slice, function=move.leg.function, pod=new.uid if new else "")
                reserved[spot.node] = (*reserved.get(spot.node, ()), kept)
        return Moving(
            reserved=reserved,
            fixed=frozenset(self._fixed),
            successions=successions(self._seen, self.journal, now.wall),
            superseded=superseded(self._seen),
        )

    def wanting_room(self, now: Now) -> list[PodFacts]:
        """The old pods of moves that go on according to whether another slice is left."""
        looked_at = self._sights()
        found = (
            looked_at[uid].pods.get(move.leg.old.uid)
            for uid, move in self.journal.moves.items()
            if wants_room(move, looked_at[uid], now.wall, self._settings.patience)
        )
        return [pod for pod in found if pod]

    def advance(self, room_for: frozenset[Function], now: Now) -> bool:
        """Whether anything changed. What is not stored has not happened."""
        if not self._sees or not self.is_moving:
            return False
        self._tell_handed_over()
        patience = self._settings.patience
        moves, resting, over = dict(self.journal.moves), dict(self.journal.resting), []
        for uid, sight in self._sights(room_for).items():
            step: Move | Over = moves[uid]
            while isinstance(step, Move):
                further = advance(step, sight, now.wall, patience)
                if further == step:
                    break
                step = further
            if isinstance(step, Move):
                moves[uid] = step
                continue
            move = moves.pop(uid)
            over.append((move, step))
            if not step.moved:
                who = move.function if move.recreates else move.leg.function
                resting[who] = now.wall + patience.rest_s
        resting = {function: until for function, until in resting.items() if until > now.wall}
        new = Journal(moves=moves, resting=resting)
        if new == self.journal or not self._save(new):
            return False
        for move, how in over:
            self._tell_over(move, how)
        self._metrics.show(new.moves.values())
        return True

    def take_moved(self) -> list[Move]:
        """Moves that have cleared their places since this was last asked."""
        moved, self._moved = self._moved, []
        return moved

    def holds(self) -> tuple[Hold, ...]:
        return tuple(
            Hold(
                gpu=spot.slice.gpu,
                profile=spot.slice.profile,
                start=spot.slice.start,
                function=move.function if at == 0 else None,
                recreates=move.recreates,
            )
            for move in self.journal.moves.values()
            for at, spot in enumerate(holds(move))
        )

    # -- what was planned ---------------------------------------------------------------------------------------------

    def take(self, decision: Decision, now: Now) -> None:
        """Begins the moves among it, as many as may be under way."""
        self._served = frozenset(each.pod.function for each in decision.granted)
        if not self._sees:
            return
        found = begin(
            decision.waiting,
            self._seen,
            self.journal,
            now.wall,
            unfit=self._fixed.keys(),
            at_once=self._settings.at_once,
        )
        if not found:
            return
        moves = {**self.journal.moves, **{move.beneficiary.uid: move for move in found}}
        if self._save(replace(self.journal, moves=moves)):
            self._metrics.show(moves.values())
            for move in found:
                self._metrics.begun.inc()
                for leg in move.legs:
                    if move.recreates:
                        text = (
                            f"the traffic goes to {move.function}; pod {leg.old.name} ends when its requests are "
                            f"answered, so that one of it gets {move.place} (rollout: recreate)"
                        )
                        self._tell(leg.function, EventType.NORMAL, "RecreateBegun", text)
                        continue
                    text = f"makes room for {move.function}: its new pod is to start on {leg.target}"
                    self._tell(leg.function, EventType.NORMAL, "MoveBegun", text)

    def steps(self, views: Mapping[NodeName, NodeView]) -> list[Step]:
        """The slices that are to be made for new pods; idle ones in their place go."""
        looked_at = self._sights()
        found = []
        for uid, move in self.journal.moves.items():
            spot = wants(move).reserve
            view = _gpu(views, spot) if spot else None
            if spot is None or view is None or not view.writable or looked_at[uid].target is not SliceSight.ABSENT:
                continue
            model = view.gpu.model
            place = model.place(model.profile(spot.slice.profile), spot.slice.start)
            idle = (model.place(model.profile(key.profile), key.start) for key in view.idle)
            destroys = tuple(each for each in idle if each.mask & place.mask)
            target = Target(gpu=spot.slice.gpu, node=spot.node, place=place, destroys=destroys)
            how = How.MERGE if destroys else How.CREATE
            found.append(Step(how=how, function=move.leg.function, profile=spot.slice.profile, target=target))
        return found

    def granted(self, views: Mapping[NodeName, NodeView]) -> list[Granted]:
        """New pods that our gate holds back, each with the slice that is kept for it."""
        looked_at = self._sights()
        found = []
        for uid, move in self.journal.moves.items():
            spot = wants(move).reserve
            new = self._starting(move, looked_at[uid])
            view = _gpu(views, spot) if spot else None
            if spot is None or new is None or view is None or not is_gated(new):
                continue
            model = view.gpu.model
            place = model.place(model.profile(spot.slice.profile), spot.slice.start)
            target = Target(gpu=spot.slice.gpu, node=spot.node, place=place, reuses=True)
            step = Step(how=How.REUSE, function=move.leg.function, profile=spot.slice.profile, target=target)
            found.append(Granted(step=step, pod=new, nodes=frozenset({spot.node})))
        return found

    # -- what is done -------------------------------------------------------------------------------------------------

    def act(self, token: int, now: Now) -> bool:
        """False: what is asked of the floor has to be asked again soon."""
        if self._stored is None:
            return True
        self._done = {what: at for what, at in self._done.items() if now.monotonic - at < _SEEN_WITHIN_S}
        looked_at = self._sights()
        if self._leader.token() != token:
            return True
        asked = self._ask(now)
        for uid, move in self.journal.moves.items():
            if self._leader.token() != token:
                return True
            wanted, sight = wants(move), looked_at[uid]
            if wanted.mark:
                self._mark(move, wanted.mark, sight, GOES_FIRST, now)
            if wanted.unmark and _cost(wanted.unmark, sight) == GOES_FIRST:
                self._mark(move, wanted.unmark, sight, move.cost, now)
            if wanted.evict:
                self._evict(move, wanted.evict, sight, now)
            if wanted.hand_over and (to := successor(move, sight)):
                namespace = move.leg.function.namespace
                leaving = PodAt(key=Key(namespace, wanted.hand_over.name), uid=wanted.hand_over.uid)
                self._hand_overs.begin(leaving, PodAt(key=Key(namespace, to.name), uid=to.uid))
        return asked

    def _ask(self, now: Now) -> bool:
        every = [(move, asks(move, COMPONENT, self._settings.patience)) for move in self.journal.moves.values()]
        # Whoever has been given a slice after all needs no traffic before it has a pod.
        requests = [each for move, each in every if each and not (wants(move).switch and move.function in self._served)]
        return self._asking.ask(requests, now)

    def _mark(self, move: Move, pod: PodRef, sight: Sight, cost: int | None, now: Now) -> None:
        if _cost(pod, sight) == cost or (pod.uid, cost) in self._done or pod.uid not in sight.pods:
            return
        try:
            self._pods.set_deletion_cost(Key(move.leg.function.namespace, pod.name), uid=pod.uid, cost=cost)
        except ObjectNotFound:
            return
        except ClusterError as error:
            _log.warning("The deletion cost of pod %s is not set: %s", pod.name, error)
            return
        self._done[pod.uid, cost] = now.monotonic

    def _evict(self, move: Move, pod: PodRef, sight: Sight, now: Now) -> None:
        """The mirror may show a pod as Ready that is no more: who goes last is asked of the API server itself."""
        if (pod.uid, None) in self._done:
            return
        function = move.leg.function
        try:
            newest = {each.uid: each for each in self._pods.read_of(function)}
            if not may_evict(move, replace(sight, pods=newest)):
                return
            self._pods.evict(Key(function.namespace, pod.name), uid=pod.uid)
        except ObjectNotFound:
            return
        except ClusterError as error:
            _log.warning("Pod %s of %s is not evicted: %s", pod.name, function, error)
            return
        self._done[pod.uid, None] = now.monotonic
        self._metrics.evictions.inc()

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _begin(self, token: int) -> None:
        self.drop()
        try:
            there = self._store.load()
            if there.token > token:
                self._leader.lost(f"fencing token {there.token} stands on the moves", at_least=there.token)
                return
            self._stored = self._store.save(replace(there, token=token))
        except ClusterError as error:
            _log.warning("The journal of moves is not ours yet, nothing is moved: %s", error)

    def _save(self, journal: Journal) -> bool:
        assert self._stored is not None
        try:
            self._stored = self._store.save(replace(self._stored, journal=journal))
        except (Conflict, AlreadyExists):
            self.drop()  # read again, and see who leads
            self._sees = False
        except ClusterError as error:
            _log.warning("The journal of moves cannot be stored, so no move goes on: %s", error)
        else:
            return True
        return False

    def _is_fresh(self, now: Now) -> bool:
        return self._revisions.synced and self._revisions.age_s(now.monotonic) <= self._age_limit_s

    def _sights(self, room_for: frozenset[Function] = frozenset()) -> dict[str, Sight]:
        moves = self.journal.moves.values()
        asked = self._asking.asked
        if asked is None:
            asked = {move.leg.function: 1.0 for move in moves}
        return sights(moves, self._seen, asked, room_for, self._hand_overs.over().keys())

    @staticmethod
    def _starting(move: Move, sight: Sight) -> PodFacts | None:
        """The new pod, while it is not Ready."""
        new = newcomers(move, sight) if move.phase is Phase.STARTING else []
        return new[0] if new and not new[0].ready else None

    def _tell_handed_over(self) -> None:
        """Once each."""
        over = self._hand_overs.over()
        leaving = {move.leg.old.uid: move.leg for move in self.journal.moves.values()}
        for uid, leg in leaving.items():
            if (outcome := over.get(uid)) is not None and uid not in self._told_of:
                self._told_of.add(uid)
                self._tell_outcome(leg, outcome)
        self._hand_overs.forget_but(leaving)
        self._told_of &= leaving.keys()

    def _tell_outcome(self, leg: Leg, outcome: Outcome) -> None:
        if not isinstance(outcome, HandedOver):
            self._metrics.hand_overs.labels("failed" if outcome.has_relay else "no-relay").inc()
            if outcome.has_relay:
                text = f"what pod {leg.old.name} has under way ends there: {outcome.why}"
                self._tell(leg.function, EventType.WARNING, "NotHandedOver", text)
            return
        self._metrics.hand_overs.labels("done").inc()
        self._metrics.generations.labels("moved").inc(outcome.moved)
        self._metrics.generations.labels("stayed").inc(len(outcome.stay))
        if outcome.moved or outcome.stay:
            whole = f"{outcome.moved} of {outcome.moved + len(outcome.stay)} generations of pod {leg.old.name} go on"
            text = f"{whole} in another; the others end there: {outcome.why}" if outcome.stay else f"{whole} in another"
            self._tell(leg.function, EventType.NORMAL, "HandedOver", text)

    def _tell_over(self, move: Move, over: Over) -> None:
        if move.recreates:
            self._tell_recreated(move, over)
            return
        self._metrics.over.labels("moved" if over.moved else "abandoned").inc()
        if over.moved:
            self._moved.append(move)
        for leg in move.legs[: move.at + 1]:
            if over.moved:
                text = f"made room for {move.function}{f'; {over.why}' if over.why else ''}"
                self._tell(leg.function, EventType.NORMAL, "Moved", text)
        if not over.moved:
            self._tell(move.leg.function, EventType.WARNING, "MoveAbandoned", over.why)

    def _tell_recreated(self, move: Move, over: Over) -> None:
        self._metrics.over.labels("recreated" if over.moved else "abandoned").inc()
        if over.moved:
            text = over.why or f"{move.function} has {move.place}, where {move.leg.function} was"
            kind, reason = EventType.NORMAL, "Recreated"
        else:
            text, kind, reason = over.why, EventType.WARNING, "RecreateAbandoned"
        for function in (move.leg.function, move.function):
            self._tell(function, kind, reason, text)

    def _tell(self, function: Function, kind: EventType, reason: str, text: str) -> None:
        _log.info("%s: %s %s", reason, function, text)
        if revision := self._seen.revisions.get(function):
            self._events.record(subject_of(revision), kind, reason, text)


def _gpu(views: Mapping[NodeName, NodeView], spot: Spot) -> GpuView | None:
    view = views.get(spot.node)
    return next((each for each in view.gpus if each.gpu.uuid == spot.slice.gpu), None) if view else None


def _cost(pod: PodRef, sight: Sight) -> int | None:
    there = sight.pods.get(pod.uid)
    return there.deletion_cost if there else None
