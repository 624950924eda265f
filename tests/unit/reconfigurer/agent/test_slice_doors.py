"""A socket is there for whoever may have it mounted; simulated slices carry the pods that hold them."""

from collections.abc import Collection

from knative_mig.core.gpu_node import SliceId
from knative_mig.ports.kube import Key
from reconfigurer.agent.board import Board
from reconfigurer.agent.simulated_holders import pods_on_slices
from reconfigurer.agent.slice_doors import SliceDoors
from tests.rigs.agent_worlds import pod, reading, slice_id, view

BIG, SMALL = slice_id("A", "3g.20gb@4"), slice_id("A", "1g.5gb@0")


class Rig:
    def __init__(self, *, all_read: bool = True) -> None:
        self.board, self.kept, self.full = Board(), list[frozenset[SliceId]](), False
        if all_read:
            self.board.put_all_read()
        self.doors = SliceDoors(self.board, self.keep)

    def keep(self, slices: Collection[SliceId]) -> None:
        if self.full:
            raise OSError("no room")
        self.kept.append(frozenset(slices))


def test_no_door_is_closed_before_the_kubelet_has_said_who_holds_what_and_all_gpus_were_read() -> None:
    rig = Rig(all_read=False)
    rig.doors.step()
    rig.board.put_kubelet(view("A", "3g.20gb@4 by d/chat"), 1.0)
    rig.doors.step()
    assert rig.kept == []
    rig.board.put_all_read()
    rig.doors.step()
    assert rig.kept == [{BIG}]


def test_a_held_slice_keeps_its_door_though_its_place_is_anothers_and_nothing_is_done_twice() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "1g.5gb@0"))
    rig.board.put_kubelet(view("A", "3g.20gb@4 by d/relay"), 1.0)
    rig.doors.step()
    rig.doors.step()
    assert rig.kept == [{BIG, SMALL}]
    rig.board.put_kubelet(view("A"), 2.0)
    rig.doors.step()
    assert rig.kept[-1] == {SMALL}


def test_doors_that_could_not_be_made_are_tried_again() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "1g.5gb@0"))
    rig.board.put_kubelet(view("A"), 1.0)
    rig.full = True
    rig.doors.step()
    rig.full = False
    rig.doors.step()
    assert rig.kept == [{SMALL}]


def test_the_pods_on_simulated_slices_are_those_that_hold_them_as_they_are() -> None:
    board = Board()
    board.put_reading(reading("A", "3g.20gb@4 as M1", "1g.5gb@0 as M2"))
    board.put_kubelet(view("A", "3g.20gb@4 by d/chat", "1g.5gb@0 by d/unknown"), 1.0)
    pods = {Key("d", "chat"): pod("d/chat")}
    assert pods_on_slices(board.snapshot(), pods) == {"M1": {"uid-chat"}}
    assert board.release(BIG, "M1", 2.0)
    board.put_reading(reading("A", "3g.20gb@4 as M3"))
    assert pods_on_slices(board.snapshot(), pods) == {}  # its pod holds the id, and is not on the successor
