"""From a change in the cluster to an event at the sink: stories over virtual time, all but the desk in memory."""

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from activator_hooks.source.desk import Desk, Watched
from activator_hooks.source.metrics import SourceMetrics
from knative_mig.core.events import Delivered, Delivery, Event, PendingRevision
from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Replica, RevisionFacts, Scale, Stand
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from tests.rigs.fake_cluster import FakeMirror

BIG = ProfileName.parse("3g.20gb")
TAKEN = Delivery(outcome=Delivered.TAKEN)
AWAY = Delivery(outcome=Delivered.FAILED, reason="http://sink answered 503")


@dataclass
class FakeSink:
    """Keeps what it took."""

    answer: Delivery = TAKEN
    taken: list[Event] = field(default_factory=list)
    tries: int = 0

    def send(self, event: Event) -> Delivery:
        self.tries += 1
        if self.answer.outcome is Delivered.TAKEN:
            self.taken.append(event)
        return self.answer


class Cluster:
    """Knative and the API server, seen by a source; `at` is the clock of both."""

    def __init__(self) -> None:
        self.at = 5000.0
        self.revision_objects: dict[Key, RevisionFacts] = {}
        self.scale_objects: dict[Key, Scale] = {}
        self.pod_objects: dict[Key, Replica] = {}
        self.copies: list[Copy] = []

    def copy(self, sink: FakeSink | None = None) -> "Copy":
        """Another source that watches all this."""
        return Copy(self, sink or FakeSink())

    def revision(self, name: str, profile: ProfileName | None = BIG, over_quota: str = "") -> None:
        facts = RevisionFacts(uid=f"uid-{name}", profile=profile, over_quota=over_quota)
        self.revision_objects[key := Key("team", name)] = facts
        for each in self.copies:
            each.revisions.changed(key)

    def desire(self, name: str, desired: int) -> None:
        self.scale_objects[key := Key("team", name)] = Scale(generation=1, desired=desired, told_at=self.at)
        for each in self.copies:
            each.scales.changed(key)

    def pod(self, revision: str, name: str, stand: Stand) -> None:
        self.pod_objects[key := Key("team", name)] = Replica(Function("team", revision), stand, self.at)
        for each in self.copies:
            each.pods.changed(key)

    def drop_pod(self, name: str) -> None:
        del self.pod_objects[key := Key("team", name)]
        for each in self.copies:
            each.pods.changed(key)

    def later(self, seconds: float) -> None:
        """With every sender awake all the time."""
        ends = self.at + seconds
        while self.at < ends:
            self.at = min(self.at + 0.05, ends)
            for each in self.copies:
                each.settle()


class Copy:
    def __init__(self, cluster: Cluster, sink: FakeSink) -> None:
        self.sink = sink
        self.revisions = FakeMirror(cluster.revision_objects)
        self.scales = FakeMirror(cluster.scale_objects)
        self.pods = FakeMirror(cluster.pod_objects)
        self.registry = CollectorRegistry()
        self.desk = Desk(
            Watched(revisions=self.revisions, scales=self.scales, pods=self.pods),
            sink,
            SourceMetrics(self.registry),
            clock=lambda: cluster.at,
        )
        for mirror in (self.revisions, self.scales, self.pods):
            for key in mirror.snapshot():
                mirror.changed(key)
        self.desk.begin()
        self.settle()
        cluster.copies.append(self)

    def settle(self) -> None:
        while self.desk.send_next():
            pass

    def take(self) -> list[tuple[str, int]]:
        """Of whom, and how many, since the last look."""
        told, self.sink.taken = [PendingRevision.of(each) for each in self.sink.taken], []
        return [(each.revision, each.count) for each in told]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"knative_mig_source_{name}", labels)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.revision("tiny-00001")
    made.desire("tiny-00001", 0)
    return made


