"""What the threads of an agent tell each other, and the questions that are answered and noted in one step."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from knative_mig.core.agent.readings import DeviceId, GpuReading, KubeletView, Release, SeenSlice, device_id
from knative_mig.core.gpu_node import GpuHealth, GpuNode, GpuNodeStatus, Holder, SliceId
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from reconfigurer.agent.board import Board, Journalled, NotToBeGiven, Progress, slices_or_kubelet
from reconfigurer.agent.slice_uuids import SliceUuids

MODEL = gpu_model("A100-40GB")
A = GpuUuid("GPU-a")
NAME = ProfileName.parse("3g.20gb")
SLICE = SliceId(gpu=A, profile=NAME, start=4)
SEEN = SeenSlice(place=MODEL.place(MODEL.profile(NAME), 4), gi_id=2, ci_id=0, mig_uuid="MIG-1", pids=())
GPU = GpuReading(uuid=A, read_at=0.0, model=MODEL, slices=(SEEN,))


@pytest.fixture
def board() -> Board:
    made = Board()
    made.put_reading(GPU)
    return made


class TestWaiting:
    def test_news_end_it_at_once(self, board: Board) -> None:
        known = board.snapshot()
        writer = Thread(target=lambda: board.withdraw(SLICE, 1.0))
        writer.start()
        assert board.wait(known, 60.0).version > known.version
        writer.join()

    def test_what_was_known_is_no_news(self, board: Board) -> None:
        known = board.snapshot()
        board.put_reading(replace(GPU, read_at=5.0))
        board.put_spec(None)
        board.restore(SLICE)
        assert board.wait(known, 0.0).version == known.version
        assert board.snapshot().readings[A].read_at == 5.0

    def test_the_agents_own_report_comes_back_beside_the_spec_and_is_no_news(self, board: Board) -> None:
        node = GpuNode(name=NodeName("n1"), generation=3, resource_version="7")
        board.put_spec(node)
        known = board.snapshot()
        board.put_spec(replace(node, resource_version="8", status=GpuNodeStatus(observed_generation=3)))
        assert board.wait(known, 0.0).version == known.version
        board.put_spec(replace(node, resource_version="9", generation=4))
        assert board.wait(known, 0.0).version > known.version

    def test_each_view_of_the_kubelet_is_news_as_it_is_newer(self, board: Board) -> None:
        board.put_kubelet(KubeletView(), 1.0)
        known = board.snapshot()
        board.put_kubelet(KubeletView(), 2.0)
        assert board.wait(known, 0.0).version > known.version

    def test_who_waits_for_slices_is_not_woken_by_what_is_about_something_else(self, board: Board) -> None:
        known = board.snapshot()

        def write() -> None:
            board.put_journal(Journalled(open_intents=1))
            board.put_progress(A, Progress(doing="something"))
            board.withdraw(SLICE, 1.0)

        writer = Thread(target=write)
        writer.start()
        assert board.wait(known, 60.0, slices_or_kubelet).mark(SLICE).withdrawn_since == 1.0
        writer.join()

    def test_what_came_before_the_waiting_began_ends_it_at_once(self, board: Board) -> None:
        known = board.snapshot()
        board.withdraw(SLICE, 1.0)
        board.put_journal(Journalled(open_intents=1))
        assert board.wait(known, 60.0, slices_or_kubelet).journal.open_intents == 1

    def test_each_who_waits_is_woken_by_what_is_news_to_them(self, board: Board) -> None:
        known, woken = board.snapshot(), Queue[str]()
        waiting = [
            Thread(target=lambda: woken.put(f"slices {board.wait(known, 60.0, slices_or_kubelet).version}")),
            Thread(target=lambda: woken.put(f"anything {board.wait(known, 60.0).version}")),
        ]
        for each in waiting:
            each.start()
        board.put_processes_verified(verified=True)
        assert woken.get(timeout=60.0) == f"anything {known.version + 1}"
        board.withdraw(SLICE, 1.0)
        assert woken.get(timeout=60.0) == f"slices {known.version + 2}"
        for each in waiting:
            each.join()

    def test_a_snapshot_stays_as_it_was(self, board: Board) -> None:
        before = board.snapshot()
        board.withdraw(SLICE, 1.0)
        board.put_reading(replace(GPU, slices=()))
        assert before.mark(SLICE).withdrawn_since is None
        assert before.readings[A] == GPU


class TestHandingOut:
    def test_the_slice_that_is_there_is_given_by_its_uuid(self, board: Board) -> None:
        assert board.hand_out(SLICE, 1.0) == "MIG-1"

    @pytest.mark.parametrize(
        ("gpu", "says"),
        [
            (replace(GPU, slices=()), "is not there"),
            (replace(GPU, slices=(replace(SEEN, mig_uuid=None),)), "is half made"),
            (replace(GPU, slices=(replace(SEEN, not_injectable="no space"),)), "no space"),
            (replace(GPU, health=GpuHealth.LOST, why="XID 79"), "its GPU is Lost: XID 79"),
        ],
        ids=["gone", "half", "uninjectable", "gpu"],
    )
    def test_one_that_nobody_can_use_is_refused(self, board: Board, gpu: GpuReading, says: str) -> None:
        board.put_reading(gpu)
        with pytest.raises(NotToBeGiven, match=says):
            board.hand_out(SLICE, 1.0)
        assert says in board.refusal(SLICE)

    def test_a_withdrawn_one_is_refused_until_it_is_given_back(self, board: Board) -> None:
        assert board.withdraw(SLICE, 1.0)
        with pytest.raises(NotToBeGiven, match="is being taken back"):
            board.hand_out(SLICE, 2.0)
        board.restore(SLICE)
        assert board.hand_out(SLICE, 3.0) == "MIG-1"

    def test_one_that_was_just_given_is_not_withdrawn_before_its_holder_had_time_to_show(self, board: Board) -> None:
        board.hand_out(SLICE, 1.0)
        assert not board.withdraw(SLICE, 5.9)
        assert board.snapshot().mark(SLICE).withdrawn_since is None
        assert board.withdraw(SLICE, 6.0)

    def test_a_broken_one_is_refused_for_its_first_reason_until_it_is_made_anew(self, board: Board) -> None:
        board.break_slice(SLICE, "XID 94")
        board.break_slice(SLICE, "XID 13")
        with pytest.raises(NotToBeGiven, match="XID 94"):
            board.hand_out(SLICE, 1.0)
        board.forget(SLICE)
        assert board.refusal(SLICE) == ""

    def test_one_with_a_process_of_no_pod_is_refused_until_that_has_gone_or_a_pod_shows(self, board: Board) -> None:
        held = KubeletView(holders={device_id(SLICE): (Holder(namespace="d", pod="chat", container="c"),)})
        over: tuple[Callable[[], None], ...] = (
            lambda: board.put_of_no_pod(A, frozenset()),
            lambda: board.put_kubelet(held, 1.0),
        )
        for ends in over:
            board.put_of_no_pod(A, frozenset({SLICE}))
            with pytest.raises(NotToBeGiven, match="no pod owns"):
                board.hand_out(SLICE, 1.0)
            ends()
            assert board.refusal(SLICE) == ""

    def test_it_is_handed_out_or_withdrawn_and_never_both(self, board: Board) -> None:
        for _ in range(50):
            board.forget(SLICE)
            got: list[str] = []

            def take(got: list[str] = got) -> None:
                with suppress(NotToBeGiven):
                    got.append(board.hand_out(SLICE, 1.0))

            taker = Thread(target=take)
            taker.start()
            withdrawn = board.withdraw(SLICE, 1.0)
            taker.join()
            assert withdrawn != bool(got)


class TestReleasing:
    def test_a_released_one_is_refused_until_its_pod_is_dropped(self, board: Board) -> None:
        assert board.release(SLICE, "MIG-1", 1.0)
        with pytest.raises(NotToBeGiven, match="was released by its last pod"):
            board.hand_out(SLICE, 2.0)
        board.end_release(SLICE)
        assert board.hand_out(SLICE, 3.0) == "MIG-1"

    def test_a_slice_that_is_another_by_now_is_not_released(self, board: Board) -> None:
        assert not board.release(SLICE, "MIG-0", 1.0)
        board.put_reading(replace(GPU, slices=()))
        assert not board.release(SLICE, "MIG-1", 1.0)

    def test_one_that_could_not_be_written_down_does_not_come_to_the_disk_with_the_next(self, tmp_path: Path) -> None:
        other = replace(SEEN, place=MODEL.place(MODEL.profile(NAME), 0), mig_uuid="MIG-2")
        board = Board(releases=SliceUuids(tmp_path / "released"))
        board.put_reading(replace(GPU, slices=(SEEN, other)))
        in_the_way = tmp_path / "released.new"
        in_the_way.mkdir()
        with pytest.raises(OSError, match="released"):
            board.release(SLICE, "MIG-1", 1.0)
        in_the_way.rmdir()
        assert board.release(GPU.slice_id(other), "MIG-2", 2.0)
        after = Board(releases=SliceUuids(tmp_path / "released"), now_s=3.0).snapshot()
        assert after.mark(SLICE).release is None
        assert after.mark(GPU.slice_id(other)).release == Release(since=3.0, mig_uuid="MIG-2")

    def test_it_outlives_the_slice_as_nothing_else_does(self, board: Board) -> None:
        board.withdraw(SLICE, 1.0)
        board.break_slice(SLICE, "XID 94")
        board.release(SLICE, "MIG-1", 1.0)
        board.forget(SLICE)
        mark = board.snapshot().mark(SLICE)
        assert (mark.withdrawn_since, mark.broken, mark.release is not None) == (None, "", True)


def test_a_slice_that_the_kubelet_shows_a_holder_of_has_been_held(board: Board) -> None:
    holder = Holder(namespace="default", pod="chat-1", container="c")
    board.put_kubelet(KubeletView(holders={DeviceId(str(SLICE)): (holder,)}), 1.0)
    board.put_kubelet(KubeletView(), 2.0)
    assert board.snapshot().mark(SLICE).held_before
    board.forget(SLICE)
    assert not board.snapshot().mark(SLICE).held_before


def test_models_that_read_the_same_are_named_once(board: Board) -> None:
    copied = gpu_model("A100-40GB")
    board.put_reading(replace(GPU, uuid=GpuUuid("GPU-b"), model=replace(copied)))
    board.put_reading(replace(GPU, uuid=GpuUuid("GPU-c"), model=gpu_model("H100-80GB")))
    assert [each.name for each in board.snapshot().models] == ["A100-40GB", "H100-80GB"]
