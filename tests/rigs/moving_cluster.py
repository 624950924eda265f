"""Stock Knative around a planner replica, its floor and its mover, on a cluster in memory, for tests of whole moves.

`beat` is one turn of everything but the planner: the autoscaler obeys the Revision's floor, the ReplicaSet takes the
pod with the lowest deletion cost, agents make slices, the scheduler binds, pods become Ready or are gone. Once a newer
Revision of a Service is Ready, all requests go to it: the older one answers what it has, and its autoscaler takes it to
zero when its window has passed.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from knative_mig.core.cluster.objects import HOSTNAME, Phase, PodFacts
from knative_mig.core.floor.values import Revision, Setting
from knative_mig.core.inventory import Function
from knative_mig.ports.kube import Key, ObjectNotFound
from reconfigurer.planner.floor import FloorOutcome
from reconfigurer.planner.loop import Outcome
from tests.rigs.fake_agents import Floor as Agents
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.fake_knative import FakeKnative
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import pod


class Killed(BaseException):
    """Not an Exception: nothing between here and the test may go on."""


@dataclass
class Writes:
    """Counts them, and kills at one."""

    at: int | None = None
    after: bool = False
    done: list[str] = field(default_factory=list)

    def watch(self, owner: Any, name: str) -> None:
        write = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            dies = len(self.done) == self.at
            if dies and not self.after:
                self.at = None
                raise Killed
            self.done.append(name)
            answer = write(*args, **kwargs)
            if dies:
                self.at = None
                raise Killed
            return answer

        setattr(owner, name, watched)

    def watch_all(self, world: "MovingCluster") -> None:
        for name in ("write_spec", "lift_gate", "set_deletion_cost", "evict", "write_condition"):
            self.watch(world.cluster, name)
        for name in ("write", "ask"):
            self.watch(world.knative, name)
        self.watch(world.knative.move_store, "save")
        self.watch(world.knative.floor_store, "save")


@dataclass
class MovingCluster:
    cluster: FakeCluster
    clock: Clock
    demand: dict[str, int] = field(default_factory=dict)  # by revision
    profile: dict[str, str] = field(default_factory=dict)
    template: dict[str, dict[str, Any]] = field(default_factory=dict)  # what its pods have beside
    newer: dict[str, str] = field(default_factory=dict)  # which Revision follows which
    answers_until: float = 0.0  # the older one's requests run for so long
    stays: bool = False  # the Service names the older one in its traffic
    held_in_vain: int = 0  # turns in which requests came to a Revision that had no pod and was to have none
    drains_s: float = 3.0
    gives_back: set[str] = field(default_factory=set)  # pods that end without their slices
    gated: bool = True
    starts: bool = True
    least_ready: dict[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.knative = FakeKnative(self.cluster)
        self.agents = Agents(self.cluster)
        self.rng = Random(self.seed)
        self.made = 0
        self.left_at = 0.0  # when the traffic left the older Revision
        self.cluster.evict = self._evict  # type: ignore[method-assign]  # a pod that has a slice takes its time to end
        self.replica = self.new_replica("planner-a")

    def new_replica(self, name: str) -> Replica:
        return Replica(self.cluster, self.clock, name, knative=self.knative)

    def function(self, revision: str, profile: str, replicas: int = 1, **values: str) -> None:
        self.profile[revision], self.demand[revision] = profile, replicas
        self.knative.put_revision(revision, generation=0, desired=replicas, **values)

    def newer_revision(self, older: str, revision: str, profile: str, *, recreates: bool) -> None:
        """Of the same Service: Knative wants one pod of it."""
        for at, each in enumerate((older, revision), start=1):
            there = self.knative.revisions.get(Key("team", each))
            if there is None:
                self.function(each, profile)
                there = self.knative.revision(each)
            new = replace(there, service=older, generation=at, ready=each == older)
            self.knative.revisions[Key("team", each)] = new
        self.template[older] = {"service": older, "movable": False}
        self.template[revision] = {"service": older, "movable": False, "recreates": recreates}
        self.newer[older] = revision

    def running(self, revision: str, name: str, on: str) -> None:
        """A movable pod that has its slice already; tests name it in the GpuNode too."""
        made = replace(pod(name, self.profile[revision], revision=revision, on=on), movable=True, ready=True)
        self.cluster.put_pod(replace(made, phase=Phase.RUNNING, node_selector={HOSTNAME: on}, pinned=True))

    def pods(self, revision: str) -> list[PodFacts]:
        found = (each for each in self.cluster.pods.values() if each.function == Function("team", revision))
        return sorted((each for each in found if each.ends_at is None), key=lambda each: each.name)

    def ready(self, revision: str) -> list[str]:
        return [each.name for each in self.pods(revision) if each.ready]

    def on(self, name: str) -> str:
        """Which slice the pod has."""
        for (_, uuid, key), holder in self.agents.held.items():
            if holder and holder.pod == name:
                return f"{uuid}/{key}"
        return ""

    # -- a turn -------------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        for older, newer in self.newer.items():
            self._route(older, newer)
        for revision, wanted in self.demand.items():
            there = self.knative.revisions.get(Key("team", revision))
            floor = there.values.get(Setting.MIN) if there and there.routed else None
            self._scale(revision, max(wanted, int(floor or 0)))
        for node in [*self.cluster.gpu_nodes.values()]:
            self.cluster.beat(str(node.name), self.clock.at)
            self.agents.obey(node.name)
        self.agents.schedule(self.rng)
        for each in [*self.cluster.pods.values()]:
            if each.ends_at is not None and each.ends_at <= self.clock.wall():
                self.agents.end(each)
            elif each.ends_at is not None and each.name in self.gives_back:
                self.agents.release(each)
            elif each.node and each.phase is Phase.RUNNING and not each.ready and each.ends_at is None and self.starts:
                self.cluster.put_pod(replace(each, ready=True))
        for node in [*self.cluster.gpu_nodes.values()]:
            self.agents.report(node.name)
        for revision in self.demand:
            now = len(self.ready(revision))
            self.least_ready[revision] = min(self.least_ready.get(revision, now), now)

    def _scale(self, revision: str, wanted: int) -> None:
        live = self.pods(revision)
        for _ in range(wanted - len(live)):
            self.made += 1
            new = pod(
                f"{revision}-{self.made}",
                self.profile[revision],
                revision=revision,
                gated=self.gated,
                created=self.clock.wall(),
            )
            self.cluster.put_pod(replace(new, **self.template.get(revision, {"movable": True})))
        cheapest = sorted(live, key=lambda each: (each.ready, each.deletion_cost or 0, -each.created))
        for each in cheapest[: max(0, len(live) - wanted)]:
            self.end(each)

    def end(self, each: PodFacts) -> None:
        self.cluster.put_pod(replace(each, ends_at=self.clock.wall() + self.drains_s, ready=False))

    def _evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:  # noqa: ARG002 - the cluster's own
        each = self.cluster.pods.get(key)
        if each is None or each.uid != uid:
            raise ObjectNotFound(f"{key}")
        others = [pod for pod in self.pods(each.function.name) if pod.ready and pod.uid != uid]
        assert others or not each.ready, "the last replica"
        self.end(each)

    def _route(self, older: str, newer: str) -> None:
        """As Knative: Ready is who has as many pods as its initial and its min-scale say."""
        new, old = self.knative.revision(newer), self.knative.revision(older)
        enough = max(int(new.values.get(Setting.INITIAL, "1")), int(new.values.get(Setting.MIN, "0")))
        if not new.ready and len(self.ready(newer)) >= enough:
            self._become(replace(new, ready=True))
        if self.knative.revision(newer).ready and old.routed and not self.stays:
            self._become(replace(old, routed=False))
            self.left_at = self.clock.wall()
        if not self.knative.revision(older).routed:
            window = int(self.knative.revision(older).values.get(Setting.WINDOW, "60s").rstrip("s"))
            if self.clock.wall() >= max(self.answers_until, self.left_at) + window:
                self.demand[older] = 0
        self.held_in_vain += bool(self.demand[older]) and not self.ready(older)

    def _become(self, revision: Revision) -> None:
        new = replace(revision, resource_version=self.cluster.version())
        self.knative.revisions[Key("team", revision.name)] = new

    def die(self, name: str) -> None:
        self.agents.end(self.cluster.pods[Key("team", name)])

    def fail_over(self) -> None:
        """The leader is no more; another one waits for its lease to run out."""
        self.replica = self.new_replica(f"planner-{self.clock.at}")
        self.replica.leader.step()
        self.clock.at += 15

    def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.replica.leader.step()
            outcome = self.replica.round()
            assert outcome is Outcome.PLANNED, outcome
            self.replica.write_conditions()
            while self.replica.floor.step(self.clock.now()) is FloorOutcome.WROTE:
                continue
            self.beat()
            self.clock.at += 1.0
