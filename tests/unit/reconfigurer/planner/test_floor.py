"""The floor's rounds on Revisions in memory: what is stored before what is written, and what other leaders may do."""

import threading
from dataclasses import replace

import pytest

from knative_mig.core.floor.values import Request, Setting
from knative_mig.ports.autoscaling import FloorRecords
from reconfigurer.planner.floor import FloorOutcome
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.fake_knative import FakeKnative
from tests.rigs.planner_replica import Clock, Replica


class Killed(Exception):
    """The process ends here."""


def killed() -> None:
    raise Killed


class Rig:
    """A replica's floor, on Revisions that others see too."""

    def __init__(self, cluster: FakeCluster, knative: FakeKnative, clock: Clock, name: str = "planner-a") -> None:
        self.replica, self.clock = Replica(cluster, clock, name, knative=knative), clock
        self.registry = self.replica.registry
        self.requests, self.revisions = self.replica.requests, self.replica.revisions
        self.floor = self.replica.floor

    def step(self) -> FloorOutcome:
        return self.floor.step(self.clock.now())

    def settle(self) -> None:
        for _ in range(5):
            if self.step() is not FloorOutcome.WROTE:
                return
        pytest.fail("it writes and writes")

    def ask(self, value: float, *, lasts: float = 60.0, name: str = "a") -> Request:
        return Request(
            component="prewarm",
            name=name,
            namespace="team",
            revision="llm",
            value=value,
            until=self.clock.wall() + lasts,
            reason="a rush",
        )


@pytest.fixture
def knative(cluster: FakeCluster) -> FakeKnative:
    made = FakeKnative(cluster)
    made.put_revision("llm", min_scale="1")
    return made


@pytest.fixture
def rig(cluster: FakeCluster, knative: FakeKnative, clock: Clock) -> Rig:
    return Rig(cluster, knative, clock)


@pytest.fixture
def leading(rig: Rig) -> Rig:
    rig.replica.lead()
    return rig


def test_who_does_not_lead_writes_nothing(rig: Rig, knative: FakeKnative) -> None:
    knative.ask("prewarm", rig.ask(3))
    assert rig.step() is FloorOutcome.STANDBY
    assert (knative.writes, knative.floor_store.saves) == ([], 0)


def test_a_request_is_written_told_and_restored_when_it_has_run_out(
    leading: Rig, knative: FakeKnative, cluster: FakeCluster
) -> None:
    knative.ask("prewarm", leading.ask(3))
    leading.settle()
    assert knative.floor("llm") == "3"
    text = "min-scale: 3; min-scale is 3 instead of 1: prewarm/a asks for 3 (a rush)"
    assert cluster.events[-1] == ("llm", "FloorSet", text)
    assert leading.registry.get_sample_value("knative_mig_floor_requests", {"component": "prewarm"}) == 1
    leading.clock.at += 60
    leading.replica.lead()
    leading.settle()
    assert (knative.floor("llm"), leading.floor.records) == ("1", {})
    assert len(knative.writes) == 2


def test_nothing_is_stored_or_written_while_nothing_changes(leading: Rig, knative: FakeKnative) -> None:
    knative.ask("prewarm", leading.ask(3))
    leading.settle()
    saves = knative.floor_store.saves
    assert leading.step() is FloorOutcome.SETTLED
    assert (len(knative.writes), knative.floor_store.saves) == (1, saves)


def test_a_mirror_that_lags_behind_our_write_has_it_written_once(leading: Rig, knative: FakeKnative) -> None:
    leading.revisions.snapshot()
    leading.revisions.lagging = True
    knative.ask("prewarm", leading.ask(3))
    leading.settle()
    knative.ask("prewarm", leading.ask(4))
    leading.settle()
    assert [values for _, values in knative.writes] == [{Setting.MIN: "3"}, {Setting.MIN: "4"}]
    leading.revisions.lagging = False
    leading.settle()
    assert len(knative.writes) == 2


def test_an_edit_in_the_same_moment_is_not_written_over(leading: Rig, knative: FakeKnative) -> None:
    leading.revisions.snapshot()
    leading.revisions.lagging = True
    knative.edit("llm", {Setting.MIN: "5"})
    knative.ask("prewarm", leading.ask(3))
    leading.step()
    assert knative.floor("llm") == "5"
    leading.revisions.lagging = False
    leading.settle()
    assert (knative.floor("llm"), knative.writes) == ("5", [])


