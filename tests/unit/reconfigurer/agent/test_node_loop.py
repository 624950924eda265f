"""The kubelet is served at once and asked as often as somebody waits for its answer."""

import pytest
from prometheus_client import CollectorRegistry

from knative_mig.core.agent.readings import DeviceId, KubeletView
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuHealth, GpuNodeStatus, GpuStatus, SliceState, SliceStatus
from reconfigurer.agent.board import Board, slices_or_kubelet
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.node_loop import AHEAD, AWAY_S, FAST_S, IMPATIENT_FOR_S, PATIENT_S, SLOW_S, SOON_S, NodeLoop
from tests.rigs.agent_worlds import Clock, FakePlugins, FakePodResources, holder, profile, reading, slice_id, view

BIG = slice_id("A", "3g.20gb@4")


class Rig:
    def __init__(self, *, static: bool = False, all_read: bool = True) -> None:
        self.board, self.clock, self.kubelet, self.plugins = Board(), Clock(), FakePodResources(), FakePlugins()
        self.registry = CollectorRegistry()
        if all_read:
            self.board.put_all_read()
        self.pods: list[PodFacts] | None = []
        self.loop = NodeLoop(
            self.board,
            self.kubelet,
            None if static else self.plugins,
            AgentMetrics(self.registry),
            clock=self.clock,
            pods=lambda: self.pods,
        )

    def step(self) -> float:
        return round(self.loop.step(), 6)  # differences of times that are not as exact

    def after(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.step()

    def calm(self) -> None:
        """One slice, which the kubelet believes in."""
        self.board.put_reading(reading("A", "3g.20gb@4"))
        self.kubelet.answer = view("A", "3g.20gb@4")
        assert self.step() == SLOW_S
        self.after(0.5)

    def holders(self) -> list[str]:
        kubelet = self.board.snapshot().kubelet
        return [each.pod for each in kubelet.view.holders_of(BIG)] if kubelet else []

    def asked_within(self, seconds: float) -> int:
        """How often, if nothing changes but the time."""
        before, until = self.kubelet.asked, self.clock() + seconds
        wait_s = self.step()
        while self.clock() + wait_s < until:
            wait_s = self.after(wait_s)
        self.clock.advance(until - self.clock())
        return self.kubelet.asked - before


def test_nothing_is_served_before_all_gpus_were_read() -> None:
    rig = Rig(all_read=False)
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.step()
    assert rig.plugins.served == []
    known = rig.board.snapshot()
    rig.board.put_all_read()
    assert slices_or_kubelet(known, rig.board.snapshot())  # it does not wait until it is due
    rig.step()
    (served,) = rig.plugins.served
    assert [device.healthy for device in served[profile("3g.20gb")]] == [True]
    assert served[profile("1g.5gb")] == ()


def test_a_calm_kubelet_is_asked_once_a_second_and_told_nothing_twice() -> None:
    rig = Rig()
    rig.calm()
    assert (rig.kubelet.asked, len(rig.plugins.served)) == (1, 1)
    rig.after(0.5)
    assert (rig.kubelet.asked, len(rig.plugins.served)) == (2, 1)


def test_a_withdrawn_slice_is_served_unhealthy_at_once_and_the_kubelet_asked_until_it_lets_go() -> None:
    rig = Rig()
    rig.calm()
    rig.board.withdraw(BIG, rig.clock())
    assert rig.step() == SOON_S  # it has not taken it in yet
    assert [device.healthy for device in rig.plugins.served[-1][profile("3g.20gb")]] == [False]
    assert rig.after(SOON_S) == SOON_S
    rig.kubelet.answer = view("A")
    rig.after(SOON_S)
    kubelet = rig.board.snapshot().kubelet
    assert kubelet is not None
    assert (kubelet.view.allocatable, kubelet.asked_at) == (frozenset(), rig.clock())


def test_a_slice_that_the_kubelet_let_go_waits_for_the_node_and_then_for_one_more_word_about_its_holders() -> None:
    rig = Rig()
    rig.calm()
    rig.board.withdraw(BIG, rig.clock())
    rig.step()
    rig.kubelet.answer = view("A")
    assert rig.after(SOON_S) == SLOW_S  # the Node's status is somebody else's word
    rig.clock.advance(SOON_S)
    rig.board.note_lowered(BIG, rig.clock())
    rig.clock.advance(0.001)
    asked = rig.kubelet.asked
    assert rig.step() == SLOW_S  # asked at once, and not again while the driver destroys
    assert rig.kubelet.asked == asked + 1
    kubelet, mark = rig.board.snapshot().kubelet, rig.board.snapshot().mark(BIG)
    assert kubelet is not None
    assert mark.lowered_at is not None
    assert kubelet.asked_at > mark.lowered_at


def test_a_new_device_is_asked_for_until_the_kubelet_shows_it() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    assert rig.step() == SOON_S
    rig.kubelet.answer = view("A", "3g.20gb@4")
    assert rig.after(SOON_S) == SLOW_S


def test_a_device_that_goes_without_having_been_offered_is_nothing_to_ask_for() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.board.break_slice(BIG, "XID 94")
    assert rig.step() == SLOW_S
    rig.board.put_reading(reading("A"))
    assert rig.after(0.5) == SLOW_S - 0.5
    assert (rig.kubelet.asked, len(rig.plugins.served)) == (1, 2)


def test_a_kubelet_that_is_slow_is_asked_no_more_than_its_limit_allows() -> None:
    rig = Rig()
    rig.calm()
    rig.clock.advance(SLOW_S)
    rig.board.withdraw(BIG, rig.clock())
    assert 2 * rig.asked_within(FAST_S) <= 10  # calls at once
    assert 2 * rig.asked_within(1.0) <= 100


def test_readings_ahead_of_the_pace_are_earned_by_waiting() -> None:
    rig = Rig()
    rig.calm()
    rig.board.withdraw(BIG, rig.clock())
    for _ in range(1 + AHEAD + 1):  # told, then asked
        wait_s = rig.after(SOON_S)
    assert wait_s > SOON_S
    rig.clock.advance(FAST_S * (AHEAD + 1))
    assert rig.step() == SOON_S


def test_whoever_was_handed_a_slice_is_looked_for_at_once() -> None:
    rig = Rig()
    rig.calm()
    rig.board.hand_out(BIG, rig.clock())
    assert rig.step() == SOON_S
    rig.kubelet.answer = view("A", "3g.20gb@4 by d/chat")
    assert rig.after(SOON_S) == SLOW_S


def test_what_does_not_come_for_long_is_asked_for_less_often() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.step()
    assert rig.after(IMPATIENT_FOR_S) == PATIENT_S


def test_a_kubelet_that_is_away_is_waited_for_and_its_return_counted() -> None:
    rig = Rig()
    rig.calm()
    rig.kubelet.away = True
    assert rig.after(SLOW_S) == AWAY_S
    assert rig.after(AWAY_S) == AWAY_S
    assert rig.board.snapshot().kubelet is None
    rig.kubelet.away = False
    rig.after(AWAY_S)
    assert rig.board.snapshot().kubelet is not None
    assert rig.registry.get_sample_value("knative_mig_agent_kubelet_reconnects_total") == 1


def test_one_call_that_the_kubelet_refused_alarms_nobody_and_makes_its_last_word_no_younger() -> None:
    rig = Rig()
    rig.calm()
    before = rig.board.snapshot().kubelet
    rig.kubelet.away = True
    rig.after(SLOW_S)
    assert rig.board.snapshot().kubelet == before
    rig.kubelet.away = False
    assert rig.after(AWAY_S) == SLOW_S
    assert rig.registry.get_sample_value("knative_mig_agent_kubelet_reconnects_total") == 0


def test_the_plugins_see_each_reading_and_anothers_devices_are_no_slices_of_ours() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.kubelet.answer = KubeletView(allocatable=frozenset({DeviceId("MIG-of-another"), DeviceId(str(BIG))}))
    rig.step()
    assert rig.plugins.observed == [rig.kubelet.answer]
    kubelet = rig.board.snapshot().kubelet
    assert kubelet is not None
    assert kubelet.view.allocatable == {str(BIG)}


def test_on_a_static_node_nothing_is_served_and_slices_are_known_by_their_uuids() -> None:
    rig = Rig(static=True)
    rig.board.put_reading(reading("A", "3g.20gb@4 as MIG-1"))
    device = DeviceId("MIG-1")
    rig.kubelet.answer = KubeletView(holders={device: (holder("d/chat"),)}, allocatable=frozenset({device}))
    assert rig.step() == SLOW_S
    assert rig.plugins.served == []
    kubelet = rig.board.snapshot().kubelet
    assert kubelet is not None
    assert kubelet.view.holders_of(BIG) == (holder("d/chat"),)


def a_report_of(words: str) -> GpuNodeStatus:
    held = SliceStatus(key=BIG.key, size=4, mig_uuid="MIG-1", state=SliceState.BUSY, holders=(holder(words),))
    return GpuNodeStatus(
        gpus=(GpuStatus(uuid=BIG.gpu, product="", model="", health=GpuHealth.HEALTHY, slices=(held,)),)
    )


@pytest.mark.parametrize("before_the_kubelet", [True, False])
def test_the_last_report_names_holders_at_once_and_until_the_api_server_knows_better(
    *, before_the_kubelet: bool
) -> None:
    rig = Rig()
    rig.pods = None
    if not before_the_kubelet:
        rig.calm()
    rig.loop.reported(a_report_of("d/chat"))
    if before_the_kubelet:
        rig.calm()
    rig.loop.reported(a_report_of("d/of-a-later-report"))  # which is this agent's own
    assert rig.holders() == ["chat"]
    rig.pods = []
    rig.after(SLOW_S)
    assert rig.holders() == []
