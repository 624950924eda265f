"""A planner replica on a cluster in memory, with clocks that tests turn."""

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from knative_mig.core.cluster.leadership import highest_token
from knative_mig.core.cluster.objects import NodeFacts, PodFacts, QuotaFacts
from knative_mig.core.events import Event
from knative_mig.core.floor.values import Request, Revision
from knative_mig.core.gpu_node import GpuNode
from knative_mig.ports.kube import Key, LeaseRecord
from knative_mig.ports.relays import HandedOver, NotHandedOver, PodAt, Relays
from reconfigurer.planner.announcing import Announcer
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.condition_writer import ConditionWriter
from reconfigurer.planner.conditions import Conditions
from reconfigurer.planner.floor import Floor
from reconfigurer.planner.hand_overs import HandOvers
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.loop import Mirrors, Outcome, PlannerLoop
from reconfigurer.planner.metering import Metering
from reconfigurer.planner.metrics import FloorMetrics, MoverMetrics, PlannerMetrics
from reconfigurer.planner.mover import COMPONENT, Mover
from reconfigurer.planner.settings import PlannerSettings
from reconfigurer.planner.telling import Teller
from tests.rigs.fake_cluster import FakeCluster, FakeLeases, FakeMirror
from tests.rigs.fake_knative import FakeKnative

LEASE = Key("knative-mig", "knative-mig-planner")


@dataclass
class Clock:
    """The monotonic clock; the wall's is `ahead_s` before it."""

    at: float = 1_000.0
    ahead_s: float = 1.7e9

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at + self.ahead_s

    def now(self) -> Now:
        return Now(monotonic=self.at, wall=self.wall())


@dataclass
class FakeRelays:
    """No function has a relay, unless a test says so."""

    answer: HandedOver | NotHandedOver = field(
        default_factory=lambda: NotHandedOver(why="nobody listens", has_relay=False)
    )
    asked: list[tuple[str, str]] = field(default_factory=list)

    def hand_over(self, leaving: PodAt, to: PodAt, *, is_wanted: Callable[[], bool]) -> HandedOver | NotHandedOver:
        assert is_wanted()
        self.asked.append((leaving.uid, to.uid))
        return self.answer


@dataclass
class Replica:
    cluster: FakeCluster
    clock: Clock
    name: str = "planner-a"
    settings: PlannerSettings = field(default_factory=PlannerSettings)
    knative: FakeKnative | None = None
    announced: list[Event] = field(default_factory=list)
    relays: Relays = field(default_factory=lambda: FakeRelays())  # noqa: PLW0108 - it is below

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = PlannerMetrics(self.registry)
        self.gpu_nodes: FakeMirror[GpuNode] = FakeMirror(self.cluster.gpu_nodes)
        self.pods: FakeMirror[PodFacts] = FakeMirror(self.cluster.pods)
        self.nodes: FakeMirror[NodeFacts] = FakeMirror(self.cluster.nodes)
        self.quotas: FakeMirror[QuotaFacts] = FakeMirror(self.cluster.quotas)
        self.heartbeats: FakeMirror[LeaseRecord] = FakeMirror(self.cluster.heartbeats)
        self.leader = Leader(
            FakeLeases(self.cluster),
            LEASE,
            self.name,
            self.settings.lease,
            clock=self.clock.monotonic,
            wall=self.clock.wall,
            highest=lambda: highest_token(self.gpu_nodes.snapshot().values()) if self.gpu_nodes.synced else None,
            changed=lambda: self.loop.wake(),  # noqa: PLW0108 - the loop is made after its leader
        )
        self.metering = Metering(self.cluster, metrics, self.settings.store_meters_s)
        self.knative = self.knative or FakeKnative(self.cluster)
        self.revisions: FakeMirror[Revision] = FakeMirror(self.knative.revisions)
        self.requests: FakeMirror[tuple[Request, ...]] = FakeMirror(self.knative.requests)
        self.floor = Floor(
            requests=self.requests,
            revisions=self.revisions,
            store=self.knative.floor_store,
            writes=self.knative,
            leader=self.leader,
            events=self.cluster,
            metrics=FloorMetrics(self.registry),
            clock=self.clock.now,
            resync_s=self.settings.resync_s,
            mirror_age_limit_s=self.settings.mirror_age_limit_s,
        )
        self.hand_overs = HandOvers(self.relays, wake=lambda: None)
        self.mover = Mover(
            store=self.knative.move_store,
            requests=self.knative.component(COMPONENT),
            requested=self.requests,
            pods=self.cluster,
            revisions=self.revisions,
            records=lambda: self.floor.records,
            leader=self.leader,
            hand_overs=self.hand_overs,
            events=self.cluster,
            metrics=MoverMetrics(self.registry),
            settings=self.settings.mover,
            mirror_age_limit_s=self.settings.mirror_age_limit_s,
        )
        self.conditions = ConditionWriter(
            self.cluster, leads=lambda: self.leader.token() is not None, count=lambda _: None
        )
        self.loop = PlannerLoop(
            mirrors=Mirrors(
                gpu_nodes=self.gpu_nodes,
                pods=self.pods,
                nodes=self.nodes,
                quotas=self.quotas,
                heartbeats=self.heartbeats,
            ),
            gpu_nodes=self.cluster,
            pods=self.cluster,
            leader=self.leader,
            teller=Teller(
                self.cluster,
                Conditions(self.conditions.put, self.settings.tell_again_s),
                metrics,
                self.settings.tell_again_s,
            ),
            metering=self.metering,
            mover=self.mover,
            announcer=Announcer(
                revisions=self.revisions, events=self.cluster, metrics=metrics, send=self.announced.append
            ),
            metrics=metrics,
            settings=self.settings,
            clock=self.clock.now,
        )

    def round(self) -> Outcome:
        while self.hand_overs.ask_next():
            pass
        return self.loop.step(self.clock.now())

    @property
    def is_woken(self) -> bool:
        return self.loop._woken.is_set()

    def write_conditions(self) -> None:
        """All that wait to be written, as a thread of the process does meanwhile."""
        while self.conditions.write_next():
            pass

    def lead(self) -> None:
        self.leader.step()
        assert self.leader.token() is not None

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"knative_mig_{name}", labels)
