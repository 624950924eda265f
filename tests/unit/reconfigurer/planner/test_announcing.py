"""What a leader tells of a function that gets a slice, loses it, or is refused one: once, and only while it leads."""

from dataclasses import replace
from random import Random

import pytest

from knative_mig.core.events import PROVISIONED, RELEASED, UNSATISFIABLE, PendingRevision
from knative_mig.core.floor.values import Denied
from knative_mig.core.inventory import NodeName
from knative_mig.core.outcomes.watch import STANDS_S
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

N1 = NodeName("n1")
KEY = Key("team", "llm-1")
PENDING = PendingRevision(
    namespace="team",
    revision="llm-1",
    profile=ProfileName.parse("3g.20gb"),
    count=1,
    revision_uid="uid-llm-1",
    told_by="event-1",
)


@pytest.fixture
def agents(cluster: FakeCluster, replica: Replica) -> Floor:
    """One node with an empty A100, a function at zero, and a leader that has stamped the node."""
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1")))
    cluster.put_node(node("n1"))
    cluster.beat("n1", 0)
    assert replica.knative is not None
    replica.knative.put_revision("llm-1")
    replica.lead()
    replica.round()
    made = Floor(cluster)
    made.obey(N1)
    replica.round()
    return made


def starts(cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock) -> None:
    """From zero to a pod on its slice, as the agent has reported it."""
    replica.loop.hear(PENDING)
    cluster.put_pod(pod("a", "3g.20gb", revision="llm-1", created=clock.wall()))
    replica.round()
    agents.obey(N1)
    replica.round()
    assert replica.announced == []
    agents.schedule(Random(0))
    agents.report(N1)


def types(replica: Replica) -> list[str]:
    return [each.type for each in replica.announced]


def on_revision(cluster: FakeCluster) -> list[tuple[str, str, str]]:
    return [each for each in cluster.events if each[0] == "llm-1"]


def test_a_cold_start_is_told_when_its_pod_has_the_slice_with_the_event_that_it_goes_back_to(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    starts(cluster, replica, agents, clock)
    replica.round()
    replica.round()
    (event,) = replica.announced
    assert (event.type, event.subject) == (PROVISIONED, "team/llm-1")
    assert event.extensions["pendingid"] == "event-1"
    assert event.extensions["node"] == "n1"
    ((_, reason, message),) = on_revision(cluster)
    assert reason == "SliceProvisioned"
    assert "event 'event-1' asked for it" in message
    assert replica.metric("planner_outcomes_total", kind="provisioned") == 1


def test_scale_to_zero_is_told_when_the_slice_is_seen_without_its_pod(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    starts(cluster, replica, agents, clock)
    replica.round()
    cluster.drop_pod(cluster.pod("a"))
    replica.round()
    assert types(replica) == [PROVISIONED]
    agents.held = dict.fromkeys(agents.held)
    agents.report(N1)
    replica.round()
    assert types(replica) == [PROVISIONED, RELEASED]
    assert [reason for _, reason, _ in on_revision(cluster)] == ["SliceProvisioned", "SliceReleased"]


def test_a_refusal_is_told_on_the_revision_too_with_what_would_help(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    cluster.put_pod(pod("a", "3g.40gb", revision="llm-1", created=clock.wall()))
    replica.round()
    assert types(replica) == []
    assert replica.loop.due_in_s == STANDS_S
    clock.at += STANDS_S
    replica.round()
    replica.round()
    assert types(replica) == [UNSATISFIABLE]
    ((_, reason, message),) = on_revision(cluster)
    assert reason == "NoSuchProfile"
    assert "what would help" in message
    assert replica.announced[0].data["helps"]


def test_a_quotas_no_to_pods_that_are_not_made_is_told_on_the_revision_once_and_again_the_next_time(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    assert replica.knative is not None
    replica.loop.hear(PENDING)
    for times in (1, 2):
        replica.lead()
        no = Denied(profile=PENDING.profile, why="exceeded quota: gpus", since=clock.wall())
        allowed = replica.knative.revision("llm-1")
        replica.knative.revisions[KEY] = replace(allowed, denied=no)
        replica.round()
        clock.at += STANDS_S
        replica.round()
        replica.round()
        assert [each.data["reason"] for each in replica.announced] == ["QuotaExceeded"] * times
        assert replica.announced[-1].extensions["pendingid"] == "event-1"
        replica.knative.revisions[KEY] = allowed
        replica.round()
    assert [reason for _, reason, _ in on_revision(cluster)] == ["QuotaExceeded"] * 2
    assert len({each.id for each in replica.announced}) == 2


def test_a_standby_tells_nothing_and_when_it_follows_it_is_silent_about_what_was_there(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    assert replica.knative is not None
    other = Replica(cluster, clock, "planner-b", knative=replica.knative)
    other.leader.step()
    starts(cluster, replica, agents, clock)
    other.round()
    replica.round()
    clock.at += 15
    other.lead()
    for _ in range(3):
        other.round()
        replica.round()
    assert (types(replica), types(other)) == ([PROVISIONED], [])
    agents.held = dict.fromkeys(agents.held)
    agents.report(N1)
    other.round()
    replica.round()
    assert (types(replica), types(other)) == ([PROVISIONED], [RELEASED])


def test_who_leads_anew_is_silent_about_what_another_one_may_have_told_in_between(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    starts(cluster, replica, agents, clock)
    led_under = replica.leader.token()
    replica.leader.lost("another one led")
    replica.lead()
    assert replica.leader.token() != led_under
    replica.round()
    replica.round()
    assert replica.announced == []


def test_while_it_sees_nothing_of_the_cluster_it_claims_nothing(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    starts(cluster, replica, agents, clock)
    replica.gpu_nodes.age = 3600.0
    replica.round()
    assert replica.announced == []


def test_a_revision_that_is_not_known_is_told_of_when_it_is(
    cluster: FakeCluster, replica: Replica, agents: Floor, clock: Clock
) -> None:
    assert replica.knative is not None
    known = dict(replica.knative.revisions)
    replica.knative.revisions.clear()
    starts(cluster, replica, agents, clock)
    replica.round()
    assert replica.announced == []
    replica.knative.revisions.update({key: replace(each) for key, each in known.items()})
    replica.round()
    assert types(replica) == [PROVISIONED]