def test_a_request_to_a_function_at_zero_is_told_before_there_is_a_pod_and_once(cluster: Cluster) -> None:
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    source.settle()
    assert source.take() == [("tiny-00001", 1)]
    cluster.pod("tiny-00001", "p", Stand.WAITING)
    cluster.later(1.0)
    cluster.pod("tiny-00001", "p", Stand.BOUND)
    cluster.later(1000.0)
    assert source.take() == []
    assert source.metric("change_to_taken_seconds_count") == 1


def test_scale_out_from_one_to_three_is_told_though_the_function_was_active_all_the_while(cluster: Cluster) -> None:
    cluster.desire("tiny-00001", 1)
    cluster.pod("tiny-00001", "p0", Stand.BOUND)
    source = cluster.copy()
    assert source.take() == []
    cluster.desire("tiny-00001", 3)
    source.settle()
    assert source.take() == [("tiny-00001", 2)]
    for number in (1, 2):
        cluster.pod("tiny-00001", f"p{number}", Stand.WAITING)
        cluster.later(0.2)
        cluster.pod("tiny-00001", f"p{number}", Stand.BOUND)
        cluster.later(0.2)
    cluster.later(1000.0)
    assert source.take() == []


def test_the_source_that_starts_in_the_middle_tells_what_is_missing_and_no_more(cluster: Cluster) -> None:
    cluster.desire("tiny-00001", 2)
    cluster.pod("tiny-00001", "p0", Stand.BOUND)
    cluster.pod("tiny-00001", "p1", Stand.WAITING)
    assert cluster.copy().take() == [("tiny-00001", 1)]


def test_nothing_is_judged_before_all_has_been_listed(cluster: Cluster) -> None:
    cluster.desire("tiny-00001", 1)
    cluster.pod("tiny-00001", "p", Stand.BOUND)
    sink = FakeSink()
    registry = CollectorRegistry()
    revisions, scales = FakeMirror(cluster.revision_objects), FakeMirror(cluster.scale_objects)
    pods = FakeMirror(cluster.pod_objects)
    watched = Watched(revisions=revisions, scales=scales, pods=pods)
    pods.is_synced = False
    assert watched.unsynced == ["pods"]
    desk = Desk(watched, sink, SourceMetrics(registry), clock=lambda: 0.0)
    revisions.changed(Key("team", "tiny-00001"))
    scales.changed(Key("team", "tiny-00001"))
    assert not desk.send_next()
    pods.changed(Key("team", "p"))
    desk.begin()
    assert not desk.send_next()
    assert sink.tries == 0


def test_an_autoscaler_that_restarts_takes_back_nothing_that_pods_ask_for(cluster: Cluster) -> None:
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    source.settle()
    cluster.pod("tiny-00001", "p", Stand.WAITING)
    source.take()
    cluster.desire("tiny-00001", -1)
    cluster.later(2.0)
    assert source.take() == [("tiny-00001", 1)]


def test_a_quota_that_stands_in_the_way_is_told_as_what_it_is_and_so_is_its_end(cluster: Cluster) -> None:
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    source.settle()
    cluster.at += 1
    cluster.revision("tiny-00001", over_quota="exceeded quota: gpus")
    source.settle()
    cluster.revision("tiny-00001")
    source.settle()
    assert [each.data["cause"] for each in source.sink.taken] == ["NoSlice", "QuotaExceeded", "NoSlice"]
    assert source.sink.taken[1].data["message"] == "exceeded quota: gpus"


def test_two_copies_send_the_same_events(cluster: Cluster) -> None:
    one, other = cluster.copy(), cluster.copy()
    cluster.desire("tiny-00001", 2)
    cluster.later(7.0)
    cluster.pod("tiny-00001", "p", Stand.WAITING)
    cluster.pod("tiny-00001", "p", Stand.BOUND)
    cluster.later(30.0)
    assert len(one.sink.taken) > 4
    assert one.sink.taken == other.sink.taken


