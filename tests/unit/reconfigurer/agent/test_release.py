"""Only the pod that holds a slice may give it back, and only when nothing runs on it."""

import pytest

from knative_mig.core.errors import GpuTimeout
from knative_mig.core.gpu_node import SliceId
from knative_mig.ports.gpu import MigUuid
from reconfigurer.agent.board import Board
from reconfigurer.agent.release import NotTheHolder, ReleaseDesk, ReleaseUnknown, StillInUse
from tests.rigs.agent_worlds import Clock, FakeProcesses, by_key, pod, reading, slice_id, view
from tests.rigs.fake_cluster import FakeMirror

BIG = slice_id("A", "3g.20gb@4")
RELAY, ENGINE, STRANGER = 10, 11, 99


class Rig:
    def __init__(self) -> None:
        self.board, self.on_it, self.left = Board(), [ENGINE], list[tuple[str, int]]()
        self.hangs = False
        self.board.put_reading(reading("A", "3g.20gb@4 as MIG-1 with 11"))
        self.board.put_kubelet(view("A", "3g.20gb@4 by d/chat"), 1.0)
        self.processes = FakeProcesses(pods={"uid-chat": {RELAY, ENGINE}, "uid-other": {STRANGER}})
        self.desk = ReleaseDesk(
            self.board,
            FakeMirror(by_key(pod("d/chat"), pod("d/other"))),
            self.processes,
            self.listed,
            clock=Clock(),
            leaves=lambda mig_uuid, pid: self.left.append((mig_uuid, pid)),
        )

    def listed(self, slice_: SliceId, mig_uuid: MigUuid) -> tuple[int, ...]:
        assert (slice_, mig_uuid) == (BIG, "MIG-1")
        if self.hangs:
            raise GpuTimeout("hung")
        return tuple(self.on_it)

    @property
    def released(self) -> bool:
        return self.board.snapshot().mark(BIG).release is not None


def test_a_slice_whose_engine_has_gone_is_released_by_its_relay_and_again_is_no_error() -> None:
    rig = Rig()
    rig.on_it.clear()
    rig.desk.release(BIG, RELAY)
    assert rig.released
    assert rig.left == [("MIG-1", RELAY)]
    rig.desk.release(BIG, RELAY)


def test_while_the_engine_runs_the_slice_stays_its_own() -> None:
    rig = Rig()
    with pytest.raises(StillInUse, match="pid 11"):
        rig.desk.release(BIG, RELAY)
    assert not rig.released


@pytest.mark.parametrize("pid", [pytest.param(STRANGER, id="another pod's"), pytest.param(12345, id="nobody's")])
def test_whoever_is_not_in_the_pod_that_holds_it_is_refused(pid: int) -> None:
    rig = Rig()
    rig.on_it.clear()
    with pytest.raises(NotTheHolder):
        rig.desk.release(BIG, pid)
    assert not rig.released
    assert rig.left == []


def test_while_the_kubelet_is_away_nobody_is_known_to_be_the_holder() -> None:
    rig = Rig()
    rig.board.kubelet_away()
    with pytest.raises(ReleaseUnknown):
        rig.desk.release(BIG, RELAY)


def test_a_gpu_that_does_not_answer_keeps_the_slice() -> None:
    rig = Rig()
    rig.hangs = True
    with pytest.raises(ReleaseUnknown, match="hung"):
        rig.desk.release(BIG, RELAY)
    assert not rig.released


def test_a_slice_that_was_made_anew_meanwhile_is_not_released() -> None:
    rig = Rig()
    rig.on_it.clear()
    desk = ReleaseDesk(
        rig.board,
        FakeMirror(by_key(pod("d/chat"))),
        rig.processes,
        lambda _slice, _uuid: rig.board.put_reading(reading("A", "3g.20gb@4 as MIG-2")) or (),  # type: ignore[func-returns-value]
        clock=Clock(),
    )
    with pytest.raises(ReleaseUnknown, match="made anew"):
        desk.release(BIG, RELAY)
