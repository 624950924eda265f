"""The planner's rounds on a cluster in memory: who leads, what is too old to plan on, what is written, who may go."""

import threading
from dataclasses import replace
from random import Random

import pytest

from knative_mig.core.cluster.leadership import MOST_TOKEN
from knative_mig.core.gpu_node import GATE, GpuNode, GpuNodeSpec
from knative_mig.core.inventory import NodeName
from knative_mig.core.outcomes.watch import STANDS_S
from knative_mig.ports.kube import Conflict, Key, Refused
from reconfigurer.planner.loop import Outcome
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import LEASE, Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, key, node, pod

N1, N2 = NodeName("n1"), NodeName("n2")


@pytest.fixture
def floor(cluster: FakeCluster) -> Floor:
    """Two nodes with one empty A100 each."""
    for name in ("n1", "n2"):
        cluster.put_gpu_node(gpu_node(name, gpu(f"gpu-{name}")))
        cluster.put_node(node(name))
        cluster.beat(name, 0)
    return Floor(cluster)


def stamp(replica: Replica, floor: Floor) -> None:
    """A new leader's first round stamps, and its agents answer."""
    replica.lead()
    assert replica.round() is Outcome.PLANNED
    floor.obey(N1)
    floor.obey(N2)


def keys(cluster: FakeCluster, name: str) -> list[str]:
    return [str(each.key) for wanted in cluster.gpu_node(name).spec.gpus for each in wanted.slices]


