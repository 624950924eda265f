"""The Node says what its kubelet believes, at once, and again when somebody overwrites it."""

from prometheus_client import CollectorRegistry

from knative_mig.core.agent.readings import KubeletView
from knative_mig.ports.kube import ApiUnreachable
from reconfigurer.agent.board import Board, Progress
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.node_status import LOOK_EACH_S, REASSERT_EACH_S, REASSERT_FOR_S, NodeStatusLoop
from reconfigurer.agent.retry import Retry
from tests.rigs.agent_worlds import NODE, Clock, FakeNodeStatuses, profile, reading, slice_id, view, wanted_node

BIG = profile("3g.20gb")
SLICE = slice_id("A", "3g.20gb@4")


class Rig:
    def __init__(self) -> None:
        self.board, self.clock, self.api, self.registry = Board(), Clock(), FakeNodeStatuses(), CollectorRegistry()
        self.alone = True
        self.loop = NodeStatusLoop(
            NODE,
            self.board,
            self.api,
            AgentMetrics(self.registry),
            Retry(lambda: 1.0),
            clock=self.clock,
            may_write=lambda: self.alone,
        )

    def believes(self, *slices: str) -> None:
        self.board.put_kubelet(view("A", *slices), self.clock())

    def after(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.loop.step()

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"knative_mig_agent_{name}", labels)


def raised() -> Rig:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.believes("3g.20gb@4")
    rig.loop.step()
    return rig


def test_the_node_is_raised_when_the_kubelet_believes_the_device_and_not_before() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.board.put_kubelet(KubeletView(), rig.clock())
    rig.loop.step()
    assert rig.api.allocatable[BIG] == 0
    rig.believes("3g.20gb@4")
    rig.loop.step()
    assert (rig.api.allocatable[BIG], rig.api.capacity[BIG]) == (1, 1)
    assert set(rig.api.writes[-1].allocatable) == {BIG}


def test_before_the_kubelet_has_answered_the_node_is_left_alone() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.loop.step()
    assert (rig.api.reads, rig.api.writes) == (0, [])


def test_the_kubelets_stale_push_is_written_over_within_a_second() -> None:
    rig = raised()
    rig.api.allocatable[BIG] = 0
    rig.after(REASSERT_EACH_S)
    assert rig.api.allocatable[BIG] == 1


def test_when_it_has_held_for_longer_than_the_kubelets_push_takes_the_node_is_looked_at_rarely() -> None:
    rig = raised()
    for _ in range(int(REASSERT_FOR_S)):
        rig.after(1.0)
    reads = rig.api.reads
    assert rig.after(1.0) > 10.0
    rig.after(LOOK_EACH_S)
    assert rig.api.reads <= reads + 2


def test_the_gpu_loop_hears_that_the_node_was_lowered_after_the_kubelet_let_go() -> None:
    rig = raised()
    rig.clock.advance(0.5)
    rig.board.withdraw(SLICE, rig.clock())
    rig.clock.advance(0.1)
    rig.believes("3g.20gb@4")
    rig.loop.step()
    assert rig.api.allocatable[BIG] == 1  # a drop that the kubelet does not believe would be written back
    rig.clock.advance(0.1)
    rig.believes()
    reads = rig.api.reads
    rig.loop.step()
    node = rig.board.snapshot().node
    assert node is not None
    assert (node.allocatable[BIG], node.asked_at) == (0, rig.clock())
    assert rig.api.reads == reads  # the write's answer says as much


def test_what_only_the_capacity_would_show_waits_for_the_next_write_or_a_second() -> None:
    rig = raised()
    rig.clock.advance(0.5)
    rig.board.withdraw(SLICE, rig.clock())
    rig.clock.advance(0.1)
    rig.believes()
    rig.loop.step()
    rig.board.put_reading(reading("A"))
    rig.loop.step()
    assert (rig.api.capacity[BIG], rig.api.allocatable[BIG]) == (1, 0)  # it is gone, nobody could have it
    rig.after(REASSERT_EACH_S)
    assert rig.api.capacity[BIG] == 0


def test_a_gpu_loop_that_waits_to_hear_of_the_node_hears_at_once_also_when_only_the_capacity_is_wrong() -> None:
    rig = raised()
    rig.board.put_reading(reading("A", "3g.20gb@4", "1g.5gb@0"))
    rig.board.break_slice(slice_id("A", "1g.5gb@0"), "XID 94")
    rig.believes("3g.20gb@4")
    rig.loop.step()
    assert rig.api.capacity[profile("1g.5gb")] == 0
    rig.clock.advance(0.1)
    rig.board.withdraw(slice_id("A", "1g.5gb@0"), rig.clock())
    rig.clock.advance(0.1)
    rig.believes("3g.20gb@4")
    rig.loop.step()
    node = rig.board.snapshot().node
    assert node is not None
    assert node.asked_at == rig.clock()


def test_a_slice_that_was_offered_no_more_already_is_confirmed_by_a_fresh_look() -> None:
    rig = Rig()
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.board.break_slice(SLICE, "XID 94")
    rig.believes()
    rig.loop.step()
    rig.clock.advance(0.5)
    rig.board.withdraw(SLICE, rig.clock())
    rig.clock.advance(0.1)
    rig.believes()
    rig.loop.step()
    node = rig.board.snapshot().node
    assert node is not None
    assert node.asked_at == rig.clock()
    assert len(rig.api.writes) == 1  # there was nothing to change


def test_an_api_server_that_is_away_is_tried_again_later_each_time_and_then_read_anew() -> None:
    rig = raised()
    rig.api.error = ApiUnreachable("no route")
    rig.believes()
    waits = [rig.after(1.0) if wait == 0 else rig.after(wait) for wait in (0.0, 0.1, 0.2, 0.4)]
    assert waits == [0.1, 0.2, 0.4, 0.8]
    assert rig.count("status_write_errors_total", object="node", reason="ApiUnreachable") == 4
    rig.api.error = None
    rig.after(0.8)
    assert rig.api.allocatable[BIG] == 0


def test_beside_another_plugin_nothing_is_written() -> None:
    rig = Rig()
    rig.alone = False
    rig.board.put_reading(reading("A", "3g.20gb@4"))
    rig.believes("3g.20gb@4")
    rig.loop.step()
    assert rig.api.writes == []


def test_how_long_a_spec_took_to_the_scheduler_is_counted_once() -> None:
    rig = raised()
    rig.board.put_spec(wanted_node("A", "3g.20gb@4", generation=6))
    rig.loop.step()
    rig.board.put_spec(wanted_node("A", "3g.20gb@4", "1g.5gb@0", generation=7))
    rig.loop.step()
    rig.clock.advance(0.3)
    rig.board.put_reading(reading("A", "3g.20gb@4", "1g.5gb@0"))
    rig.board.put_progress(SLICE.gpu, Progress(settled=True, spec_generation=7))
    rig.loop.step()
    assert rig.count("spec_to_allocatable_seconds_count") == 0  # the kubelet does not believe it yet
    rig.clock.advance(0.2)
    rig.believes("3g.20gb@4", "1g.5gb@0")
    rig.loop.step()
    rig.loop.step()
    assert rig.count("spec_to_allocatable_seconds_count") == 1
    total = rig.count("spec_to_allocatable_seconds_sum")
    assert total is not None
    assert abs(total - 0.5) < 1e-6
