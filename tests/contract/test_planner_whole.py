"""The whole planner process on an API server: mirrors, lease, rounds, writes, gates, meters, probes, its end."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.meter_store import KubeMeterStore
from knative_mig.core.cluster.meters import Whose, decoded
from knative_mig.ports.kube import Conflict, Key, LeaseRecord
from tests.contract.planner_rig import (
    answer,
    gates,
    offer,
    planner,
    pod,
    pod_object,
    put_gpu_node,
    put_node,
    read,
    ready,
    spec_of,
    until,
    wanted,
)
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu, gpu_node


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        put_node(api, gpu("GPU-1", {"1g.5gb@4": None, "1g.5gb@5": None, "4g.20gb@0": "busy"}))
        api.put_object(pod_object("busy", "4g.20gb", node="n1"))
        yield api


def test_a_pod_that_waits_has_fragments_merged_and_is_let_go_when_its_slice_is_there(api: FakeApi) -> None:
    with planner(api):
        until(api, lambda: spec_of(api).spec.fencing_token == 1)
        answer(api)
        api.put_object(pod_object("big", "3g.20gb", gated=True))
        until(api, lambda: wanted(api) == ["4g.20gb@0", "3g.20gb@4"])
        answer(api, **{"GPU-1": {"4g.20gb@0": "busy", "3g.20gb@4": None}})
        offer(api)
        until(api, lambda: not gates(api, "big"))
        big = parse.pod(pod(api, "big"))
        assert (big.node_selector, big.pinned) == ({"kubernetes.io/hostname": "n1"}, True)


def test_the_standby_follows_when_the_leader_ends_and_its_token_is_on_every_gpu_node(api: FakeApi) -> None:
    leading = ExitStack()
    leading.enter_context(planner(api, "planner-a"))
    until(api, lambda: spec_of(api).spec.fencing_token == 1)
    with planner(api, "planner-b"):
        leading.close()
        until(api, lambda: spec_of(api).spec.fencing_token == 2)


def test_leader_and_standby_are_ready_and_the_leader_publishes_meters(api: FakeApi) -> None:
    with planner(api, "planner-a") as leader, planner(api, "planner-b") as other:
        until(api, lambda: stored(api))
        leads = leader if leader.leader.token() is not None else other
        for each in (leader, other):
            assert read(each, "/healthz") == "ok\n"
            ready(each)
        assert "knative_mig_planner_leader 1.0" in read(leads, "/metrics")
        assert 'knative_mig_slice_share_seconds_total{namespace="team",profile="4g.20gb",service="busy"' in read(
            leads, "/metrics"
        )


def test_while_nobody_can_lead_no_replica_is_ready_and_it_says_what_helps(api: FakeApi) -> None:
    put_gpu_node(api, gpu_node("n1", gpu("GPU-1"), token=2**63 - 1))
    with planner(api) as running:
        assert running._gpu_nodes.wait_synced(20)
        for _ in range(1000):
            if not running.leader.stuck or running._mirrors.unsynced:
                running.stop.wait(0.02)
        with pytest.raises(urllib.error.HTTPError) as unready:
            read(running, "/readyz")
        with unready.value as answered:
            assert "delete the Lease knative-mig/knative-mig-planner" in answered.read().decode()
        assert read(running, "/healthz") == "ok\n"


def stored(api: FakeApi) -> bool:
    bodies, _ = api.store.all("configmaps")
    busy = Whose(namespace="team", service="busy", profile="4g.20gb", state="Busy")
    meters = [body["data"] for body in bodies if body["metadata"]["name"] == "knative-mig-meters"]
    return any(decoded(data).share_seconds.get(busy, 0) > 0 for data in meters)


def test_meters_are_stored_under_the_version_that_was_loaded(api: FakeApi) -> None:
    store = KubeMeterStore(api.client(), "knative-mig")
    assert store.load() is None
    first = store.save({"format": "1"}, replaces=None)
    assert store.load() == first
    second = store.save({"format": "2"}, replaces=first)
    with pytest.raises(Conflict):
        store.save({"format": "3"}, replaces=first)
    assert store.load() == second


def test_heartbeats_are_mirrored(api: FakeApi) -> None:
    with planner(api) as running:
        until(api, lambda: spec_of(api).spec.fencing_token == 1)
        (seen,) = running._mirrors.heartbeats.snapshot().items()
        assert seen[0] == Key("knative-mig-agent", "n1")
        assert isinstance(seen[1], LeaseRecord)
