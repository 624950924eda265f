"""What a GPU's loop makes of XIDs, of calls that fail, and of a GPU that needs a reset: quarantine, and healing."""

from uuid import UUID

import pytest

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, SimulatedGpus, open_store
from knative_mig.core.errors import GpuLost
from knative_mig.core.gpu_node import GpuHealth
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice
from reconfigurer.agent.gpu_loop import Kind
from tests.rigs.simulated_node import Killed, Node, Pod

TWO = ("3g.20gb@0", "3g.20gb@4")
HALF = ProfileName.parse("3g.20gb")


@pytest.fixture
def node() -> Node:
    return Node(open_store("1xA100-40GB", new_uuid=lambda: UUID(int=1)))


def told_of_health(node: Node) -> list[tuple[Kind, str]]:
    """What becomes an Event on the GpuNode."""
    return [(each.kind, each.why) for each in node.happened if each.kind in {Kind.QUARANTINED, Kind.HEALED}]


class TestHealth:
    def test_that_events_cannot_be_heard_is_said_once_until_they_can(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            node.controls.inject(Fault(call=Call.WAIT_FOR_EVENT, harm=Harm.FAIL, nth=None, error=GpuLost))
            node.settle(4)
            node.controls.clear_faults()
            node.settle(4)
        assert caplog.text.count("cannot be heard") == 2

    def test_an_applications_error_changes_nothing(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.controls.raise_xid(node.uuid, 43, gi_id=1)
        node.settle(3)
        assert all(node.believed.values())
        assert node.kinds[-1] is Kind.XID

    def test_a_broken_slice_is_made_anew_when_its_pod_has_gone(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        pod = node.run("3g.20gb")
        node.start(pod)
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(4)
        assert list(node.believed.values()) == [False]
        assert pod.mig_uuid in node.mig_uuids()

        node.end(pod)
        node.settle(8)
        assert node.slices() == ["3g.20gb@4"]
        assert pod.mig_uuid not in node.mig_uuids()
        assert list(node.believed.values()) == [True]

    def test_a_broken_slice_of_a_gpu_that_the_spec_does_not_name_goes_when_its_pod_has_gone(self, node: Node) -> None:
        driver = SimulatedGpus(node.store)
        for start in (0, 4):
            create_slice(driver, node.uuid, ProfileName.parse("3g.20gb"), start)
        node.want_gpus()
        node.settle(4)
        pod = node.run("3g.20gb")
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(8)
        assert node.slices() == list(TWO)
        assert pod.mig_uuid in node.mig_uuids()

        node.end(pod)
        node.settle(8)
        assert node.slices() == ["3g.20gb@4"]  # the other one is as it was
        assert node.board.snapshot().progress[node.uuid].settled
        assert not [mark for mark in node.board.snapshot().marks.values() if mark.broken]

    def test_what_is_half_made_on_such_a_gpu_stays_beside_a_broken_slice(self, node: Node) -> None:
        driver = SimulatedGpus(node.store)
        create_slice(driver, node.uuid, ProfileName.parse("3g.20gb"), 0)
        driver.create_gpu_instance(node.uuid, ProfileName.parse("3g.20gb"), 4)
        node.settle(4)
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(8)
        assert node.slices() == ["3g.20gb@0", "3g.20gb@4 half made"]  # no spec is known: another owner may be here
        node.want_gpus()
        node.settle(8)
        assert node.slices() == ["3g.20gb@4 half made"]

    def test_a_quarantined_gpu_is_left_alone_until_it_has_been_reset(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.controls.raise_xid(node.uuid, 95)
        node.want("7g.40gb@0")
        node.settle(8)
        assert node.slices() == ["3g.20gb@4"]
        reading = node.board.snapshot().readings[node.uuid]
        assert (reading.health, reading.why) == (GpuHealth.RESET_REQUIRED, "XID 95: uncontained ECC error")
        assert list(node.believed.values()) == [False]

        node.controls.reset(node.uuid)
        node.settle(4)
        assert node.slices() == ["7g.40gb@0"]
        assert Kind.HEALED in node.kinds

    def test_a_quarantined_gpu_without_slices_is_used_again_after_its_reset(self, node: Node) -> None:
        node.settle(1)
        node.controls.raise_xid(node.uuid, 95)
        node.controls.want_reset(node.uuid)
        node.want("7g.40gb@0")
        node.settle(8)
        assert node.slices() == []
        node.controls.reset(node.uuid)
        node.settle(4)
        assert node.slices() == ["7g.40gb@0"]
        assert [each for each in node.kinds if each in {Kind.QUARANTINED, Kind.HEALED}] == [
            Kind.QUARANTINED,
            Kind.HEALED,
        ]

    def test_where_the_driver_wants_no_reset_a_gpu_without_slices_is_used_again_after_a_while(self, node: Node) -> None:
        node.settle(1)
        node.controls.raise_xid(node.uuid, 48)
        node.want("7g.40gb@0")
        node.settle(20)
        assert node.slices() == []
        node.settle(20)
        assert node.slices() == ["7g.40gb@0"]

    def test_a_gpu_that_wants_a_reset_is_left_alone_by_a_restarted_agent_too(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.controls.want_reset(node.uuid)
        node.want("7g.40gb@0")
        node.restart_agent()
        node.settle(8)
        assert node.slices() == ["3g.20gb@4"]
        reading = node.board.snapshot().readings[node.uuid]
        assert (reading.health, reading.why) == (GpuHealth.RESET_REQUIRED, "the driver says so")
        assert told_of_health(node)[-1] == (Kind.QUARANTINED, "it is ResetRequired: the driver says so")
        node.controls.reset(node.uuid)
        node.settle(4)
        assert node.slices() == ["7g.40gb@0"]

    def test_a_lost_gpu_keeps_its_devices_unhealthy_and_comes_back(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.controls.lose(node.uuid)
        node.settle(3)
        lost = node.board.snapshot().readings[node.uuid]
        assert lost.health is GpuHealth.LOST
        assert list(node.believed.values()) == [False]
        assert told_of_health(node) == [(Kind.QUARANTINED, f"it is Lost: {lost.why}")]

        node.controls.reset(node.uuid)
        node.settle(4)
        assert node.slices() == ["3g.20gb@4"]
        assert list(node.believed.values()) == [True]
        assert told_of_health(node)[1:] == [(Kind.HEALED, f"it is well again after it was Lost: {lost.why}")]

    def test_a_change_of_mode_that_is_pending_is_waited_for(self, node: Node) -> None:
        node.controls.need_reset_for_mode(node.uuid)
        SimulatedGpus(node.store).set_mig_mode(node.uuid, enabled=False)
        node.want("3g.20gb@4")
        node.settle(3)
        assert node.slices() == []
        assert node.board.snapshot().readings[node.uuid].health is GpuHealth.MODE_PENDING

    def test_a_slice_that_somebody_else_destroyed_is_made_anew(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.controls.reset(node.uuid)
        node.settle(4)
        assert node.slices() == ["3g.20gb@4"]
        assert set(node.injection.published.values()) == node.mig_uuids()


def health_of(node: Node) -> tuple[GpuHealth, str]:
    reading = node.board.snapshot().readings[node.uuid]
    return reading.health, reading.why


class TestRestartedAgents:
    """An XID is raised once: what it said of a slice or a GPU is known to the next agent, until it is true no more."""

    @pytest.fixture
    def pod(self, node: Node) -> Pod:
        """Nothing makes it go: a disruption budget holds it up, say."""
        node.want("3g.20gb@4")
        node.settle(4)
        pod = node.run("3g.20gb")
        node.settle(2)
        return pod

    def broken(self, node: Node) -> dict[str, str]:
        return {f"{each.profile}@{each.start}": mark.broken for each, mark in node.board.snapshot().marks.items()}

    def test_a_broken_slice_is_broken_until_it_is_made_anew(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(2)
        node.restart_agent()
        node.step()
        assert self.broken(node) == {"3g.20gb@4": "XID 94: contained ECC error"}
        node.settle(4)
        assert list(node.believed.values()) == [False]
        assert pod.mig_uuid in node.mig_uuids()

        node.end(pod)
        node.settle(8)
        assert pod.mig_uuid not in node.mig_uuids()
        assert node.ill.slices == {}
        node.restart_agent()
        node.settle(4)
        assert list(node.believed.values()) == [True]

    @pytest.mark.parametrize(("xid", "gi_id", "write"), [(94, 1, "broke"), (95, None, "quarantined")])
    def test_nothing_follows_from_an_xid_before_it_is_on_the_disk(
        self, node: Node, pod: Pod, xid: int, gi_id: int | None, write: str
    ) -> None:
        def killed(what: str) -> None:
            assert what == write
            assert Kind.XID not in node.kinds
            assert node.board.refusal(pod.slice_id) == ""
            raise Killed

        node.ill.at = killed
        node.controls.raise_xid(node.uuid, xid, gi_id=gi_id)
        with pytest.raises(Killed):
            node.settle(2)
        node.ill.at = lambda _: None
        node.restart_agent()
        node.step()
        assert f"XID {xid}" in node.board.refusal(pod.slice_id)

    def test_a_slice_that_was_made_anew_while_no_agent_ran_is_well(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(2)
        node.stop(pod)
        node.controls.reset(node.uuid)
        create_slice(SimulatedGpus(node.store), node.uuid, HALF, 4)
        node.restart_agent()
        node.settle(2)
        assert self.broken(node).get("3g.20gb@4", "") == ""
        assert node.ill.slices == {}

    def test_one_on_a_gpu_that_does_not_answer_at_the_start_is_broken_when_it_does(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.settle(2)
        node.controls.inject(Fault(call=Call.INVENTORY, harm=Harm.FAIL, nth=None, error=GpuLost))
        node.restart_agent()
        node.settle(2)
        assert health_of(node)[0] is GpuHealth.LOST
        node.controls.clear_faults()
        node.settle(4)
        assert health_of(node)[0] is GpuHealth.HEALTHY
        assert "XID 94" in node.board.refusal(pod.slice_id)

    def test_a_gpu_stays_in_quarantine_until_it_has_been_reset(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 95)
        node.settle(2)
        for _ in range(2):
            node.restart_agent()
            node.settle(40)
            assert health_of(node) == (GpuHealth.RESET_REQUIRED, "XID 95: uncontained ECC error")
            assert list(node.believed.values()) == [False]

        node.end(pod)
        node.controls.reset(node.uuid)
        node.settle(6)
        assert node.slices() == ["3g.20gb@4"]
        assert node.ill.gpus == {}
        node.restart_agent()
        node.settle(4)
        assert health_of(node)[0] is GpuHealth.HEALTHY

    def test_it_lasts_as_long_as_a_slice_that_was_there_also_one_that_was_not_read_before(
        self, node: Node, pod: Pod
    ) -> None:
        create_slice(SimulatedGpus(node.store), node.uuid, HALF, 0)
        node.controls.raise_xid(node.uuid, 95)
        node.settle(2)
        assert node.ill.gpus[node.uuid].mig_uuids == node.mig_uuids() > {pod.mig_uuid}

    def test_one_that_was_reset_while_no_agent_ran_is_used_again(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 95)
        node.settle(2)
        node.end(pod)
        node.controls.reset(node.uuid)
        node.restart_agent()
        node.settle(6)
        assert node.slices() == ["3g.20gb@4"]
        assert (health_of(node)[0], node.ill.gpus) == (GpuHealth.HEALTHY, {})

    def test_one_without_slices_is_used_again_a_while_after_the_start(self, node: Node) -> None:
        node.settle(1)
        node.controls.raise_xid(node.uuid, 48)
        node.settle(20)
        node.restart_agent()
        node.want("7g.40gb@0")
        node.settle(20)
        assert node.slices() == []
        node.settle(20)
        assert node.slices() == ["7g.40gb@0"]

    def test_nothing_of_another_boot_counts(self, node: Node, pod: Pod) -> None:
        node.controls.raise_xid(node.uuid, 94, gi_id=1)
        node.controls.raise_xid(node.uuid, 95)
        node.settle(2)
        node.end(pod)
        node.controls.reboot()
        node.boot = 2
        node.restart_agent()
        node.settle(6)
        assert node.slices() == ["3g.20gb@4"]
        assert list(node.believed.values()) == [True]

    def test_it_is_written_once_and_not_for_each_reading(self, node: Node, pod: Pod) -> None:
        for xid, gi_id in ((94, 1), (94, 1), (95, None), (95, None)):
            node.controls.raise_xid(node.uuid, xid, gi_id=gi_id)
        node.settle(30)
        assert node.ill.writes == 2
        assert pod.mig_uuid in node.mig_uuids()
