"""Pay as you go, held against the simulated GPUs' own clock: makes, pods that come and go, a merge, a planner that is
started anew, a leader that dies and one that only slept.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from knative_mig.core.cluster.meters import Whose, decoded
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.usage import shares_on
from knative_mig.core.gpu_node import GpuNode, Layout, SliceState
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from reconfigurer.planner.settings import PlannerSettings
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import LEASE, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod
from tests.rigs.whole_cluster import WholeCluster

WITHIN = 0.01


@pytest.fixture
def there() -> WholeCluster:
    """Two GPUs of two models: no profile of one is the other's, so sums by profile are sums by GPU too."""
    return WholeCluster({"n1": "A100-40GB", "n2": "A30-24GB"})


def end(there: WholeCluster, replica: Replica) -> None:
    """As by SIGTERM."""
    told = threading.Event()
    told.set()
    replica.loop.run(told)
    replica.leader.release()
    there.replicas.remove(replica)


def die(there: WholeCluster, replica: Replica) -> None:
    """As by SIGKILL."""
    there.replicas.remove(replica)


def stored(cluster: FakeCluster) -> Mapping[Whose, float]:
    assert cluster.stored is not None
    return decoded(cluster.stored.data).share_seconds


def published(replica: Replica) -> Mapping[Whose, float]:
    return shares_on(generate_latest(replica.registry).decode())


def busy(shares: Mapping[Whose, float], name: str = "") -> float:
    """All that was busy, or what of it one service pays for."""
    return sum(each for whose, each in shares.items() if whose.state == SliceState.BUSY and name in ("", whose.service))


def assert_as_by_the_gpus_clock(there: WholeCluster, shares: Mapping[Whose, float]) -> None:
    for name, clock in there.gpu_clocks.items():
        theirs = {str(profile): seconds for (_, profile), seconds in clock.seconds().items()}
        ours = {whose: each for whose, each in shares.items() if whose.profile in theirs}
        assert sum(ours.values()) == pytest.approx(sum(each.cut for each in theirs.values()), rel=WITHIN), name
        assert busy(ours) == pytest.approx(sum(each.in_use for each in theirs.values()), rel=WITHIN), name


def an_hour_with_every_kind_of_change(there: WholeCluster) -> Replica:
    """The leader at its end."""
    leader = there.start_planner("planner-a")
    there.start_planner("planner-b")
    there.pass_time(60)
    there.ask("chat", "3g.20gb", namespace="alpha")
    there.ask("tiny", "1g.6gb", namespace="beta")
    there.ask("code", "1g.5gb", namespace="alpha")
    there.ask("draw", "1g.5gb", namespace="alpha")
    there.pass_time(600)
    assert set(there.running()) == {"chat", "tiny", "code", "draw"}

    there.end("code")  # its slice is idle for a while, and somebody else's then
    there.pass_time(300)
    there.ask("tale", "1g.5gb", namespace="beta")
    there.pass_time(300)
    assert there.running().keys() == {"chat", "tiny", "draw", "tale"}

    end(there, leader)
    leader = there.start_planner("planner-a")  # the other one leads by now
    there.pass_time(300)

    there.end("draw")
    there.end("tale")
    there.pass_time(120)
    there.ask("large", "4g.20gb", namespace="beta")  # two idle fragments are merged for it
    there.pass_time(600)
    assert there.nodes["n1"].slices() == ["4g.20gb@0", "3g.20gb@4"]

    (leading,) = [each for each in there.replicas if each.leader.token() is not None]
    assert leading.name == "planner-b"
    there.pass_time(5)
    die(there, leading)
    there.end("chat")  # in the time that nobody leads
    there.pass_time(600)
    assert leader.leader.token() is not None

    there.ask("chat", "3g.20gb", namespace="alpha")
    there.ask("pair", "2g.12gb", namespace="beta")
    there.pass_time(900)
    assert there.running().keys() == {"chat", "tiny", "large", "pair"}
    return leader


@pytest.mark.no_cover
def test_sums_and_busy_shares_are_those_of_the_gpus_own_clock(there: WholeCluster) -> None:
    leader = an_hour_with_every_kind_of_change(there)
    assert_as_by_the_gpus_clock(there, published(leader))
    end(there, leader)
    assert_as_by_the_gpus_clock(there, stored(there.cluster))


def test_a_leader_that_slept_and_wakes_counts_nothing_that_its_successor_has_counted(there: WholeCluster) -> None:
    sleeper = there.start_planner("planner-a")
    there.ask("chat", "3g.20gb", namespace="alpha")
    there.pass_time(300)
    there.replicas.remove(sleeper)
    successor = there.start_planner("planner-b")
    there.pass_time(300)
    there.replicas.append(sleeper)
    there.pass_time(60)
    end(there, sleeper)
    assert_as_by_the_gpus_clock(there, published(successor))
    end(there, successor)
    assert_as_by_the_gpus_clock(there, stored(there.cluster))


