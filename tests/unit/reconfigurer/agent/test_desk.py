"""The desk gives a container its slice, and refuses one that is not, or is no longer, its own."""

from pathlib import Path

import pytest

from knative_mig.core.agent.readings import GpuReading
from knative_mig.core.gpu_node import SliceId
from knative_mig.ports.kubelet import AllocationRefused, DeviceId, plain_name
from reconfigurer.agent.board import Board
from reconfigurer.agent.desk import Desk, Injection
from reconfigurer.agent.slice_uuids import SliceUuids
from tests.rigs.agent_worlds import Clock, reading, slice_id, view

BIG = slice_id("A", "3g.20gb@4")
DEVICE = (DeviceId(str(BIG)),)
ENV = Injection(cdi_name=None, socket_dir=None)


class Rig:
    def __init__(self, folder: Path, *readings: GpuReading, injection: Injection = ENV) -> None:
        self.board, self.woken = Board(), 0
        for each in readings:
            self.board.put_reading(each)
        self.path = folder / "handed-out.json"
        self.desk = Desk(self.board, SliceUuids(self.path), injection, clock=Clock(), wake=self._count)

    def _count(self) -> None:
        self.woken += 1


def test_a_container_is_told_what_its_slice_is(tmp_path: Path) -> None:
    handout = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1")).desk.hand_out(DEVICE)
    assert handout.environment == {
        "KNATIVE_MIG_SLICE": "A/3g.20gb/4",
        "KNATIVE_MIG_PROFILE": "3g.20gb",
        "KNATIVE_MIG_COMPUTE_SHARE": "3/7",
        "KNATIVE_MIG_MEMORY_MIB": "19968",
        "KNATIVE_MIG_SM": "42",
        "NVIDIA_VISIBLE_DEVICES": "MIG-1",
    }
    assert (handout.cdi_devices, handout.mounts) == ((), ())


def test_with_cdi_the_uuid_is_in_the_file_that_the_runtime_reads_and_not_in_the_answer(tmp_path: Path) -> None:
    def socket_dir(each: SliceId) -> Path:
        return Path("/run/slices") / plain_name(each)

    injection = Injection(cdi_name=lambda each: f"knative-mig.dev/slice={plain_name(each)}", socket_dir=socket_dir)
    handout = Rig(tmp_path, reading("A", "3g.20gb@4"), injection=injection).desk.hand_out(DEVICE)
    assert handout.cdi_devices == ("knative-mig.dev/slice=A-3g.20gb-4",)
    assert "NVIDIA_VISIBLE_DEVICES" not in handout.environment
    (mount,) = handout.mounts
    assert (mount.host_path, mount.container_path) == ("/run/slices/A-3g.20gb-4", "/var/run/knative-mig/slice")


def test_a_container_that_asks_for_two_slices_is_refused_and_both_may_go_to_others(tmp_path: Path) -> None:
    """It would see one of them: of two CDI files that set NVIDIA_VISIBLE_DEVICES the last one wins."""
    rig = Rig(tmp_path, reading("A", "1g.5gb@0 as MIG-1", "1g.5gb@1 as MIG-2"))
    both = tuple(DeviceId(str(slice_id("A", words))) for words in ("1g.5gb@0", "1g.5gb@1"))
    with pytest.raises(AllocationRefused, match=r"^a container asks for 2 slices of 1g.5gb: it can have one; ask for"):
        rig.desk.hand_out(both)
    assert [rig.board.withdraw(slice_id("A", words), 1001.0) for words in ("1g.5gb@0", "1g.5gb@1")] == [True, True]


def test_what_is_not_there_withdrawn_or_broken_is_refused_with_the_reason(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4", "1g.5gb@0", "1g.5gb@1 half made"))
    rig.board.withdraw(BIG, 1.0)
    rig.board.break_slice(slice_id("A", "1g.5gb@0"), "XID 94")
    for device, why in [
        ("A/7g.40gb/0", "is not there"),
        ("A/3g.20gb/4", "taken back"),
        ("A/1g.5gb/0", "XID 94"),
        ("A/1g.5gb/1", "half made"),
        ("not an id", "is not the id of a slice"),
    ]:
        with pytest.raises(AllocationRefused, match=why):
            rig.desk.hand_out((DeviceId(device),))


def test_a_slice_that_is_handed_out_is_not_withdrawn_before_its_holder_had_time_to_show(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4"))
    rig.desk.hand_out(DEVICE)
    assert not rig.board.withdraw(BIG, 1001.0)


def test_a_container_restarts_on_the_slice_that_it_was_given(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1"))
    rig.desk.hand_out(DEVICE)
    rig.desk.before_start(DEVICE)
    assert rig.desk.changed() == {}


def test_a_container_does_not_restart_on_a_slice_that_was_made_anew_and_its_pod_is_noted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1"))
    rig.desk.hand_out(DEVICE)
    rig.board.put_reading(reading("A", "3g.20gb@4 as MIG-2"))
    with pytest.raises(AllocationRefused, match="was MIG-1 when it was handed out, and has been made anew as MIG-2"):
        rig.desk.before_start(DEVICE)
    assert (list(rig.desk.changed()), rig.woken) == ([BIG], 1)
    rig.desk.settled(BIG)
    assert rig.desk.changed() == {}


def test_the_restarted_agent_still_knows_what_was_handed_out(tmp_path: Path) -> None:
    Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1")).desk.hand_out(DEVICE)
    Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1")).desk.before_start(DEVICE)
    with pytest.raises(AllocationRefused, match="made anew"):
        Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-2")).desk.before_start(DEVICE)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="torn"),
        pytest.param(lambda text: text.replace("MIG-1", "MIG-9"), id="edited"),
        pytest.param(lambda text: text.replace('"version": 1', '"version": 2'), id="of a newer version"),
        pytest.param(lambda _: "[]", id="of another shape"),
        pytest.param(lambda _: "", id="empty"),
    ],
)
def test_after_damage_a_slice_with_a_process_on_it_is_proof_and_one_without_is_not(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    small = slice_id("A", "1g.5gb@0")
    before = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1", "1g.5gb@0 as MIG-2"))
    for each in (BIG, small):
        before.desk.hand_out((DeviceId(str(each)),))
    before.path.write_text(damage(before.path.read_text()))
    after = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1 with 77", "1g.5gb@0 as MIG-2"))
    after.desk.adopt()
    after.desk.before_start(DEVICE)
    with pytest.raises(AllocationRefused, match="cannot be shown"):
        after.desk.before_start((DeviceId(str(small)),))
    assert (tmp_path / "handed-out.json.damaged").exists()


def test_a_full_disk_does_not_fail_the_pod(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1"))
    (tmp_path / "handed-out.json.new").mkdir()  # nothing can be written there
    rig.desk.hand_out(DEVICE)
    rig.desk.before_start(DEVICE)


def test_a_pod_that_released_its_slice_does_not_restart_on_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, reading("A", "3g.20gb@4 as MIG-1"))
    rig.desk.hand_out(DEVICE)
    rig.board.put_kubelet(view("A", "3g.20gb@4 by d/relay"), 1000.0)
    assert rig.board.release(BIG, "MIG-1", 1001.0)
    with pytest.raises(AllocationRefused, match="was released"):
        rig.desk.before_start(DEVICE)
