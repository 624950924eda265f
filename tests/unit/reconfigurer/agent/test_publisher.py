"""The report is written when it says something new, and once a minute to be believed."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from knative_mig.core.agent.readings import GpuReading
from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus, Layout
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import AlreadyExists, ApiUnreachable, Conflict, Key
from reconfigurer.agent.board import Board
from reconfigurer.agent.heartbeat import EACH_S, SOON_S, Heartbeat
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.publisher import (
    APART_S,
    AT_LEAST_EACH_S,
    DEBOUNCE_S,
    RIGHT_AGAIN_EACH_S,
    WHILE_REMADE_S,
    Identity,
    Publisher,
)
from reconfigurer.agent.retry import Retry
from reconfigurer.agent.surroundings import Surroundings
from tests.rigs.agent_worlds import NODE, Clock, FakeGpuNodes, FakeLeases, reading, slice_id, view


class Rig:
    def __init__(self, api: FakeGpuNodes | None = None, clock: Callable[[], float] | None = None) -> None:
        self.board, self.clock, self.api = Board(), Clock(), api or FakeGpuNodes()
        self.publisher = Publisher(
            Identity(node=NODE, layout=Layout.DYNAMIC, agent_version="1", boot_id="b"),
            self.board,
            self.api,
            AgentMetrics(CollectorRegistry()),
            Retry(lambda: 1.0),
            clock=clock or self.clock,
            wall=lambda: self.clock() + 1e9,
            surroundings=Surroundings(self.board),
        )

    def after(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.publisher.step()


def test_the_gpu_node_is_made_and_written_and_then_only_when_something_changed() -> None:
    rig = Rig()
    assert rig.publisher.step() == AT_LEAST_EACH_S
    rig.after(1.0)
    assert (rig.api.made, len(rig.api.written)) == (1, 1)
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.after(1.0)
    assert [len(status.gpus) for status in rig.api.written] == [0, 1]


def test_a_new_view_that_says_the_same_is_not_written_but_once_a_minute_it_is() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.board.put_kubelet(view("A", "3g.20gb@4"), rig.clock())
    rig.publisher.step()
    rig.board.put_kubelet(view("A", "3g.20gb@4"), rig.clock() + 1)
    rig.after(1.0)
    assert len(rig.api.written) == 1
    rig.after(AT_LEAST_EACH_S)
    assert len(rig.api.written) == 2


def test_the_restarted_agent_goes_on_with_what_its_predecessor_reported() -> None:
    before = Rig()
    before.board.put_reading(reading("A", "3g.20gb@4"))
    before.board.put_kubelet(view("A", "3g.20gb@4"), 1.0)
    before.publisher.step()
    written = before.api.written[-1]
    api = FakeGpuNodes()
    api.node = api.node.__class__(name=NODE, status=written)
    after = Rig(api)
    after.clock.advance(500.0)
    after.board.put_reading(reading("A", "3g.20gb@4"))
    after.board.put_kubelet(view("A", "3g.20gb@4"), 1.0)
    after.publisher.step()
    (slice_,) = after.api.written[-1].gpus[0].slices
    assert slice_.idle_since == written.gpus[0].slices[0].idle_since


def test_an_api_server_that_is_away_is_tried_later_each_time_and_told_the_newest_state() -> None:
    rig = Rig()
    rig.api.error = ApiUnreachable("no route")
    assert [rig.publisher.step(), rig.after(0.1), rig.after(0.2)] == [0.1, 0.2, 0.4]
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.api.error = None
    rig.after(0.4)
    assert [len(status.gpus) for status in rig.api.written] == [1]


def test_a_gpu_node_that_somebody_deleted_is_made_again() -> None:
    rig = Rig()
    rig.publisher.step()
    rig.api.there = False
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.after(1.0)
    rig.after(1.0)
    assert (rig.api.made, len(rig.api.written)) == (2, 2)


def test_a_status_that_somebody_else_wrote_over_is_written_again_and_not_more_than_once_a_second() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.publisher.step()
    emptied = replace(rig.api.node, status=GpuNodeStatus())
    rig.publisher.shown(emptied)
    rig.after(0.1)
    assert len(rig.api.written) == 1
    rig.after(RIGHT_AGAIN_EACH_S)
    assert [len(status.gpus) for status in rig.api.written] == [1, 1]
    rig.after(RIGHT_AGAIN_EACH_S)  # the mirror is behind: it is the same sight
    assert len(rig.api.written) == 2
    for seen in (rig.api.node, replace(rig.api.node, status=None)):
        rig.publisher.shown(seen)
        rig.after(RIGHT_AGAIN_EACH_S)
    assert len(rig.api.written) == 3


def test_a_mirror_that_is_behind_shows_what_was_written_a_moment_ago() -> None:
    rig = Rig()
    rig.publisher.step()
    first = rig.api.node
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.after(2.0)
    for seen in (first, replace(first, generation=2), rig.api.node, replace(rig.api.node, generation=3)):
        rig.publisher.shown(seen)
        rig.after(2.0)
    assert len(rig.api.written) == 2
    rig.publisher.shown(first)  # nobody's old answer any more
    rig.after(2.0)
    assert len(rig.api.written) == 3


def test_a_gpu_node_whose_deletion_is_shown_is_made_again_at_once() -> None:
    rig = Rig()
    rig.publisher.step()
    rig.publisher.shown(rig.api.node)
    rig.after(2.0)
    rig.api.there = False
    rig.publisher.shown(None)
    rig.after(2.0)
    assert (rig.api.made, len(rig.api.written)) == (2, 2)


class TickingClock:
    """`tick_s` passes each time that somebody looks."""

    def __init__(self, tick_s: float = DEBOUNCE_S / 100) -> None:
        self.now, self._tick_s = 1000.0, tick_s

    def __call__(self) -> float:
        self.now += self._tick_s
        return self.now


def told_at(
    rig: Rig, clock: TickingClock, monkeypatch: pytest.MonkeyPatch, *meanwhile: Callable[[], None]
) -> list[float]:
    """When the status was written, each of `meanwhile` happening while it was."""
    stop, told, write = threading.Event(), list[float](), rig.api.write_status

    def write_and_go_on(name: NodeName, status: GpuNodeStatus) -> GpuNode:
        told.append(clock.now)
        if len(told) > len(meanwhile):
            stop.set()
        else:
            meanwhile[len(told) - 1]()
        return write(name, status)

    monkeypatch.setattr(rig.api, "write_status", write_and_go_on)
    rig.publisher.run(stop)
    return told


@pytest.mark.parametrize(
    ("seen", "waits"),
    [
        (reading("A", "3g.20gb@4"), False),
        (reading("A", "1g.5gb@0 as MIG-made-anew"), False),
        (reading("A"), True),
        (reading("A", "1g.5gb@0", "3g.20gb@4 half made"), True),
    ],
)
def test_what_was_made_is_told_at_once_and_all_else_with_what_comes_beside_it(
    *, seen: GpuReading, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickingClock()
    rig = Rig(clock=clock)
    rig.board.put_reading(reading("A", "1g.5gb@0"))
    first, second = told_at(rig, clock, monkeypatch, lambda: rig.board.put_reading(seen))
    assert (second - first >= DEBOUNCE_S) == waits


def test_slices_that_several_gpus_make_one_after_the_other_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TickingClock(APART_S / 10)
    rig = Rig(clock=clock)
    rig.board.put_reading(reading("A"))

    def made(gpu: str) -> Callable[[], None]:
        return lambda: rig.board.put_reading(reading(gpu, f"3g.20gb@4 as MIG-{gpu}"))

    _, second, third = told_at(rig, clock, monkeypatch, made("A"), made("B"))
    assert third - second >= APART_S


def test_while_slices_are_remade_what_is_over_in_a_moment_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TickingClock(WHILE_REMADE_S / 20)
    rig = Rig(clock=clock)
    rig.board.put_reading(reading("A", "1g.5gb@0"))

    def take_back() -> None:
        rig.board.withdraw(slice_id("A", "1g.5gb@0"), clock.now)

    def give_back() -> None:
        rig.board.restore(slice_id("A", "1g.5gb@0"))

    first, second, third = told_at(rig, clock, monkeypatch, take_back, give_back)
    assert second - first >= WHILE_REMADE_S
    assert third - second < WHILE_REMADE_S


def beating(leases: FakeLeases, holder: str = "agent-1") -> Heartbeat:
    key = Key("knative-mig-agent", NODE)
    return Heartbeat(key, holder, leases, AgentMetrics(CollectorRegistry()), wall=lambda: 7.0)


def test_the_lease_is_made_renewed_and_taken_over_by_the_next_agent_of_the_node() -> None:
    leases = FakeLeases()
    assert beating(leases).beat() == EACH_S
    first = leases.record
    assert first is not None
    assert (first.holder, first.transitions) == ("agent-1", 0)
    beating(leases, "agent-2").beat()
    second = leases.record
    assert second is not None
    assert (second.holder, second.transitions) == ("agent-2", 1)


def test_a_lease_that_somebody_wrote_in_between_is_read_anew_at_once_and_an_api_that_is_away_soon() -> None:
    leases = FakeLeases(errors=[AlreadyExists("x"), Conflict("x"), ApiUnreachable("x")])
    heart = beating(leases)
    assert heart.beat() < SOON_S
    assert heart.beat() < SOON_S
    assert heart.beat() == SOON_S
    assert heart.beat() == EACH_S
