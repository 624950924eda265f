"""The devices are worked out anew when slices or their marks change, and for nothing else."""

from collections.abc import Callable

import pytest

from knative_mig.core.agent.readings import DeviceId
from knative_mig.core.gpu_node import JournalState
from reconfigurer.agent.board import Board, Journalled, Progress
from reconfigurer.agent.latest_devices import LatestDevices
from tests.rigs.agent_worlds import profile, reading, slice_id, view

BIG, SMALL = slice_id("A", "3g.20gb@4"), slice_id("A", "1g.5gb@0")


def healthy(latest: LatestDevices, board: Board) -> set[DeviceId]:
    return {each.id for devices in latest.of(board.snapshot()).values() for each in devices if each.healthy}


def test_a_slice_that_is_made_marked_or_gone_changes_the_devices() -> None:
    board, latest = Board(), LatestDevices()
    assert latest.of(board.snapshot()) == {}
    board.put_reading(reading("A", "3g.20gb@4"))
    assert healthy(latest, board) == {str(BIG)}
    board.put_reading(reading("A", "3g.20gb@4", "1g.5gb@0"))
    assert healthy(latest, board) == {str(BIG), str(SMALL)}
    board.withdraw(BIG, 1.0)
    assert healthy(latest, board) == {str(SMALL)}
    board.restore(BIG)
    assert healthy(latest, board) == {str(BIG), str(SMALL)}
    board.put_reading(reading("A"))
    assert healthy(latest, board) == set()
    assert profile("3g.20gb") in latest.of(board.snapshot())  # a resource stays, without devices


@pytest.mark.parametrize(
    "change",
    [
        lambda board: board.put_progress(BIG.gpu, Progress(doing="Create")),
        lambda board: board.put_kubelet(view("A", "3g.20gb@4"), 1.0),
        lambda board: board.put_node({BIG.profile: 1}, 1.0),
        lambda board: board.put_journal(Journalled(state=JournalState.CLEAN, open_intents=1)),
    ],
    ids=["progress", "kubelet", "node", "journal"],
)
def test_what_else_is_new_leaves_the_devices_as_they_are(change: Callable[[Board], None]) -> None:
    board, latest = Board(), LatestDevices()
    board.put_reading(reading("A", "3g.20gb@4"))
    before = latest.of(board.snapshot())
    change(board)
    assert latest.of(board.snapshot()) is before