def test_a_copy_that_takes_over_in_the_middle_sends_what_the_first_one_sent(cluster: Cluster) -> None:
    first = cluster.copy()
    cluster.desire("tiny-00001", 1)
    first.settle()
    cluster.pod("tiny-00001", "p", Stand.WAITING)
    cluster.copies.remove(first)
    cluster.at += 20
    second = cluster.copy()
    assert [each.id for each in second.sink.taken] == [each.id for each in first.sink.taken]


def test_each_cold_start_of_a_function_is_an_event_of_its_own(cluster: Cluster) -> None:
    source = cluster.copy()
    for number in range(5):
        cluster.desire("tiny-00001", 1)
        source.settle()
        cluster.pod("tiny-00001", f"p{number}", Stand.BOUND)
        cluster.later(60.0)
        cluster.desire("tiny-00001", 0)
        cluster.drop_pod(f"p{number}")
        cluster.later(10.0)
    assert len(source.sink.taken) == len({each.id for each in source.sink.taken}) == 5


def test_a_pod_that_loses_its_node_at_once_is_told_of_anew(cluster: Cluster) -> None:
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    source.settle()
    cluster.pod("tiny-00001", "p", Stand.BOUND)
    cluster.pod("tiny-00001", "p", Stand.GONE)
    source.settle()
    assert len({each.id for each in source.sink.taken}) == 2


def test_a_revision_that_goes_takes_all_that_was_kept_of_it_along(cluster: Cluster) -> None:
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    source.settle()
    del cluster.revision_objects[Key("team", "tiny-00001")]
    source.revisions.changed(Key("team", "tiny-00001"))
    cluster.later(100.0)
    assert source.take() == [("tiny-00001", 1)]
    cluster.revision("tiny-00001")
    cluster.later(1.0)
    assert source.take() == [("tiny-00001", 1)]


def test_a_sink_that_was_away_is_told_what_still_holds_and_nothing_of_what_has_passed(cluster: Cluster) -> None:
    cluster.revision("other-00001")
    source = cluster.copy(FakeSink(answer=AWAY))
    cluster.desire("tiny-00001", 1)
    cluster.desire("other-00001", 1)
    cluster.later(60.0)
    assert source.sink.tries < 40
    cluster.desire("other-00001", 0)
    source.sink.answer = TAKEN
    cluster.later(6.0)
    assert set(source.take()) == {("tiny-00001", 1)}
    taken = source.metric("events_total", outcome="taken") or 0
    assert source.metric("events_total", outcome="failed") == source.sink.tries - taken


def test_it_complains_of_a_sink_once_and_says_when_it_is_back(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = cluster.copy(FakeSink(answer=AWAY))
    cluster.desire("tiny-00001", 1)
    cluster.later(60.0)
    source.sink.answer = TAKEN
    cluster.later(60.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "http://sink answered 503" in caplog.text


def test_what_is_refused_is_said_and_left(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    source = cluster.copy(FakeSink(answer=Delivery(outcome=Delivered.REFUSED, reason="http://sink answered 400")))
    cluster.desire("tiny-00001", 1)
    cluster.later(100.0)
    assert source.sink.tries == 1
    assert "refused and not sent again: http://sink answered 400" in caplog.text


def test_revisions_that_want_no_slice_are_nobodys_trouble(cluster: Cluster) -> None:
    cluster.revision("web-00001", profile=None)
    source = cluster.copy()
    cluster.desire("web-00001", 5)
    cluster.later(10.0)
    assert source.sink.tries == 0
    assert source.metric("pending_revisions") == 0


def test_how_many_wait_is_counted(cluster: Cluster) -> None:
    cluster.revision("other-00001")
    source = cluster.copy()
    cluster.desire("tiny-00001", 1)
    cluster.desire("other-00001", 4)
    assert source.metric("pending_revisions") == 2
    cluster.desire("other-00001", 0)
    assert source.metric("pending_revisions") == 1
