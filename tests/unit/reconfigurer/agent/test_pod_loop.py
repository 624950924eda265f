"""Pods that cannot come right are removed once, said so, and asked again where a budget holds them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from knative_mig.core.agent.failed_pods import DEAD_ENGINE_GRACE_S
from knative_mig.core.agent.readings import Unnamed
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import GpuHealth, SliceId
from knative_mig.ports.kubelet import AllocationRefused, DeviceId
from reconfigurer.agent.board import Board
from reconfigurer.agent.desk import Desk, Injection
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.pod_loop import LAST_RETRY_S, LOOK_EACH_S, LOOK_FOR_FIRST_LIST_EACH_S, PodLoop
from reconfigurer.agent.slice_uuids import SliceUuids
from reconfigurer.agent.surroundings import Surroundings
from tests.rigs.agent_worlds import NODE, Clock, FakeEvents, FakePods, by_key, pod, reading, slice_id, view, wanted_node
from tests.rigs.fake_cluster import FakeMirror

BIG = slice_id("A", "3g.20gb@4")


class Rig:
    def __init__(self, folder: Path, *, static: bool = False) -> None:
        self.board, self.clock = Board(), Clock()
        self.mirror: FakeMirror[PodFacts] = FakeMirror({})
        self.pods, self.events, self.registry = FakePods(), FakeEvents(), CollectorRegistry()
        self.all_read = True
        injection = Injection(cdi_name=None, socket_dir=None)
        self.desk = Desk(self.board, SliceUuids(folder / "handed-out.json"), injection, clock=self.clock)
        self.surroundings = Surroundings(self.board)
        self.told: list[SliceId] = []
        self.full_disk = False
        self.before_it_is_told: Callable[[], object] = lambda: None
        self.loop = PodLoop(
            node=NODE,
            board=self.board,
            desk=self.desk,
            surroundings=self.surroundings,
            mirror=self.mirror,
            pods=self.pods,
            events=self.events,
            metrics=AgentMetrics(self.registry),
            clock=self.clock,
            static=static,
            all_read=lambda: self.all_read,
            tell_deleted=self._tell_deleted,
        )
        self.board.put_reading(reading("A", "3g.20gb@4 as MIG-1"))

    def _tell_deleted(self, slice_id: SliceId, is_so: Callable[[], bool]) -> None:
        self.before_it_is_told()
        if self.full_disk:
            raise OSError("no space left")
        if is_so():
            self.told.append(slice_id)

    def see(self, *pods: PodFacts) -> None:
        self.mirror.show(by_key(*pods))

    def held_by(self, *pods: str) -> None:
        self.see(*(pod(each, "3g.20gb") for each in pods))
        self.board.put_kubelet(view("A", *(f"3g.20gb@4 by {each}" for each in pods)), self.clock())

    def after(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.loop.step()


def test_a_pod_that_was_not_admitted_is_deleted_counted_and_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    failed = pod("d/chat", "3g.20gb", phase=Phase.FAILED, reason="UnexpectedAdmissionError")
    rig.see(failed, pod("d/well", "3g.20gb"))
    rig.loop.step()
    rig.after(1.0)  # the mirror still shows it: it is not deleted twice
    assert rig.pods.deleted == ["d/chat uid-chat"]
    ((name, reason, _),) = rig.events.said
    assert (name, reason) == ("chat", "SliceAdmissionFailed")
    counted = rig.registry.get_sample_value(
        "knative_mig_agent_failed_pods_deleted_total", {"reason": "SliceAdmissionFailed"}
    )
    assert counted == 1


def test_on_a_static_node_no_pod_is_removed_for_its_devices_are_another_plugins(tmp_path: Path) -> None:
    rig = Rig(tmp_path, static=True)
    rig.board.break_slice(BIG, "XID 94: contained memory error")
    rig.held_by("d/hit")
    rig.see(pod("d/hit", "3g.20gb"), pod("d/late", "3g.20gb", phase=Phase.FAILED, reason="UnexpectedAdmissionError"))
    rig.loop.step()
    assert (rig.pods.deleted, rig.pods.evicted, rig.events.said) == ([], [], [])
    rig.see(pod("gpu-operator/nvidia-mig-manager-q2w", owner="DaemonSet"))
    rig.loop.step()
    assert rig.surroundings.other_owners == ("gpu-operator/nvidia-mig-manager-q2w",), "it is still looked for"


def test_the_pod_on_a_slice_with_an_xid_is_evicted_with_the_xid_as_reason(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.held_by("d/chat")
    rig.loop.step()
    assert rig.pods.evicted == []
    rig.board.break_slice(BIG, "XID 94: contained memory error")
    rig.loop.step()
    assert rig.pods.evicted == ["d/chat uid-chat"]
    assert rig.pods.graces == [DEAD_ENGINE_GRACE_S]
    assert "XID 94" in rig.events.said[0][2]


def test_the_pod_on_a_gpu_that_was_lost_as_the_agent_started_is_evicted_when_the_others_have_been_read(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.see(pod("d/hit", "3g.20gb"))
    rig.board.put_kubelet(view("B", "3g.20gb@0 by d/hit"), rig.clock())
    rig.board.put_unnamed(1, Unnamed(health=GpuHealth.LOST, why="off the bus"))
    rig.all_read = False  # it may be of one that is slow to answer
    rig.loop.step()
    assert rig.pods.evicted == []
    rig.all_read = True
    rig.loop.step()
    assert rig.pods.evicted == ["d/hit uid-hit"]


def test_an_eviction_that_a_budget_holds_up_is_asked_again_later_each_time_and_said_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.held_by("d/chat")
    rig.board.break_slice(BIG, "XID 94")
    rig.pods.budget = False
    waits = [rig.loop.step(), rig.after(1.0), rig.after(2.0)]
    assert waits == [1.0, 2.0, 4.0]
    rig.loop.step()  # woken before it is due
    assert rig.pods.tries == 3
    assert len(rig.events.said) == 1
    rig.pods.budget = True
    rig.after(4.0)
    assert rig.pods.evicted == ["d/chat uid-chat"]
    assert rig.pods.graces == [DEAD_ENGINE_GRACE_S] * 4


def test_the_pod_whose_container_was_refused_its_slice_is_deleted_to_be_admitted_anew(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.desk.hand_out((DeviceId(str(BIG)),))
    rig.held_by("d/chat")
    rig.board.put_reading(reading("A", "3g.20gb@4 as MIG-2"))
    with pytest.raises(AllocationRefused):
        rig.desk.before_start((DeviceId(str(BIG)),))
    rig.loop.step()
    assert (rig.pods.deleted, rig.pods.graces) == (["d/chat uid-chat"], [DEAD_ENGINE_GRACE_S])
    rig.held_by()
    rig.after(LAST_RETRY_S)
    assert rig.desk.changed() == {}  # nobody holds it any more: its next holder is not blamed


def test_before_the_pods_are_known_nothing_is_removed_and_nobody_is_called_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.mirror.is_synced = False
    rig.see(pod("d/chat", "3g.20gb", phase=Phase.FAILED, reason="UnexpectedAdmissionError"))
    assert rig.loop.step() == LOOK_FOR_FIRST_LIST_EACH_S
    assert (rig.pods.deleted, rig.surroundings.other_owners) == ([], None)


def test_beside_nvidias_plugin_the_gpu_loops_see_no_spec_and_they_see_it_again_when_it_has_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.surroundings.spec_seen(wanted_node("A", "3g.20gb@4"))
    rig.see(pod("gpu-operator/nvidia-device-plugin-daemonset-x7f", owner="DaemonSet"))
    rig.loop.step()
    assert rig.board.snapshot().spec is None
    assert rig.surroundings.other_owners == ("gpu-operator/nvidia-device-plugin-daemonset-x7f",)
    rig.see()
    rig.loop.step()
    spec = rig.board.snapshot().spec
    assert spec is not None
    assert spec.generation == 1


def _deleted(rig: Rig) -> None:
    rig.held_by("d/chat")
    rig.see(replace(pod("d/chat", "3g.20gb"), ends_at=1300.0))


def test_who_has_a_slice_is_told_that_its_pod_was_deleted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.held_by("d/chat")
    rig.loop.step()
    assert rig.told == []
    _deleted(rig)
    rig.loop.step()
    assert rig.told == [BIG]


def test_but_not_when_it_has_become_the_next_pods_meanwhile(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    _deleted(rig)
    rig.before_it_is_told = lambda: rig.desk.hand_out((DeviceId(str(BIG)),))
    rig.loop.step()
    assert rig.told == []


def test_who_cannot_be_told_is_told_at_the_next_look(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    _deleted(rig)
    rig.full_disk = True
    assert rig.loop.step() == LOOK_EACH_S
    rig.full_disk = False
    rig.after(LOOK_EACH_S)
    assert rig.told == [BIG]


def test_on_a_static_node_nobody_has_our_directory_mounted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, static=True)
    _deleted(rig)
    rig.loop.step()
    assert rig.told == []
