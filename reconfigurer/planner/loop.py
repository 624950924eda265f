"""The planner's round: look, judge, plan, write, let pods go. Woken by events and changes, and every few seconds.

Composed in `process`, which also makes the thread that calls `run`. The event makes it fast, the list makes it right:
each round starts from the mirrors as they are, so a wake that was lost or came twice changes nothing. The subtle thing
is what a round does not do: it plans nothing while its mirrors are old, nothing on a GpuNode before its token stands
there, and writes nothing once it does not lead any more. What could not be written is tried again soon, and less and
less often while it cannot.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from knative_mig.core.cluster.decide import Granted, KeptFleet, decide, finds_another
from knative_mig.core.cluster.gates import Lift, counted_for_others, lifts, needless
from knative_mig.core.cluster.leadership import highest_token
from knative_mig.core.cluster.moving import Moving
from knative_mig.core.cluster.objects import NodeFacts, PodFacts, QuotaFacts
from knative_mig.core.cluster.staleness import LeftOut, Lookout
from knative_mig.core.cluster.wanted import specs
from knative_mig.core.cluster.world import Facts, WorldKeeper
from knative_mig.core.events import PendingRevision
from knative_mig.core.gpu_node import GATE, GpuNode
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.outcomes.causes import Causes, named
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import (
    ApiUnreachable,
    ClusterError,
    GpuNodes,
    Key,
    KeyedMirror,
    LeaseRecord,
    Mirror,
    ObjectNotFound,
    Pods,
)
from reconfigurer.planner.announcing import Announcer
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.metering import Metering
from reconfigurer.planner.metrics import PlannerMetrics
from reconfigurer.planner.mover import Mover
from reconfigurer.planner.saying import Sayer
from reconfigurer.planner.settings import PlannerSettings
from reconfigurer.planner.telling import Teller, reasons_of
from reconfigurer.planner.writing import InParallel, SpecWriter, one_by_one

_log = logging.getLogger(__name__)
# A lift that the mirror has not shown for so long has been lost, or undone: it is asked for again.
_LIFT_SEEN_WITHIN_S = 10.0
_AGAIN_S = 0.5  # what is waited for is a conflict's other writer, or an API server that refuses for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    gpu_nodes: Mirror[GpuNode]
    pods: KeyedMirror[PodFacts]
    nodes: Mirror[NodeFacts]
    quotas: Mirror[QuotaFacts]
    heartbeats: Mirror[LeaseRecord]  # the agents', named as their nodes

    def each(self) -> Mapping[str, Mirror[object]]:
        return {
            "gpu_nodes": self.gpu_nodes,
            "pods": self.pods,
            "nodes": self.nodes,
            "quotas": self.quotas,
            "heartbeats": self.heartbeats,
        }

    @property
    def unsynced(self) -> list[str]:
        return [name for name, mirror in self.each().items() if not mirror.synced]


class Outcome(StrEnum):
    STANDBY = "standby"
    BLIND = "blind"  # the mirrors are too old, or have never been whole
    NOT_STAMPED = "not-stamped"  # the token could be written on no GpuNode
    OVERTAKEN = "overtaken"  # a newer leader's token was met
    PLANNED = "planned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lifted:
    lift: Lift
    at: float


class PlannerLoop:
    def __init__(
        self,
        *,
        mirrors: Mirrors,
        gpu_nodes: GpuNodes,
        pods: Pods,
        leader: Leader,
        teller: Teller,
        metering: Metering,
        mover: Mover,
        announcer: Announcer,
        metrics: PlannerMetrics,
        settings: PlannerSettings,
        clock: Callable[[], Now],
        in_parallel: InParallel = one_by_one,
        after_first_plan: Callable[[], None] = lambda: None,
    ) -> None:
        """`after_first_plan` is called once, when all that is kept stands."""
        self._after_first_plan = after_first_plan
        self._has_planned = False
        self._mirrors = mirrors
        self._pods = pods
        self._leader = leader
        self._teller = teller
        self._metering = metering
        self._mover = mover
        self._announcer = announcer
        self._causes = Causes()
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._writer = SpecWriter(gpu_nodes, in_parallel)
        self._sayer = Sayer(gpu_nodes, in_parallel)
        self._lookout = Lookout(settings.patience)
        self._begin_anew()
        self._led_under: int | None = None
        self._soon = False  # something of this round has to be tried again
        self._failures = 0  # rounds of that kind in a row
        self._woken = threading.Event()
        self._woken_at: float | None = None
        self._lock = threading.Lock()
        self.last_round_at: float | None = None  # monotonic; a loop that stands still is not healthy

    # -- waking ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """From any thread; at once."""
        with self._lock:
            if self._woken_at is None:
                self._woken_at = self._clock().monotonic
        self._woken.set()

    @property
    def due_in_s(self) -> float:
        """Until the next round, if nothing wakes the loop before."""
        due = [self._settings.resync_s]
        if self._failures:
            due.append(_AGAIN_S * 2.0 ** (min(self._failures, 16) - 1))
        if (to_tell_s := self._announcer.due_in_s(self._clock())) is not None:
            due.append(to_tell_s)
        return min(due)

    def hear(self, pending: PendingRevision) -> None:
        """From any thread; at once."""
        with self._lock:
            self._causes.hear(pending, self._clock().wall)
        self.wake()

    def wake_on_changes(self) -> None:
        """What is there to be used wakes the loop; who wants it does by an event.

        The pods of revisions change all the time, and of each that wants a slice the pending source tells, before the
        pod is there. So they wake nobody by themselves, but for a while after their event, when they are waited for;
        without an event they are found at the next resync. A pod without a revision has nobody to tell of it, and what
        is moved goes on by what becomes of pods and Revisions. Heartbeats alone change nothing; each round looks at
        them. Nor does what the planner itself has just written into a pod's status.
        """
        for mirror in (self._mirrors.gpu_nodes, self._mirrors.nodes, self._mirrors.quotas):
            mirror.on_change(lambda _: self.wake())
        self._mirrors.pods.on_change(self._pod_changed)
        self._mover.wake_on_changes(self.wake)

    def _pod_changed(self, key: Key) -> None:
        pod = self._mirrors.pods.get(key)
        if pod is not None and self._teller.is_echo(pod):
            return
        if self._mover.is_moving and (pod is None or pod.wants):
            self.wake()
        elif pod is not None:
            with self._lock:
                wakes = self._causes.wakes(pod, self._clock().wall)
            if wakes:
                self.wake()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set and the loop is woken."""
        while not stop.is_set():
            self._woken.wait(self.due_in_s)
            if stop.is_set():
                break
            try:
                self.step(self._clock())
            except Exception:  # noqa: BLE001  one bad object must not end the planner; what is kept may be half done
                _log.exception("A round failed")
                self._begin_anew()
                self._failures += 1
                self._metrics.rounds.labels(str(Outcome.FAILED)).inc()
                stop.wait(1.0)
        if self._leader.token() is not None:
            self._metering.end(self._clock().wall)

    # -- a round -----------------------------------------------------------------------------------------------------

    def step(self, now: Now) -> Outcome:
        with self._lock:
            woken_at, self._woken_at = self._woken_at, None
            self._woken.clear()
        self._soon = False
        outcome = self._step(now, woken_at)
        self._failures = self._failures + 1 if self._soon else 0
        self._metrics.rounds.labels(str(outcome)).inc()
        self.last_round_at = now.monotonic
        return outcome

    def _step(self, now: Now, woken_at: float | None) -> Outcome:
        token = self._leader.token()
        self._metrics.leader.set(token is not None)
        if token is None:
            self._stand_by()
            return Outcome.STANDBY
        if self._blind(now):
            self._soon = True  # what a mirror hears wakes nobody if it is no news, or a heartbeat
            return Outcome.BLIND
        nodes = self._writer.newest(self._mirrors.gpu_nodes.snapshot())
        if token != self._led_under:
            self._begin_anew()
            self._metering.begin(now.wall)
            self._announcer.begin()
            self._teller.begin()
            self._led_under = token
            self._metrics.token.set(token)
        if highest_token(nodes.values()) > token:
            return self._overtaken(highest_token(nodes.values()))
        if any(node.spec.fencing_token < token for node in nodes.values()):
            stamped = self._writer.stamp(nodes, token)
            if stamped.overtaken_by is not None:
                return self._overtaken(stamped.overtaken_by)
            nodes = self._writer.newest(self._mirrors.gpu_nodes.snapshot())
            self._soon = bool(stamped.failed)
            if stamped.failed and not any(node.spec.fencing_token == token for node in nodes.values()):
                return Outcome.NOT_STAMPED
        return self._plan(token, nodes, now, woken_at)

    def _plan(self, token: int, nodes: Mapping[NodeName, GpuNode], now: Now, woken_at: float | None) -> Outcome:
        began = self._clock().monotonic
        pods = self._mirrors.pods.snapshot()
        facts = self._facts(nodes, pods, self._mover.see(nodes, pods, token, now), token, now)
        changed = self._keeper.see(facts, now.wall)
        if self._mover.advance(self._room(changed, now), now):
            changed |= self._keeper.see(replace(facts, moving=self._mover.moving(now)), now.wall)
        decision = decide(self._keeper, self._fleet, changed, now.wall, holds=self._mover.holds())
        self._mover.take(decision, now)
        self._metrics.plan.observe(self._clock().monotonic - began)
        self._metering.accrue(now.wall)
        steps = [*(each.step for each in decision.granted), *self._mover.steps(self._keeper.views)]
        wanted = specs(steps, self._keeper.views, self._keeper.gpu_nodes, token, {*changed, *decision.amended})
        if self._leader.token() != token:
            return Outcome.STANDBY
        written = self._writer.write(nodes, wanted)
        if written.names and woken_at is not None:
            self._metrics.event_to_spec.observe(self._clock().monotonic - woken_at)
        self._metrics.writes.labels("written").inc(len(written.names))
        for name, error in (written.failed or {}).items():
            self._metrics.writes.labels(error.reason).inc()
            self._keeper.forget(name)
            self._soon = True
        if written.overtaken_by is not None:
            return self._overtaken(written.overtaken_by)
        self._lift([*decision.granted, *self._mover.granted(self._keeper.views)], pods, token, now)
        if not self._mover.act(token, now):
            self._soon = True
        self._sayer.say(nodes, facts.verdicts, now)
        decision = named(decision, self._cause_of)
        awaits = self._keeper.awaits_an_agent
        self._teller.tell(decision, pods, now.wall, let_go=self._lifted.keys(), awaits_an_agent=awaits)
        self._announcer.tell(nodes, pods, decision, self._mover.take_moved(), self._cause_of, self._asked_by, now)
        self._metering.take(self._keeper, changed, decision, now.wall)
        self._metering.store(now.wall)
        self._metrics.waiting.labels("yes").set(len(decision.granted))
        self._metrics.waiting.labels("no").set(len(decision.without_slice))
        if not self._has_planned:
            self._has_planned = True
            self._after_first_plan()
        return Outcome.PLANNED

    def _cause_of(self, pod: PodFacts) -> PendingRevision | None:
        with self._lock:
            return self._causes.of(pod)

    def _asked_by(self, function: Function, profile: ProfileName, since: float) -> PendingRevision | None:
        with self._lock:
            return self._causes.asked_by(function, profile, since)

    def _room(self, changed: set[NodeName], now: Now) -> frozenset[Function]:
        """Those of the functions that are moved for which another slice would be found."""
        wanting = self._mover.wanting_room(now)
        if wanting:
            self._fleet.take(self._keeper, changed)
        holds = self._mover.holds()
        return frozenset(
            pod.function for pod in wanting if finds_another(self._keeper, self._fleet, pod, now.wall, holds)
        )

    def _facts(
        self, nodes: Mapping[NodeName, GpuNode], pods: Mapping[Key, PodFacts], moving: Moving, token: int, now: Now
    ) -> Facts:
        beats = {
            NodeName(key.name): (each.holder, each.renewed, each.resource_version)
            for key, each in self._mirrors.heartbeats.snapshot().items()
        }
        verdicts = self._lookout.judge_all(nodes, beats, now.monotonic, token)
        self._metrics.show_left_out(
            reasons_of(str(each.because) for each in verdicts.values() if isinstance(each, LeftOut))
        )
        return Facts(
            gpu_nodes=nodes,
            pods=pods,
            nodes=self._mirrors.nodes.snapshot(),
            quotas=self._mirrors.quotas.snapshot(),
            verdicts=verdicts,
            moving=moving,
            let_go=frozenset(self._lifted),
        )

    def _begin_anew(self) -> None:
        """All nodes are looked at again: whoever led meanwhile, or what went wrong, has left nothing kept in use."""
        self._keeper = WorldKeeper(self._settings.reuse)
        self._fleet = KeptFleet(self._settings.policy)
        self._mover.drop()
        self._metering.look_anew()
        self._lifted: dict[str, _Lifted] = {}
        self._unsure: dict[str, PodFacts] = {}  # of whose lift nobody has answered

    def _blind(self, now: Now) -> bool:
        """An API server that is away: what is seen may have changed long ago."""
        blind = self._mirrors.unsynced
        for name, mirror in self._mirrors.each().items():
            age = mirror.age_s(now.monotonic)
            self._metrics.mirror_age.labels(name).set(age)
            if age > self._settings.mirror_age_limit_s:
                blind.append(name)
        if blind:
            _log.warning(
                "Nothing is planned: the API server was not heard of lately on %s", ", ".join(sorted({*blind}))
            )
        return bool(blind)

    def _overtaken(self, token: int) -> Outcome:
        self._leader.lost(f"fencing token {token} stands on a GpuNode", at_least=token)
        self._stand_by()
        return Outcome.OVERTAKEN

    def _stand_by(self) -> None:
        if self._led_under is not None:
            self._metering.drop()
            self._announcer.begin()
            self._teller.begin()
            self._led_under = None
            self._begin_anew()

    def _lift(self, granted: Collection[Granted], pods: Mapping[Key, PodFacts], token: int, now: Now) -> None:
        """`pods`: as this round saw them. By a later look one that went meanwhile would count neither as lifted nor, as
        it was planned on, as there.
        """
        gated = [pod for pod in pods.values() if GATE in pod.gates]
        waiting = {pod.uid for pod in gated}
        self._lifted = {
            uid: each
            for uid, each in self._lifted.items()
            if uid in waiting and now.monotonic - each.at < _LIFT_SEEN_WITHIN_S
        }
        already = {uid: each.lift for uid, each in self._lifted.items()}
        self._unsure = {uid: pod for uid, pod in self._unsure.items() if uid in waiting}
        for lift in [*needless(gated, already), *lifts(granted, self._keeper, already, self._unsure)]:
            if self._leader.token() != token:
                return
            key = Key(lift.pod.namespace, lift.pod.name)
            self._unsure.pop(lift.pod.uid, None)
            try:
                before = self._pods.lift_gate(key, uid=lift.pod.uid, gate=GATE, node=lift.node)
            except ObjectNotFound:
                continue
            except ClusterError as error:
                _log.warning("The gate of pod %s/%s is not lifted: %s", key.namespace, key.name, error)
                self._soon = True
                if isinstance(error, ApiUnreachable) and lift.node is not None:
                    # It may have been, now or before: nobody is sent after it until it is counted.
                    self._unsure[lift.pod.uid] = lift.pod
                    return
                continue
            went = lift if before is None or lift.node is None else replace(lift, node=self._where(before))
            self._lifted[lift.pod.uid] = _Lifted(lift=went, at=now.monotonic)
            if before is None:
                self._metrics.gates.inc()
            if went.node != lift.node:
                # The mirror of pods is behind, and nobody is sent after this one to a slice that may be its own.
                self._soon = True
                return
        if counted_for_others(granted, self._keeper, self._lifted):
            self._soon = True  # pods that go wake nobody

    def _where(self, pod: PodFacts) -> NodeName | None:
        """Of one that was let go: its node, or the one that it is kept to, as far as it can run there now."""
        nodes = self._keeper.nodes_of(pod)
        return pod.node or (next(iter(nodes)) if len(nodes) == 1 else None)