def test_who_does_not_lead_writes_nothing(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    cluster.put_pod(pod("p"))
    assert replica.round() is Outcome.STANDBY
    assert cluster.spec_writes == []
    assert replica.metric("planner_leader") == 0


def test_a_waiting_pod_gets_a_slice_made_and_runs_on_it(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p", "3g.20gb"))
    replica.loop.wake()
    assert replica.round() is Outcome.PLANNED
    (name,) = [each for each in ("n1", "n2") if keys(cluster, each)]
    assert keys(cluster, name) == ["3g.20gb@4"]
    floor.obey(NodeName(name))
    floor.schedule(Random(0))
    assert cluster.pod("p").node == name
    assert replica.metric("planner_event_to_spec_seconds_count") == 1


def test_a_round_on_the_same_cluster_writes_nothing_more(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p", "3g.20gb"))
    replica.round()
    written = len(cluster.spec_writes)
    replica.round()
    floor.obey(N1)
    floor.obey(N2)
    replica.round()
    assert len(cluster.spec_writes) == written


def test_a_mirror_that_has_not_seen_our_write_does_not_have_it_made_twice(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p", "3g.20gb"))
    replica.gpu_nodes.snapshot()
    replica.gpu_nodes.lagging = True
    replica.round()
    written = len(cluster.spec_writes)
    replica.round()
    assert len(cluster.spec_writes) == written == 3  # two stamps and one slice


def test_who_was_let_go_has_its_slice_though_its_mirror_shows_the_gate_still(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    """The agent's word that it holds one may come before the pods' mirror shows that its gate is gone."""
    stamp(replica, floor)
    cluster.put_pod(pod("p", "3g.20gb", gated=True))
    replica.round()
    for each in (N1, N2):
        floor.obey(each)
    replica.pods.snapshot()
    replica.pods.lagging = True
    replica.round()
    assert [name for name, _ in cluster.lifted] == ["p"]
    floor.schedule(Random(0))
    for each in (N1, N2):
        floor.report(each)
    written = len(cluster.spec_writes)
    replica.round()
    assert len(cluster.spec_writes) == written


def test_a_new_leader_stamps_every_gpu_node_before_it_plans_and_the_old_one_is_refused_everywhere(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    stamp(replica, floor)
    paused = {name: cluster.gpu_node(name) for name in ("n1", "n2")}
    other = Replica(cluster, clock, "planner-b")
    other.leader.step()
    assert other.leader.token() is None
    clock.at += 15
    other.lead()
    assert other.round() is Outcome.PLANNED
    assert [cluster.gpu_node(name).spec.fencing_token for name in ("n1", "n2")] == [2, 2]
    for seen in paused.values():
        with pytest.raises(Refused):
            cluster.write_spec(seen, replace(seen.spec, fencing_token=1))
    assert replica.leader.token() is None  # its own clock told it


def test_a_leader_whose_clock_stood_still_is_overtaken_at_its_first_write(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    stamp(replica, floor)
    replica.gpu_nodes.snapshot()
    replica.gpu_nodes.lagging = True
    ahead = Clock(at=clock.at + 100)
    other = Replica(cluster, ahead, "planner-b")
    other.leader.step()
    ahead.at += 15
    other.lead()
    other.round()
    floor.obey(N1)
    cluster.put_pod(pod("p", "7g.40gb"))
    assert replica.leader.token() == 1
    assert replica.round() is Outcome.OVERTAKEN
    assert replica.leader.token() is None
    assert keys(cluster, "n1") == keys(cluster, "n2") == []


def test_a_gpu_node_that_appears_later_is_stamped_too(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    stamp(replica, floor)
    cluster.put_gpu_node(gpu_node("n3", gpu("gpu-n3")))
    replica.round()
    assert cluster.gpu_node("n3").spec.fencing_token == 1


def test_a_gpu_node_that_refuses_the_stamp_is_left_alone_and_asked_again_soon_while_the_rest_go_on(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    write_spec = cluster.write_spec

    def refusing(node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        if node.name == N1:
            raise Refused("somebody's webhook says no")
        return write_spec(node, spec)

    cluster.write_spec = refusing  # type: ignore[method-assign]
    replica.lead()
    assert replica.round() is Outcome.PLANNED
    floor.obey(N2)
    cluster.put_pod(pod("p", "7g.40gb"))
    cluster.put_pod(pod("q", "7g.40gb", created=1.0))
    waits = []
    for _ in range(8):
        assert replica.round() is Outcome.PLANNED
        waits.append(replica.loop.due_in_s)
    assert keys(cluster, "n2") == ["7g.40gb@0"]
    assert cluster.gpu_node("n1").spec.fencing_token == 0
    assert replica.metric("planner_left_out_nodes", reason="TokenRefused") == 1
    assert waits == [1.0, 2.0, 4.0, *[STANDS_S] * 5]  # by then whoever has no slice is to be told
    cluster.write_spec = write_spec  # type: ignore[method-assign]
    replica.round()
    floor.obey(N1)
    replica.round()
    assert keys(cluster, "n1") == ["7g.40gb@0"]
    assert replica.loop.due_in_s == replica.settings.resync_s


@pytest.mark.parametrize("fails", ["all stamps", "a spec", "a gate"])
def test_what_could_not_be_written_is_tried_again_before_the_next_resync(
    fails: str, cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    replica.lead()
    if fails != "all stamps":
        replica.round()
        floor.obey(N1)
        floor.obey(N2)
        cluster.put_pod(pod("p", "7g.40gb", gated=True, only_on="n1"))
    if fails == "a gate":
        replica.round()
        floor.obey(N1)
    cluster.unreachable = True
    assert replica.round() is (Outcome.NOT_STAMPED if fails == "all stamps" else Outcome.PLANNED)
    assert replica.loop.due_in_s == 0.5


@pytest.mark.parametrize("how", ["old", "never whole"])
def test_nothing_is_planned_on_old_mirrors(how: str, cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p"))
    if how == "old":
        replica.pods.age = 46.0
    else:
        replica.pods.is_synced = False
    assert replica.round() is Outcome.BLIND
    assert keys(cluster, "n1") == keys(cluster, "n2") == []
    assert replica.loop.due_in_s == 0.5  # a new leader need not wait for the resync because one list came late


def test_a_node_whose_agent_is_silent_is_left_out_however_wrong_its_clock_is(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    stamp(replica, floor)
    replica.round()
    for second in (10, 20):
        clock.at += 10
        cluster.beat("n2", 3600.0 + second)
        replica.lead()
        replica.round()
    cluster.put_pod(pod("p"))
    replica.round()
    assert keys(cluster, "n1") == []
    assert keys(cluster, "n2") == ["1g.5gb@6"]
    assert replica.metric("planner_left_out_nodes", reason="AgentSilent") == 1


def test_a_gpu_node_says_itself_that_it_is_left_out_and_that_it_is_not_any_more(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    def said(name: str) -> tuple[bool | None, str]:
        word = cluster.gpu_node(name).planned
        assert word
        return word.status, word.reason

    stamp(replica, floor)
    assert said("n1") == said("n2") == (True, "Planned")
    for second in (10, 20):
        clock.at += 10
        cluster.beat("n2", second)
        replica.lead()
        replica.round()
    assert (said("n1"), said("n2")) == ((False, "AgentSilent"), (True, "Planned"))
    before = cluster.gpu_node("n1")
    assert before.planned
    assert before.planned.since == clock.wall()
    replica.round()
    assert cluster.gpu_node("n1") is before
    floor.report(N1)
    assert cluster.gpu_node("n1").planned == before.planned
    clock.at += 1
    cluster.beat("n1", 1)
    replica.round()
    assert said("n1") == (True, "Planned")


def test_a_word_that_the_mirror_does_not_show_yet_is_said_once_and_one_that_was_lost_again(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    replica.lead()
    replica.gpu_nodes.snapshot()
    replica.gpu_nodes.lagging = True
    replica.round()
    version = cluster.gpu_node("n1").resource_version
    replica.round()
    assert cluster.gpu_node("n1").resource_version == version
    clock.at += 10
    replica.leader.step()
    replica.round()
    assert cluster.gpu_node("n1").resource_version != version


def test_an_agent_that_does_not_answer_is_waited_for_and_then_left_out(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p", "7g.40gb"))
    replica.round()
    (first,) = [each for each in ("n1", "n2") if keys(cluster, each)]
    (second,) = {"n1", "n2"} - {first}
    replica.round()  # the mirror shows the write
    for step in range(3):
        clock.at += 10
        cluster.beat("n1", step)
        cluster.beat("n2", step)
        replica.lead()
        written = len(cluster.spec_writes)
        replica.round()
        assert (len(cluster.spec_writes) > written) is (step == 2)
    assert keys(cluster, second) == ["7g.40gb@0"]


def test_a_write_that_meets_a_conflict_is_planned_anew(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    stamp(replica, floor)
    replica.round()
    replica.gpu_nodes.lagging = True
    floor.report(N1)
    floor.report(N2)
    cluster.put_pod(pod("p"))
    replica.round()
    assert keys(cluster, "n1") == keys(cluster, "n2") == []
    assert replica.metric("planner_spec_writes_total", result=Conflict.reason) == 1
    replica.gpu_nodes.lagging = False
    replica.round()
    assert len(keys(cluster, "n1") + keys(cluster, "n2")) == 1


def test_what_cannot_be_done_now_is_left_to_the_next_change_and_not_tried_in_a_loop(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    for name in ("n1", "n2"):
        there = gpu_node(name, gpu(f"gpu-{name}", {"7g.40gb@0": f"!Released:old-{name}"}), token=1)
        cluster.put_gpu_node(there)
        cluster.put_pod(pod(f"old-{name}", "7g.40gb", on=name))
    replica.lead()
    replica.round()
    for name in (N1, N2):  # the agents have seen the token
        there = cluster.gpu_node(name)
        assert there.status
        cluster.write_status(name, replace(there.status, observed_generation=there.generation))
    cluster.put_pod(pod("p", "7g.40gb"))
    assert replica.round() is Outcome.PLANNED
    assert not replica.is_woken
    cluster.put_pod(pod("q", "1g.5gb"))
    cluster.unreachable = True
    assert replica.round() is Outcome.PLANNED
    assert not replica.is_woken
    cluster.unreachable = False
    replica.round()
    assert len(keys(cluster, "n1") + keys(cluster, "n2")) == 1


def test_the_gate_of_a_pod_is_lifted_when_its_slice_is_there_and_only_once(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("low", "7g.40gb", gated=True, only_on="n1"))
    cluster.put_pod(pod("high", "7g.40gb", gated=True, only_on="n1", priority=10, created=5))
    replica.pods.snapshot()
    replica.round()
    assert cluster.lifted == []
    floor.obey(N1)
    replica.round()
    replica.pods.lagging = True
    replica.round()
    assert cluster.lifted == [("high", N1)]
    assert cluster.pod("high").gates == ()
    assert cluster.pod("low").gates == (GATE,)


def test_who_waits_for_a_slice_that_was_left_is_let_go_soon_after_the_pod_that_left_it_is_gone(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("leaves", "7g.40gb", only_on="n1"))
    replica.round()
    floor.obey(N1)
    floor.schedule(Random(0))
    floor.end(leaves := replace(cluster.pod("leaves"), ends_at=1.0))
    cluster.put_pod(leaves)  # its object is seen for a moment more
    cluster.put_pod(pod("next", "7g.40gb", gated=True, only_on="n1"))
    replica.round()
    assert cluster.lifted == []
    assert replica.loop.due_in_s == 0.5
    cluster.drop_pod(leaves)
    replica.round()
    assert cluster.lifted == [("next", N1)]
    assert replica.loop.due_in_s == replica.settings.resync_s


def test_a_gated_pod_that_asks_for_no_slice_is_let_go_anywhere_and_only_once(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    stamp(replica, floor)
    cluster.put_pod(replace(pod("plain", gated=True), wants={}))
    cluster.put_pod(replace(pod("ending", gated=True, ends_at=1.0), wants={}))
    replica.pods.snapshot()
    replica.pods.lagging = True
    replica.round()
    replica.round()
    assert cluster.lifted == [("plain", None)]
    assert cluster.pod("plain").gates == ()


def test_a_refused_pod_is_told_why_once(cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock) -> None:
    stamp(replica, floor)
    cluster.put_pod(pod("p", "3g.40gb"))
    replica.round()
    replica.round()
    ((name, reason, message),) = cluster.events
    assert (name, reason) == ("p", "NoSuchProfile")
    assert "what would help: ask for one of the profiles named" in message
    assert replica.metric("planner_rejections_total", reason="NoSuchProfile") == 1
    clock.at += 301
    for each in ("n1", "n2"):
        cluster.beat(each, clock.at)
    replica.lead()
    replica.round()
    replica.round()
    assert len(cluster.events) == 2


def test_shares_are_counted_through_a_change_of_leader_and_not_twice(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-n1", {"3g.20gb@4": "p", "1g.5gb@0": None})))
    cluster.put_pod(pod("p", "3g.20gb", on="n1"))
    floor.held.update(Floor(cluster).held)
    stamp(replica, floor)
    replica.round()
    began = clock.at
    for _ in range(5):
        clock.at += 3
        replica.leader.step()
        replica.round()
    other = Replica(cluster, clock, "planner-b")
    other.leader.step()
    clock.at += 15
    other.lead()
    other.round()
    clock.at += 2
    other.round()
    seconds = clock.at - began
    labels = {"namespace": "team", "service": "p", "profile": "3g.20gb", "state": "Busy"}
    assert other.metric("slice_share_seconds_total", **labels) == pytest.approx(seconds / 2)
    idle = {"namespace": "", "service": "", "profile": "1g.5gb", "state": "Idle"}
    assert other.metric("slice_share_seconds_total", **idle) == pytest.approx(seconds / 8)
    assert replica.round() is Outcome.STANDBY
    assert replica.metric("slice_share_seconds_total", **labels) is None


def test_who_waits_beside_idle_shares_is_counted(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    small = {f"1g.5gb@{start}": f"busy-{start}" for start in (0, 4)}
    for name in ("n1", "n2"):
        cluster.put_gpu_node(gpu_node(name, gpu(f"gpu-{name}", dict(small))))
    stamp(replica, Floor(cluster))
    cluster.put_pod(pod("p", "7g.40gb"))
    replica.round()
    clock.at += 4
    replica.leader.step()
    replica.round()
    assert replica.metric("fragmented_wait_seconds_total", profile="7g.40gb") == pytest.approx(4)
    assert replica.metric("blocked_wait_seconds_total", profile="7g.40gb") == pytest.approx(4)


def test_the_loop_runs_when_woken_and_ends_when_stopped(cluster: FakeCluster, floor: Floor, replica: Replica) -> None:
    replica.lead()
    replica.loop.wake_on_changes()
    stop, wrote = threading.Event(), threading.Event()
    write_spec = cluster.write_spec

    def noticed(*given: object) -> object:
        try:
            return write_spec(*given)  # type: ignore[arg-type]
        finally:
            wrote.set()

    cluster.write_spec = noticed  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=replica.loop.run, args=(stop,))
    thread.start()
    replica.gpu_nodes.changed(Key("", "n1"))
    assert wrote.wait(60)
    stop.set()
    replica.loop.wake()
    thread.join(60)
    assert not thread.is_alive()
    assert cluster.stored  # the meters, at the end


def test_a_round_that_fails_is_counted_and_the_next_one_begins_anew(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    stamp(replica, floor)
    replica.round()
    snapshot, stop = replica.quotas.snapshot, threading.Event()

    def broken() -> object:
        stop.set()
        raise ZeroDivisionError

    replica.quotas.snapshot = broken  # type: ignore[method-assign,assignment]
    replica.loop.wake()
    replica.loop.run(stop)
    assert replica.metric("planner_rounds_total", outcome="failed") == 1
    replica.quotas.snapshot = snapshot  # type: ignore[method-assign]
    cluster.put_pod(pod("p", "7g.40gb"))
    assert replica.round() is Outcome.PLANNED
    assert [key("7g.40gb@0")] == [
        each.key for name in ("n1", "n2") for wanted in cluster.gpu_node(name).spec.gpus for each in wanted.slices
    ]


def test_the_lease_is_not_taken_from_whoever_renews_it(cluster: FakeCluster, replica: Replica, clock: Clock) -> None:
    other = Replica(cluster, clock, "planner-b")
    replica.lead()
    for _ in range(10):
        clock.at += 5
        replica.leader.step()
        other.leader.step()
    assert replica.leader.token() == 1
    assert other.leader.token() is None


def test_a_planner_that_has_yet_to_list_the_gpu_nodes_leaves_the_lease_alone_and_soon_looks_again(
    cluster: FakeCluster, floor: Floor, replica: Replica
) -> None:
    replica.gpu_nodes.is_synced = False
    assert replica.leader.step() < 0.5
    assert cluster.leases == {}
    replica.gpu_nodes.is_synced = True
    replica.lead()
    assert cluster.leases[LEASE].holder == replica.name


def test_a_lease_that_was_given_back_is_free_at_once(cluster: FakeCluster, replica: Replica, clock: Clock) -> None:
    other = Replica(cluster, clock, "planner-b")
    replica.lead()
    replica.leader.release()
    assert replica.leader.token() is None
    other.lead()
    assert other.leader.token() == 2


def test_a_deleted_lease_locks_nobody_out_and_brings_no_old_token_back(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    stamp(replica, floor)
    del cluster.leases[LEASE]
    replica.leader.step()
    assert replica.leader.token() == 2
    del cluster.leases[LEASE]
    other = Replica(cluster, clock, "planner-b")
    other.lead()
    assert (other.leader.token() or 0) > 1
    replica.leader.step()
    assert replica.leader.token() is None


def test_the_highest_token_stops_everybody_with_one_word_until_its_gpu_node_and_the_lease_are_gone(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stamp(replica, floor)
    absurd = cluster.gpu_node("n2")
    cluster.put_gpu_node(replace(absurd, spec=replace(absurd.spec, fencing_token=2**63 - 1)))
    assert replica.round() is Outcome.OVERTAKEN
    for _ in range(5):
        clock.at += 5
        replica.leader.step()
        assert replica.round() is Outcome.STANDBY
    assert "9223372036854775807 stands on a GpuNode" in replica.leader.stuck
    assert [each.levelname for each in caplog.records].count("ERROR") == 1
    assert cluster.leases[LEASE].fencing_token == 1
    del cluster.gpu_nodes[Key("", "n2")], cluster.leases[LEASE]
    cluster.put_gpu_node(gpu_node("n2", gpu("gpu-n2")))
    replica.lead()
    assert not replica.leader.stuck
    assert replica.round() is Outcome.PLANNED
    assert [cluster.gpu_node(name).spec.fencing_token for name in ("n1", "n2")] == [2, 2]


def test_a_token_that_was_met_in_a_write_is_forgotten_with_the_lease(
    cluster: FakeCluster, floor: Floor, replica: Replica, clock: Clock
) -> None:
    """The mirror never showed it, and its GpuNode has gone: only this process's memory would stand in the way."""
    stamp(replica, floor)
    replica.leader.lost("a write was refused", at_least=MOST_TOKEN)
    clock.at += 15
    replica.leader.step()
    assert replica.leader.stuck
    del cluster.leases[LEASE]
    replica.lead()
    assert replica.leader.token() == 2


def test_an_api_server_that_is_away_ends_the_leadership_before_others_may_begin(
    cluster: FakeCluster, replica: Replica, clock: Clock
) -> None:
    replica.lead()
    cluster.unreachable = True
    for _ in range(9):
        clock.at += 1
        replica.leader.step()
    assert replica.leader.token() == 1
    clock.at += 1
    replica.leader.step()
    assert replica.leader.token() is None
