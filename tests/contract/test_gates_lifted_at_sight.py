"""A gate is lifted by what a mirror shows, without a look at the pod; and rightly too where the mirror is behind."""

from collections.abc import Iterator
from typing import Any

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.pods import KubePods, Seen
from knative_mig.core.cluster.objects import HOSTNAME, NodeFacts, PodFacts
from knative_mig.core.gpu_node import GATE
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Key, ObjectNotFound, Refused
from tests.contract.kube_rigs import KINDS, KubeRig, kube_rig
from tests.fake_api.api import FakeApi
from tests.rigs.fake_cluster import FakeMirror


class World:
    """Its mirrors show what they were last told to look at."""

    def __init__(self, rig: KubeRig) -> None:
        self.rig = rig
        self.node = rig.node(**{HOSTNAME: "its-hostname"})
        self._pods: dict[Key, PodFacts] = {}
        nodes: dict[Key, NodeFacts] = {self.node: parse.node(rig.client.get(NODE, self.node))}
        self.writes = KubePods(rig.client, Seen(pods=FakeMirror(self._pods), nodes=FakeMirror(nodes)))

    def pod(self, *gates: str, notes: bool = True, **spec: Any) -> Key:
        """That the mirror has seen."""
        key = self.rig.pod(schedulingGates=[{"name": each} for each in gates], **spec)
        if notes:
            self.rig.client.merge(POD, key, {"metadata": {"annotations": {"a": "b"}}})
        self._pods[key] = parse.pod(self.rig.client.get(POD, key))
        return key

    def lift(self, key: Key, *, uid: str = "") -> None:
        uid = uid or self.rig.uid(POD, key)
        self.writes.lift_gate(key, uid=uid, gate=GATE, node=NodeName(self.node.name))

    def found(self, key: Key) -> dict[str, Any]:
        body: dict[str, Any] = self.rig.client.get(POD, key)
        return body


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with kube_rig(request.param) as rig:
        yield World(rig)


def test_one_write_and_no_look() -> None:
    with FakeApi() as api:
        world = World(KubeRig(api.client(), "default"))
        key = world.pod("example.com/first", GATE, nodeSelector={"disk": "ssd"})
        uid = world.rig.uid(POD, key)
        before = len(api.requests)

        world.lift(key, uid=uid)

        assert [method for method, _ in api.requests[before:]] == ["PATCH"]
        found = world.found(key)
        assert found["spec"]["schedulingGates"] == [{"name": "example.com/first"}]
        assert found["spec"]["nodeSelector"] == {"disk": "ssd", HOSTNAME: "its-hostname"}
        assert parse.pod(found).pinned


def test_a_pod_without_selector_keeps_its_annotations(world: World) -> None:
    key = world.pod(GATE)
    world.lift(key)
    found = world.found(key)
    assert found["spec"]["nodeSelector"] == {HOSTNAME: "its-hostname"}
    assert found["metadata"]["annotations"] == {"a": "b", "knative-mig.dev/node": "its-hostname"}


def test_one_without_annotations_is_looked_at(world: World) -> None:
    key = world.pod(GATE, notes=False)
    world.lift(key)
    assert parse.pod(world.found(key)).pinned


def test_a_gate_that_has_moved_in_the_list_is_the_one_that_is_lifted(world: World) -> None:
    key = world.pod("example.com/first", GATE, "example.com/last")
    world.rig.client.patch(POD, key, [{"op": "remove", "path": "/spec/schedulingGates/0"}])
    world.lift(key)
    assert world.found(key)["spec"]["schedulingGates"] == [{"name": "example.com/last"}]


def test_a_selector_that_has_grown_meanwhile_keeps_its_entries(world: World) -> None:
    key = world.pod(GATE)
    world.rig.client.merge(POD, key, {"spec": {"nodeSelector": {"disk": "ssd"}}})
    world.lift(key)
    assert world.found(key)["spec"]["nodeSelector"] == {"disk": "ssd", HOSTNAME: "its-hostname"}


def test_what_was_lifted_already_stays_as_it_is(world: World) -> None:
    key = world.pod(GATE)
    world.lift(key)
    once = world.found(key)
    world.lift(key)
    assert world.found(key) == once


def test_a_pod_that_may_not_go_there_keeps_its_gate(world: World) -> None:
    key = world.pod(GATE, nodeSelector={HOSTNAME: "elsewhere"})
    with pytest.raises(Refused):
        world.lift(key)
    assert world.found(key)["spec"]["schedulingGates"] == [{"name": GATE}]


def test_a_successors_gate_is_not_lifted(world: World) -> None:
    key = world.pod(GATE)
    with pytest.raises(ObjectNotFound):
        world.lift(key, uid="another")
    assert world.found(key)["spec"]["schedulingGates"]
