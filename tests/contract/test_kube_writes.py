"""What planner and agents write to the API server, and what it refuses: on the fake one and on that of
`dev`, and on a real one by KNATIVE_MIG_TEST_KUBECONFIG.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import EVENT, GPU_NODE, NODE, POD
from knative_mig.adapters.kube.leases import KubeLeases
from knative_mig.adapters.kube.node_statuses import KubeNodeStatuses
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.core.gpu_node import (
    GATE,
    Condition,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    GpuStatus,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import (
    AlreadyExists,
    Conflict,
    EventType,
    GpuNodes,
    Key,
    LeaseRecord,
    Leases,
    NodeSlices,
    NodeStatuses,
    ObjectNotFound,
    PodConditions,
    Pods,
    Refused,
    Subject,
)
from tests.contract.kube_rigs import KINDS, KubeRig, kube_rig

GPU = GpuUuid("GPU-00000000-0000-4000-8000-000000000001")
SMALL, BIG = ProfileName.parse("1g.5gb"), ProfileName.parse("3g.20gb")


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> Iterator[KubeRig]:
    with kube_rig(request.param) as made:
        yield made


@pytest.fixture
def gpu_nodes(rig: KubeRig) -> GpuNodes:
    return KubeGpuNodes(rig.client)


@pytest.fixture
def gpu_node(rig: KubeRig, gpu_nodes: GpuNodes) -> GpuNode:
    return gpu_nodes.ensure(NodeName(rig.node().name))


@pytest.fixture
def pods(rig: KubeRig) -> Pods:
    return KubePods(rig.client)


def spec(token: int, *slices: WantedSlice) -> GpuNodeSpec:
    return GpuNodeSpec(fencing_token=token, gpus=(WantedGpu(uuid=GPU, slices=slices),))


def wanted(profile: ProfileName, start: int, size: int) -> WantedSlice:
    return WantedSlice(profile=profile, start=start, size=size)


class TestGpuNodes:
    def test_is_made_once_empty_and_owned_by_its_node(self, rig: KubeRig, gpu_nodes: GpuNodes) -> None:
        node = rig.node()
        made = gpu_nodes.ensure(NodeName(node.name))
        assert made.spec == GpuNodeSpec()
        assert made.status is None
        assert gpu_nodes.ensure(NodeName(node.name)) == made
        (owner,) = rig.client.get(GPU_NODE, node)["metadata"]["ownerReferences"]
        assert owner["uid"] == rig.uid(NODE, node)

    def test_is_not_made_for_a_node_that_is_not_there(self, rig: KubeRig, gpu_nodes: GpuNodes) -> None:
        with pytest.raises(ObjectNotFound):
            gpu_nodes.ensure(NodeName(f"{rig.tag}-nowhere"))

    def test_a_spec_comes_back_as_it_was_written_and_is_a_new_generation(
        self, gpu_nodes: GpuNodes, gpu_node: GpuNode
    ) -> None:
        asked = spec(3, wanted(SMALL, 0, 1), wanted(BIG, 4, 4))
        after = gpu_nodes.write_spec(gpu_node, asked)
        assert after.spec == asked
        assert after.generation == gpu_node.generation + 1
        assert gpu_nodes.read(gpu_node.name) == after

    def test_of_two_planners_that_saw_the_same_one_writes(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        gpu_nodes.write_spec(gpu_node, spec(1))
        with pytest.raises(Conflict):
            gpu_nodes.write_spec(gpu_node, spec(2))

    def test_a_stale_leader_is_refused_though_it_read_the_newest(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        led_by_another = gpu_nodes.write_spec(gpu_node, spec(7))
        with pytest.raises(Refused, match="fencingToken"):
            gpu_nodes.write_spec(led_by_another, spec(6, wanted(BIG, 4, 4)))
        assert gpu_nodes.read(gpu_node.name).spec == spec(7)

    def test_the_same_leader_writes_again(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        once = gpu_nodes.write_spec(gpu_node, spec(7))
        assert gpu_nodes.write_spec(once, spec(7, wanted(BIG, 4, 4))).spec.gpus[0].slices

    @pytest.mark.parametrize(
        "slices",
        [
            pytest.param((wanted(BIG, 0, 4), wanted(SMALL, 3, 1)), id="overlapping"),
            pytest.param((wanted(BIG, 4, 4), wanted(SMALL, 4, 1)), id="at one start"),
            pytest.param((wanted(SMALL, 0, 1), wanted(SMALL, 0, 1)), id="twice"),
        ],
    )
    def test_two_slices_in_one_place_are_refused(
        self, gpu_nodes: GpuNodes, gpu_node: GpuNode, slices: tuple[WantedSlice, ...]
    ) -> None:
        with pytest.raises(Refused):
            gpu_nodes.write_spec(gpu_node, spec(1, *slices))

    def test_one_gpu_named_twice_is_refused(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        twice = GpuNodeSpec(fencing_token=1, gpus=(WantedGpu(uuid=GPU), WantedGpu(uuid=GPU)))
        with pytest.raises(Refused):
            gpu_nodes.write_spec(gpu_node, twice)

    def test_the_planners_word_and_the_agents_report_leave_each_other_alone(
        self, gpu_nodes: GpuNodes, gpu_node: GpuNode
    ) -> None:
        word = Condition(type="Planned", status=False, reason="AgentSilent", message="silent", since=1_700_000_000)
        ready = Condition(type="Ready", status=True, reason="Ready", since=1_600_000_000)
        said = gpu_nodes.write_planned(gpu_node, word)
        assert (said.planned, said.status, said.generation) == (word, None, gpu_node.generation)
        reported = gpu_nodes.write_status(gpu_node.name, GpuNodeStatus(agent_version="1", conditions=(ready,)))
        assert reported.planned == word
        better = replace(word, status=True, reason="Planned", message="")
        assert gpu_nodes.write_planned(gpu_node, better).status == reported.status
        assert gpu_nodes.read(gpu_node.name).planned == better

    def test_no_word_is_said_of_a_gpu_node_that_was_made_anew(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        word = Condition(type="Planned", status=True, reason="Planned", since=1_700_000_000)
        with pytest.raises(Conflict):
            gpu_nodes.write_planned(replace(gpu_node, uid="another"), word)

    def test_a_status_leaves_the_spec_and_needs_no_version(self, gpu_nodes: GpuNodes, gpu_node: GpuNode) -> None:
        gpu_nodes.write_spec(gpu_node, spec(2, wanted(BIG, 4, 4)))
        status = GpuNodeStatus(
            observed_generation=2,
            agent_version="0.1.0",
            models=(gpu_model("A100-40GB"),),
            gpus=(
                GpuStatus(
                    uuid=GPU,
                    product="NVIDIA A100-SXM4-40GB",
                    model="A100-40GB",
                    health=GpuHealth.HEALTHY,
                    slices=(
                        SliceStatus(
                            key=SliceKey(profile=BIG, start=4),
                            size=4,
                            state=SliceState.IDLE,
                            mig_uuid="MIG-1",
                            idle_since=1_700_000_000.25,
                        ),
                    ),
                ),
            ),
            conditions=(Condition(type="Ready", status=True, reason="AllGood", since=1_700_000_000.0),),
        )
        after = gpu_nodes.write_status(gpu_node.name, status)
        assert after.status == status
        assert after.spec == spec(2, wanted(BIG, 4, 4))
        assert after.generation == 2
        assert gpu_nodes.write_status(gpu_node.name, GpuNodeStatus()).status == GpuNodeStatus()


class TestNodeStatuses:
    def test_sets_the_named_profiles_and_leaves_all_else(self, rig: KubeRig) -> None:
        statuses: NodeStatuses = KubeNodeStatuses(rig.client)
        node = rig.make(NODE, "node", {}, status={"capacity": {"cpu": "4"}, "allocatable": {"cpu": "3"}})
        name = NodeName(node.name)
        statuses.write_slices(name, NodeSlices(capacity={SMALL: 2, BIG: 1}, allocatable={SMALL: 1, BIG: 1}))
        after = statuses.write_slices(name, NodeSlices(capacity={}, allocatable={SMALL: 0}))
        assert after == NodeSlices(capacity={SMALL: 2, BIG: 1}, allocatable={SMALL: 0, BIG: 1})
        assert statuses.read_slices(name) == after
        assert rig.client.get(NODE, node)["status"]["allocatable"]["cpu"] == "3"


class TestPods:
    def test_deletes_the_one_of_that_uid(self, rig: KubeRig, pods: Pods) -> None:
        key = rig.pod()
        pods.delete(key, uid=rig.uid(POD, key))
        with pytest.raises(ObjectNotFound):
            rig.client.get(POD, key)

    def test_a_successor_of_the_same_name_is_not_deleted_or_evicted(self, rig: KubeRig, pods: Pods) -> None:
        key = rig.pod()
        for write in (pods.delete, pods.evict):
            with pytest.raises(ObjectNotFound):
                write(key, uid="another")
        assert rig.client.get(POD, key)

    def test_evicts(self, rig: KubeRig, pods: Pods) -> None:
        key = rig.pod()
        pods.evict(key, uid=rig.uid(POD, key))
        with pytest.raises(ObjectNotFound):
            rig.client.get(POD, key)

    def test_ends_a_pod_on_a_node_in_its_own_grace_or_in_a_shorter_one(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node().name
        for number, write in enumerate((pods.evict, pods.delete)):
            own, short = (rig.pod(f"{each}-{number}", nodeName=node) for each in ("own", "short"))
            write(own, uid=rig.uid(POD, own))
            write(short, uid=rig.uid(POD, short), grace_s=1)
            told = [rig.client.get(POD, each)["metadata"]["deletionGracePeriodSeconds"] for each in (own, short)]
            assert told == [5, 1]

    def test_lifts_its_gate_and_names_the_node_by_its_hostname_in_one_write(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node(**{"kubernetes.io/hostname": "by-another-name"})
        key = rig.pod(schedulingGates=[{"name": "example.com/first"}, {"name": GATE}], nodeSelector={"disk": "ssd"})
        pods.lift_gate(key, uid=rig.uid(POD, key), gate=GATE, node=NodeName(node.name))
        found = rig.client.get(POD, key)["spec"]
        assert found["schedulingGates"] == [{"name": "example.com/first"}]
        assert found["nodeSelector"] == {"disk": "ssd", "kubernetes.io/hostname": "by-another-name"}
        assert parse.pod(rig.client.get(POD, key)).pinned

    def test_lifts_it_where_there_was_no_selector_and_again_tells_what_it_found(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node()
        key = rig.pod(schedulingGates=[{"name": GATE}])
        uid = rig.uid(POD, key)
        assert pods.lift_gate(key, uid=uid, gate=GATE, node=NodeName(node.name)) is None
        once = rig.client.get(POD, key)
        assert once["spec"]["nodeSelector"] == {"kubernetes.io/hostname": node.name}
        other = rig.node("other", **{"kubernetes.io/hostname": "other"})
        found = pods.lift_gate(key, uid=uid, gate=GATE, node=NodeName(other.name))
        assert found == parse.pod(once)
        assert rig.client.get(POD, key) == once

    def test_says_beside_its_other_annotations_that_it_has_named_the_node(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node()
        key = rig.pod(schedulingGates=[{"name": GATE}])
        rig.client.merge(POD, key, {"metadata": {"annotations": {"a": "b"}}})
        pods.lift_gate(key, uid=rig.uid(POD, key), gate=GATE, node=NodeName(node.name))
        found = rig.client.get(POD, key)["metadata"]["annotations"]
        assert found == {"a": "b", "knative-mig.dev/node": node.name}

    def test_a_node_that_its_user_has_named_stays_its_users(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node()
        key = rig.pod(schedulingGates=[{"name": GATE}], nodeSelector={"kubernetes.io/hostname": node.name})
        pods.lift_gate(key, uid=rig.uid(POD, key), gate=GATE, node=NodeName(node.name))
        found = parse.pod(rig.client.get(POD, key))
        assert (found.gates, found.node_selector) == ((), {"kubernetes.io/hostname": node.name})
        assert not found.pinned

    def test_keeps_the_gate_of_a_pod_that_may_not_go_there(self, rig: KubeRig, pods: Pods) -> None:
        node = rig.node()
        key = rig.pod(schedulingGates=[{"name": GATE}], nodeSelector={"kubernetes.io/hostname": "elsewhere"})
        with pytest.raises(Refused):
            pods.lift_gate(key, uid=rig.uid(POD, key), gate=GATE, node=NodeName(node.name))
        assert rig.client.get(POD, key)["spec"]["schedulingGates"] == [{"name": GATE}]

    def test_a_successors_gate_is_not_lifted(self, rig: KubeRig, pods: Pods) -> None:
        key = rig.pod(schedulingGates=[{"name": GATE}])
        with pytest.raises(ObjectNotFound):
            pods.lift_gate(key, uid="another", gate=GATE, node=None)
        assert rig.client.get(POD, key)["spec"]["schedulingGates"]


class TestPodConditions:
    WAITS = Condition(
        type="knative-mig.dev/Slice", status=False, reason="NoFreePlace", message="all are busy", since=1_700_000_000.0
    )

    def test_stands_beside_the_others_and_in_its_own_place(self, rig: KubeRig) -> None:
        conditions: PodConditions = KubePods(rig.client)
        key = rig.pod()
        theirs = {"type": "example.com/Other", "status": "True", "reason": "Theirs"}
        rig.client.merge_strategically(
            POD, key, {"status": {"phase": "Pending", "conditions": [theirs]}}, subresource="status"
        )
        uid = rig.uid(POD, key)
        conditions.write_condition(key, uid=uid, condition=self.WAITS)
        assert parse.pod(rig.client.get(POD, key)).told == self.WAITS
        given = replace(self.WAITS, status=True, reason="SliceGiven", message="on n1", since=1_700_000_009.0)
        conditions.write_condition(key, uid=uid, condition=given)
        found = rig.client.get(POD, key)
        assert parse.pod(found).told == given
        kinds = [each["type"] for each in found["status"]["conditions"]]
        assert (kinds.count("knative-mig.dev/Slice"), kinds.count("example.com/Other")) == (1, 1)
        assert found["status"]["phase"] == "Pending"

    def test_again_the_same_is_no_change(self, rig: KubeRig) -> None:
        conditions: PodConditions = KubePods(rig.client)
        key = rig.pod()
        uid = rig.uid(POD, key)
        conditions.write_condition(key, uid=uid, condition=self.WAITS)
        once = rig.client.get(POD, key)
        conditions.write_condition(key, uid=uid, condition=self.WAITS)
        assert rig.client.get(POD, key) == once

    def test_is_not_a_successors(self, rig: KubeRig) -> None:
        conditions: PodConditions = KubePods(rig.client)
        key = rig.pod()
        for gone in (key, Key(key.namespace, f"{rig.tag}-nobody")):
            with pytest.raises(ObjectNotFound):
                conditions.write_condition(gone, uid="another", condition=self.WAITS)
        assert parse.pod(rig.client.get(POD, key)).told is None

    def test_of_our_own_kinds_no_list_is_merged_by_keys(self, rig: KubeRig, gpu_node: GpuNode) -> None:
        with pytest.raises(Refused):
            rig.client.merge_strategically(GPU_NODE, Key("", gpu_node.name), {"status": {}}, subresource="status")


class TestLeases:
    RECORD = LeaseRecord(
        holder="planner-1",
        duration_s=15.0,
        acquired=1_700_000_000.0,
        renewed=1_700_000_001.5,
        transitions=1,
        address="10.0.0.1:8080",
        fencing_token=4,
    )

    def test_is_made_read_and_renewed(self, rig: KubeRig) -> None:
        leases: Leases = KubeLeases(rig.client)
        key = Key(rig.namespace, rig.tag)
        assert leases.read(key) is None
        made = leases.write(key, self.RECORD)
        assert replace(made, resource_version="") == self.RECORD
        renewed = leases.write(key, replace(made, renewed=1_700_000_009.0))
        assert leases.read(key) == renewed
        assert renewed.renewed == 1_700_000_009.0

    def test_of_two_that_want_it_one_has_it(self, rig: KubeRig) -> None:
        leases: Leases = KubeLeases(rig.client)
        key = Key(rig.namespace, rig.tag)
        made = leases.write(key, self.RECORD)
        with pytest.raises(AlreadyExists):
            leases.write(key, self.RECORD)
        leases.write(key, replace(made, holder="planner-2"))
        with pytest.raises(Conflict):
            leases.write(key, replace(made, renewed=1_700_000_009.0))

    def test_a_released_one_has_no_holder(self, rig: KubeRig) -> None:
        leases: Leases = KubeLeases(rig.client)
        made = leases.write(Key(rig.namespace, rig.tag), self.RECORD)
        assert not leases.write(Key(rig.namespace, rig.tag), replace(made, holder="")).holder


class TestEvents:
    def test_what_is_told_again_is_one_event_with_a_count(self, rig: KubeRig) -> None:
        key = rig.pod()
        events = KubeEvents(rig.client, component="knative-mig-agent", instance="node-1")
        subject = Subject(api_version="v1", kind="Pod", namespace=key.namespace, name=key.name, uid=rig.uid(POD, key))
        events.record(subject, EventType.WARNING, "SliceBroken", "XID 94")
        events.record(subject, EventType.WARNING, "SliceBroken", "XID 94")
        assert events.write_next()
        events.record(subject, EventType.WARNING, "SliceBroken", "XID 94")
        events.record(subject, EventType.NORMAL, "Evicted", "m" * 5000)
        while events.write_next():
            pass
        about = {"fieldSelector": f"involvedObject.name={key.name}"}
        found = {each["reason"]: each for each in rig.client.page(EVENT, key.namespace, about).items}
        assert {reason: each["count"] for reason, each in found.items()} == {"SliceBroken": 3, "Evicted": 1}
        assert found["Evicted"]["type"] == "Normal"
        assert events.lost == 0

    def test_an_event_about_what_has_no_namespace_is_written_too(self, rig: KubeRig, gpu_node: GpuNode) -> None:
        events = KubeEvents(rig.client, component="knative-mig-agent")
        subject = Subject(
            api_version=GPU_NODE.group, kind="GpuNode", namespace="", name=gpu_node.name, uid=gpu_node.uid
        )
        events.record(subject, EventType.NORMAL, "JournalRebuilt", "it was torn")
        assert events.write_next()
        assert events.lost == 0