def test_of_two_that_lead_for_a_moment_one_is_heard(there: WholeCluster) -> None:
    """A deleted Lease lets another in at once; the first one goes on until it looks."""
    often = PlannerSettings(store_meters_s=1.0)
    first = there.start_planner("planner-a", often)
    there.ask("chat", "3g.20gb", namespace="alpha")
    there.pass_time(300)
    there.replicas.remove(first)
    del there.cluster.leases[LEASE]
    second = there.start_planner("planner-b", often)
    while first.leader.token() is not None:
        there.pass_time(1)
        first.round()
    there.pass_time(60)
    end(there, second)
    assert_as_by_the_gpus_clock(there, stored(there.cluster))


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(pod("p", "3g.40gb"), id="a profile that no GPU has"),
        pytest.param(pod("p", "7g.40gb", cpu=10**6), id="more CPU than a node has"),
        pytest.param(pod("p", "7g.40gb", only_on="static"), id="a node whose layout is an administrator's"),
        pytest.param(replace(pod("p"), wants={ProfileName.parse("1g.5gb"): 2}), id="two slices"),
    ],
)
def test_who_waits_for_something_else_than_a_place_is_not_counted_as_waiting_beside_pieces(
    asks: PodFacts, cluster: FakeCluster, replica: Replica
) -> None:
    pieces = {"1g.5gb@0": "a", "1g.5gb@4": "b"}
    cluster.put_gpu_node(gpu_node("n1", gpu("g", dict(pieces))))
    cluster.put_gpu_node(gpu_node("static", gpu("h", dict(pieces)), layout=Layout.STATIC))
    for name in ("n1", "static"):
        cluster.put_node(node(name))
    replica.lead()
    replica.round()
    cluster.put_pod(asks)
    for name in ("n1", "static"):
        there = cluster.gpu_node(name)
        assert there.status
        cluster.write_status(NodeName(name), replace(there.status, observed_generation=there.generation))
    for _ in range(2):
        replica.round()
        replica.clock.at += 4
        replica.leader.step()
    assert cluster.events
    for meter in ("fragmented", "blocked"):
        for profile in asks.wants:
            assert not replica.metric(f"{meter}_wait_seconds_total", profile=str(profile))


def test_a_leaders_clock_that_was_an_hour_ahead_for_a_round_costs_that_round_and_no_more(
    there: WholeCluster,
) -> None:
    leader = there.start_planner("planner-a")
    there.ask("chat", "3g.20gb", namespace="alpha")
    there.pass_time(60)
    before = sum(published(leader).values())
    there.planners_clock.ahead_s += 3600
    leader.round()
    there.planners_clock.ahead_s -= 3600
    leader.round()
    lost = leader.metric("planner_meters_lost_seconds_total")
    assert lost == pytest.approx(7200, abs=1)
    there.pass_time(300)
    assert sum(published(leader).values()) == pytest.approx(before + 300 * 0.5, rel=0.1)


def test_a_node_that_goes_while_a_round_fails_is_counted_no_more(cluster: FakeCluster, replica: Replica) -> None:
    for name in ("n1", "n2"):
        cluster.put_gpu_node(gpu_node(name, gpu(f"gpu-{name}", {"3g.20gb@4": f"on-{name}"})))
        cluster.put_node(node(name))
        cluster.put_pod(pod(f"on-{name}", "3g.20gb", on=name))
    floor = Floor(cluster)
    replica.lead()
    replica.round()
    for name in ("n1", "n2"):
        floor.obey(NodeName(name))
    replica.round()
    write_spec, told = cluster.write_spec, threading.Event()

    def broken(*_: object) -> GpuNode:
        told.set()
        raise ZeroDivisionError

    del cluster.gpu_nodes[Key("", "n2")], cluster.nodes[Key("", "n2")]
    cluster.drop_pod(cluster.pod("on-n2"))
    cluster.put_pod(pod("more", "3g.20gb"))
    cluster.write_spec = broken  # type: ignore[method-assign,assignment]
    replica.loop.wake()
    replica.loop.run(told)
    assert replica.metric("planner_rounds_total", outcome="failed") == 1
    cluster.write_spec = write_spec  # type: ignore[method-assign]
    before = stored(cluster)
    for _ in range(2):
        replica.clock.at += replica.settings.store_meters_s
        replica.leader.step()
        replica.round()
    after = published(replica)
    assert busy(after, "on-n2") == busy(before, "on-n2")
    assert busy(after, "on-n1") == pytest.approx(busy(before, "on-n1") + replica.settings.store_meters_s)


def test_a_planner_started_anew_again_and_again_counts_each_second_once(there: WholeCluster) -> None:
    there.ask("chat", "3g.20gb", namespace="alpha")
    for number in range(20):
        planner = there.start_planner(f"planner-{number}")
        there.pass_time(60)
        (die if number % 2 else end)(there, planner)
    last = there.start_planner("last")
    there.pass_time(60)
    assert_as_by_the_gpus_clock(there, published(last))