@pytest.mark.parametrize("where", ["before the record", "before the write"])
def test_a_new_leader_knows_what_is_the_users_wherever_the_old_one_died(
    where: str, leading: Rig, cluster: FakeCluster, knative: FakeKnative, clock: Clock
) -> None:
    leading.settle()
    if where == "before the record":
        knative.floor_store.before_save = killed
    else:
        knative.before_write = killed
    knative.ask("prewarm", leading.ask(3))
    with pytest.raises(Killed):
        leading.step()
    knative.floor_store.before_save = knative.before_write = lambda: None
    rival = Rig(cluster, knative, clock, "planner-b")
    rival.replica.leader.step()
    clock.at += 15
    rival.replica.lead()
    rival.settle()
    assert knative.floor("llm") == "3"
    knative.ask("prewarm")
    rival.settle()
    assert knative.floor("llm") == "1"


def test_a_leader_that_was_paused_finds_out_at_its_next_write(
    leading: Rig, cluster: FakeCluster, knative: FakeKnative, clock: Clock
) -> None:
    leading.settle()
    ahead = Clock(at=clock.at + 100)
    rival = Rig(cluster, knative, ahead, "planner-b")
    rival.replica.leader.step()
    ahead.at += 15
    rival.replica.lead()
    rival.settle()
    knative.ask("prewarm", leading.ask(3, lasts=1_000))
    assert leading.step() is FloorOutcome.NOT_STORED
    assert leading.step() is FloorOutcome.OVERTAKEN
    assert leading.replica.leader.token() is None
    assert knative.writes == []
    rival.settle()
    assert knative.floor("llm") == "3"


@pytest.mark.parametrize("mirror", ["requests", "revisions"])
@pytest.mark.parametrize("how", ["old", "never whole"])
def test_nothing_is_decided_on_old_mirrors(mirror: str, how: str, leading: Rig, knative: FakeKnative) -> None:
    knative.ask("prewarm", leading.ask(3))
    which = getattr(leading, mirror)
    if how == "old":
        which.age = 46.0
    else:
        which.is_synced = False
    assert leading.step() is FloorOutcome.BLIND
    assert knative.writes == []


def test_an_api_server_that_is_away_has_nothing_written_unrecorded(
    leading: Rig, cluster: FakeCluster, knative: FakeKnative
) -> None:
    leading.settle()
    knative.ask("prewarm", leading.ask(3))
    cluster.unreachable = True
    assert leading.step() is FloorOutcome.NOT_STORED
    cluster.unreachable = False
    leading.settle()
    assert knative.floor("llm") == "3"


def test_a_revision_that_goes_takes_its_record_with_it(leading: Rig, knative: FakeKnative) -> None:
    knative.ask("prewarm", leading.ask(3))
    leading.settle()
    assert leading.floor.records
    knative.revisions.clear()
    leading.settle()
    assert knative.floor_store.stands.records == {}


def test_a_floor_without_effect_is_told_once(leading: Rig, knative: FakeKnative, cluster: FakeCluster) -> None:
    made = knative.put_revision("llm", desired=None)
    for key in knative.revisions:
        knative.revisions[key] = replace(made, burst="200")
    knative.ask("prewarm", leading.ask(3))
    leading.settle()
    leading.settle()
    assert [reason for _, reason, _ in cluster.events].count("FloorUnheard") == 1


def test_a_value_that_the_cluster_refuses_stands_in_the_way_of_no_other(
    leading: Rig, knative: FakeKnative, cluster: FakeCluster
) -> None:
    knative.refuses = Setting.WINDOW
    refused = replace(leading.ask(60, name="b"), setting=Setting.WINDOW)
    knative.ask("prewarm", leading.ask(3), refused)
    leading.settle()
    assert knative.floor("llm") == "3"
    knative.ask("prewarm", refused)
    leading.settle()
    leading.settle()
    assert knative.floor("llm") == "1"
    told = [message for _, reason, message in cluster.events if reason == "FloorRefused"]
    assert told == ["window: window is out of range"]


def test_its_thread_goes_on_after_a_round_that_failed(leading: Rig, knative: FakeKnative) -> None:
    stop = threading.Event()
    knative.floor_store.stands = FloorRecords(token=-1)

    def ends() -> None:
        stop.set()
        leading.floor.wake()
        raise RuntimeError("odd")

    knative.floor_store.before_save = ends
    leading.floor.wake()
    leading.floor.run(stop)
    assert leading.floor.records == {}
