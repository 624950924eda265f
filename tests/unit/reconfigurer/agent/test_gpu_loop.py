"""A GPU's loop on simulated GPUs, with a kubelet that believes what a test lets it believe."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, SimulatedGpus, When, open_store
from knative_mig.core.agent.readings import DeviceId, GpuReading
from knative_mig.core.errors import GpuError, GpuTimeout, InsufficientResources, SliceInUse
from knative_mig.core.gpu_node import JournalState, SliceId, SliceKey
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice
from knative_mig.ports.journal import Operation
from reconfigurer.agent.board import Journalled, NotToBeGiven, Progress
from reconfigurer.agent.gpu_loop import READ_EVERY_S, READ_SOON_S, Kind
from tests.rigs.simulated_node import Killed, Node, Pod

TWO = ("3g.20gb@0", "3g.20gb@4")
HALF = ProfileName.parse("3g.20gb")


@pytest.fixture
def node() -> Node:
    return Node(open_store("1xA100-40GB", new_uuid=lambda: UUID(int=1)))


def in_the_way(node: Node) -> Pod:
    """Of a slice that is wanted and takes the whole GPU."""
    node.want("3g.20gb@4")
    node.settle(4)
    pod = node.run("3g.20gb")
    node.settle(8)
    node.want("7g.40gb@0")
    node.round()
    node.step()
    return pod


class TestMakingAndMerging:
    def test_an_empty_gpu_becomes_what_is_wanted(self, node: Node) -> None:
        node.want(*TWO)
        node.settle(4)
        assert node.slices() == list(TWO)
        assert node.kinds == [Kind.CREATED, Kind.CREATED]
        assert node.board.snapshot().progress[node.uuid].settled
        assert node.disk.intents == {}

    def test_a_spec_that_comes_while_a_slice_is_made_is_not_said_to_have_been_judged(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish = node.injection.publish

        def meanwhile(*slice_as_it_is: Any) -> None:
            node.want("7g.40gb@0")
            publish(*slice_as_it_is)

        monkeypatch.setattr(node.injection, "publish", meanwhile)
        node.want("3g.20gb@4")
        node.step()
        assert node.board.snapshot().spec == node.spec
        assert node.spec is not None
        assert node.board.snapshot().progress[node.uuid].spec_generation == node.spec.generation - 1

    def test_while_a_call_is_under_way_it_is_what_is_said_to_be_done(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may hang until its deadline."""
        said: list[str] = []

        def noted(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*asked: Any) -> Any:
                said.append(node.board.snapshot().progress[node.uuid].doing)
                return call(*asked)

            return called

        for name in ("create_gpu_instance", "destroy_gpu_instance"):
            monkeypatch.setattr(SimulatedGpus, name, noted(getattr(SimulatedGpus, name)))
        node.want("3g.20gb@4")
        node.settle(4)
        node.want()
        node.settle(8)
        assert said == [
            "3g.20gb@4 is being made: it is wanted and its place is free",
            "3g.20gb@4 is being destroyed: it is not wanted",
        ]

    def test_a_gpu_that_is_as_it_should_be_asks_its_driver_nothing_because_of_others(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.step()
        node.controls.inject(Fault(call=Call.WAIT_FOR_EVENT, harm=Harm.FAIL, nth=100))
        node.controls.inject(Fault(call=Call.INVENTORY, harm=Harm.FAIL, nth=100))
        for _ in range(20):
            node.ask_kubelet()
            node.step()
        assert [fault.seen for fault in node.store.read().faults] == [0, 0]

    def test_what_the_kubelet_says_is_news_to_a_gpu_that_changes_and_none_to_one_that_is_as_it_should_be(
        self, node: Node
    ) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.step()
        known = node.board.snapshot()
        node.ask_kubelet()
        assert not node.loop.matters(known, node.board.snapshot())
        node.want()
        assert node.loop.matters(known, node.board.snapshot())
        node.step()
        known = node.board.snapshot()
        node.ask_kubelet()
        assert node.loop.matters(known, node.board.snapshot())

    def test_a_place_is_taken_as_soon_as_the_kubelet_says_that_who_was_in_the_way_has_gone(self, node: Node) -> None:
        pod = in_the_way(node)
        known = node.board.snapshot()
        node.ask_kubelet()
        assert not node.loop.matters(known, node.board.snapshot())  # it has it still
        node.clock.now += READ_SOON_S
        node.end(pod)
        node.ask_kubelet()
        assert node.loop.matters(known, node.board.snapshot())
        node.step()
        assert node.board.snapshot().mark(pod.slice_id).withdrawn_since

    def test_a_process_that_goes_a_moment_after_its_pod_is_looked_for_again_soon(self, node: Node) -> None:
        pod = in_the_way(node)
        pod.listed = False
        node.ask_kubelet()
        node.clock.now += READ_SOON_S
        assert node.step() <= READ_SOON_S
        node.end(pod)
        node.clock.now += READ_SOON_S
        node.step()
        assert node.board.snapshot().mark(pod.slice_id).withdrawn_since

    def test_another_gpu_and_how_far_this_one_is_are_no_news_to_it_and_marks_of_its_slices_are(
        self, node: Node
    ) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.step()
        known, other = node.board.snapshot(), SliceId(gpu=GpuUuid("GPU-b"), profile=HALF, start=4)
        node.board.break_slice(other, "XID 48")
        node.board.put_reading(GpuReading(uuid=other.gpu, read_at=1.0))
        node.board.put_progress(node.uuid, Progress(doing="something"))
        node.board.put_journal(replace(known.journal, open_intents=3))
        assert not node.loop.matters(known, node.board.snapshot())
        changes: tuple[Callable[[], None], ...] = (
            lambda: node.board.break_slice(node.id("3g.20gb@4"), "XID 48"),
            lambda: node.board.put_journal(Journalled(state=JournalState.UNWRITABLE)),
            lambda: node.board.put_processes_verified(verified=False),
        )
        for change in changes:
            known = node.board.snapshot()
            change()
            assert node.loop.matters(known, node.board.snapshot())

    def test_a_slice_is_offered_only_when_containers_can_be_given_it(self, node: Node) -> None:
        node.injection.full = True
        node.want("3g.20gb@4")
        node.settle(3)
        assert node.slices() == ["3g.20gb@4"]
        assert not any(node.believed.values())
        assert "no space left" in node.board.refusal(node.id("3g.20gb@4"))

        node.injection.full = False
        node.settle(4)
        assert node.injection.published == {node.id("3g.20gb@4"): next(iter(node.mig_uuids()))}
        assert all(node.believed.values())

    def test_idle_fragments_are_merged_and_a_busy_neighbour_is_untouched(self, node: Node) -> None:
        node.want("1g.5gb@0", "1g.5gb@1", "2g.10gb@2", "3g.20gb@4")
        node.settle(6)
        pod = node.run("3g.20gb")
        node.start(pod)

        node.want("3g.20gb@0", "3g.20gb@4")
        node.settle(12)

        assert node.slices() == list(TWO)
        assert pod.mig_uuid in node.mig_uuids()
        assert {str(each.key) for each in node.injection.published} == set(TWO)

    def test_nothing_is_destroyed_before_the_kubelet_and_the_node_let_go_of_it(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        node.want()
        for told in (None, node.kubelet_believes, node.ask_kubelet, node.write_node):
            if told is not None:
                told()
            for _ in range(4):
                node.step()
            assert node.slices() == ["3g.20gb@4"]

        node.ask_kubelet()
        node.step()
        assert node.slices() == []

    def test_a_pod_that_came_before_the_kubelet_believed_keeps_its_slice(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        pod = node.admit("3g.20gb")
        assert pod is not None
        node.want("7g.40gb@0")
        node.step()  # its holder has not shown yet
        pod.listed = True
        node.settle(10)
        assert node.slices() == ["3g.20gb@4"]

        node.end(pod)
        node.settle(10)
        assert node.slices() == ["7g.40gb@0"]

    def test_a_gpu_that_the_spec_does_not_name_is_adopted_and_left_alone(self, node: Node) -> None:
        create_slice(SimulatedGpus(node.store), node.uuid, ProfileName.parse("2g.10gb"), 2)
        node.want_gpus()
        node.settle(4)
        assert node.slices() == ["2g.10gb@2"]
        assert list(node.believed.values()) == [True]

    def test_what_an_earlier_run_published_and_is_gone_is_swept(self, node: Node) -> None:
        node.injection.published = {node.id("1g.5gb@0"): "MIG-old"}
        node.step()
        assert node.injection.published == {}


class TestReleasing:
    def test_another_profile_is_made_at_once_while_the_pod_relays_on(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        pod = node.run("3g.20gb")
        node.start(pod)
        assert node.release(pod)
        node.want("2g.10gb@4")
        for _ in range(6):
            node.step()  # neither kubelet nor node status is asked for anything

        assert node.slices() == ["2g.10gb@4"]
        node.settle(3)
        assert node.believed[str(node.id("3g.20gb@4"))]  # type: ignore[index]
        assert node.admit("3g.20gb") is None

        node.end(pod)
        node.settle(3)
        assert str(node.id("3g.20gb@4")) not in node.believed

    def test_the_next_pod_of_the_profile_gets_the_slice_once_the_old_one_is_gone(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        pod = node.run("3g.20gb")
        node.release(pod)
        node.settle(3)
        node.end(pod)
        assert node.admit("3g.20gb") is None  # the kubelet has forgotten the pod, the agent has not seen that yet
        node.settle(3)
        again = node.admit("3g.20gb")
        assert again is not None
        assert again.mig_uuid == pod.mig_uuid


class TestRefusals:
    def test_a_slice_in_use_is_given_back_and_tried_again_later_and_later(self, node: Node) -> None:
        node.want("3g.20gb@4")
        node.settle(4)
        fault = Fault(call=Call.DESTROY_COMPUTE_INSTANCE, harm=Harm.FAIL, nth=None, error=SliceInUse)
        node.controls.inject(fault)
        node.want()
        node.settle(40)
        assert node.slices() == ["3g.20gb@4"]
        refused = [each.why for each in node.happened if each.kind is Kind.HANDLE_HELD]
        assert 3 <= len(refused) <= 6
        assert refused[0].endswith("no process is listed, so a monitor such as DCGM may have it open")
        assert node.kinds.count(Kind.DESTROYED) == 0

        node.controls.clear_faults()
        node.settle(70)
        assert node.slices() == []

    @pytest.mark.parametrize("error", [GpuTimeout, InsufficientResources, GpuError])
    @pytest.mark.parametrize("when", list(When))
    @pytest.mark.parametrize("call", [Call.CREATE_GPU_INSTANCE, Call.CREATE_COMPUTE_INSTANCE])
    def test_a_create_whose_outcome_is_not_known_leaks_nothing(
        self, node: Node, call: Call, when: When, error: type[GpuError]
    ) -> None:
        node.controls.inject(Fault(call=call, harm=Harm.FAIL, when=when, error=error))
        node.want("3g.20gb@4")
        node.settle(8)
        assert node.slices() == ["3g.20gb@4"]
        assert node.disk.intents == {}

    def test_one_that_never_succeeds_is_told_and_hinders_no_other(self, node: Node) -> None:
        node.want("1g.5gb@0", "2g.10gb@2")
        node.controls.inject(Fault(call=Call.CREATE_COMPUTE_INSTANCE, harm=Harm.FAIL, error=GpuTimeout))
        node.controls.inject(Fault(call=Call.DESTROY_GPU_INSTANCE, harm=Harm.FAIL, nth=None, error=GpuTimeout))
        for _ in range(3):
            node.step()
        assert "2g.10gb@2" in node.slices()


class TestTheJournal:
    def test_nothing_is_cut_while_it_cannot_be_written_and_all_is_when_it_can(self, node: Node) -> None:
        node.disk.full = True
        node.want("3g.20gb@4")
        node.settle(3)
        assert node.slices() == []
        journal = node.board.snapshot().journal
        assert (journal.state, journal.why) == (JournalState.UNWRITABLE, "the disk is full")

        node.disk.full = False
        node.settle(3)
        assert node.slices() == ["3g.20gb@4"]
        assert node.board.snapshot().journal.state is JournalState.CLEAN

    def test_what_was_on_its_way_out_is_given_back_while_it_cannot_be_written(self, node: Node) -> None:
        node.want(*TWO)
        node.settle(4)
        node.want()
        node.disk.full = True
        node.settle(8)
        assert node.slices() == list(TWO)
        assert node.board.snapshot().journal.state is JournalState.UNWRITABLE
        assert not any(mark.withdrawn_since for mark in node.board.snapshot().marks.values())
        assert node.believed
        assert all(node.believed.values())

        node.disk.full = False
        node.settle(8)
        assert node.slices() == []

    def test_an_intent_of_before_a_reboot_is_closed_and_the_layout_made_anew(self, node: Node) -> None:
        node.want(*TWO)
        node.settle(4)
        key = SliceKey(profile=ProfileName.parse("3g.20gb"), start=0)
        node.disk.open("boot-1")[0].intend(Operation.DESTROY, node.uuid, key, mig_uuid="MIG-of-before")
        node.controls.reboot()
        node.boot = 2
        node.restart_agent()
        node.settle(6)
        assert node.slices() == list(TWO)
        assert node.disk.intents == {}
        assert set(node.injection.published.values()) == node.mig_uuids()


class TestReleases:
    """A relay gave its slice back and its pod goes on, while the agent is ended and started anew."""

    @pytest.fixture
    def relay(self, node: Node) -> Pod:
        node.want("3g.20gb@0", "3g.20gb@4")
        node.settle(5)
        pod = node.run("3g.20gb")
        node.round()
        return pod

    def test_the_id_is_refused_until_the_kubelet_dropped_the_pod_and_offered_again_then(
        self, node: Node, relay: Pod
    ) -> None:
        assert node.release(relay)
        node.restart_agent()
        node.settle(4)
        assert node.believed[DeviceId(str(relay.slice_id))]  # the scheduler counts the relay's pod against it
        with pytest.raises(NotToBeGiven, match="released by its last pod"):
            node.board.hand_out(relay.slice_id, node.clock())
        node.end(relay)
        node.settle(3)
        node.restart_agent()
        node.settle(2)
        assert node.board.hand_out(relay.slice_id, node.clock()) == relay.mig_uuid

    def test_its_place_is_another_profiles_and_the_same_one_is_not_made_there_before_the_pod_is_gone(
        self, node: Node, relay: Pod
    ) -> None:
        assert node.release(relay)
        node.want("3g.20gb@4", "2g.10gb@0")
        node.restart_agent()
        node.settle(4)
        assert node.slices() == ["2g.10gb@0", "3g.20gb@4"]
        assert node.believed[DeviceId(str(relay.slice_id))]
        node.want(*TWO)
        node.restart_agent()
        node.settle(6)
        assert node.slices() == ["3g.20gb@4"]
        node.end(relay)
        node.settle(3)
        assert node.slices() == list(TWO)
        assert node.board.hand_out(relay.slice_id, node.clock()) != relay.mig_uuid

    @pytest.mark.parametrize("write", ["before remember", "after remember", "before forget", "after forget"])
    def test_killed_beside_a_write_of_it_no_pod_loses_its_slice_and_none_keeps_the_id(
        self, node: Node, relay: Pod, write: str
    ) -> None:
        def at(what: str) -> None:
            if what == write:
                node.releases.at = lambda _: None
                raise Killed

        node.releases.at = at
        released = False
        with suppress(Killed):
            released = node.release(relay)
        if not released:  # its relay was not answered
            node.restart_agent()
        node.settle(2)
        node.end(relay)
        for _ in range(3):
            try:
                node.round()
            except Killed:
                node.restart_agent()
        node.settle(2)
        after = node.run("3g.20gb")
        node.want("7g.40gb@0")
        node.restart_agent()
        node.settle(6)
        assert after.mig_uuid in node.mig_uuids()
        assert node.releases.uuids == {}

    def test_what_cannot_be_written_down_is_not_released_and_does_not_end(self, node: Node, relay: Pod) -> None:
        node.releases.full = True
        node.stop(relay)
        with pytest.raises(OSError, match="no space"):
            node.release(relay)
        assert node.board.snapshot().mark(relay.slice_id).release is None
        node.releases.full = False
        assert node.release(relay)
        node.releases.full = True
        node.end(relay)
        node.settle(3)
        with pytest.raises(NotToBeGiven, match="released"):
            node.board.hand_out(relay.slice_id, node.clock())
        node.releases.full = False
        node.settle(2)
        assert node.board.hand_out(relay.slice_id, node.clock())


CHANGES = (
    Call.CREATE_GPU_INSTANCE,
    Call.CREATE_COMPUTE_INSTANCE,
    Call.DESTROY_COMPUTE_INSTANCE,
    Call.DESTROY_GPU_INSTANCE,
    Call.INVENTORY,
    Call.PROCESSES,
)


def kills() -> Iterator[tuple[Call, When, int]]:
    for call in CHANGES:
        for when in When:
            for nth in range(1, 4):
                yield call, when, nth


@pytest.mark.parametrize(("call", "when", "nth"), list(kills()), ids=str)
def test_killed_in_any_call_of_a_merge_it_converges_and_the_busy_neighbour_lives(
    node: Node, call: Call, when: When, nth: int
) -> None:
    node.want("1g.5gb@0", "2g.10gb@2", "3g.20gb@4")
    node.settle(5)
    pod = node.run("3g.20gb")
    node.start(pod)
    node.controls.inject(Fault(call=call, harm=Harm.KILL, when=when, nth=nth))
    node.want(*TWO)
    for _ in range(14):
        try:
            node.round()
        except Killed:
            node.restart_agent()
    assert node.slices() == list(TWO)
    assert pod.mig_uuid in node.mig_uuids()
    assert node.disk.intents == {}
    assert set(node.injection.published.values()) == node.mig_uuids()


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("write", ["before intend", "after intend", "before done", "after done"])
def test_killed_beside_any_write_of_the_journal_it_converges_too(node: Node, write: str, nth: int) -> None:
    left = [nth]

    def at(what: str) -> None:
        left[0] -= what == write
        if left[0] == 0 and what == write:
            raise Killed

    node.want("1g.5gb@0", "2g.10gb@2", "3g.20gb@4")
    node.settle(5)
    pod = node.run("3g.20gb")
    node.start(pod)
    node.disk.at = at
    node.want("1g.5gb@0", "1g.5gb@1", "1g.5gb@2", "3g.20gb@4")
    for _ in range(14):
        try:
            node.round()
        except Killed:
            node.restart_agent()
    assert left[0] <= 0
    assert node.slices() == ["1g.5gb@0", "1g.5gb@1", "1g.5gb@2", "3g.20gb@4"]
    assert pod.mig_uuid in node.mig_uuids()
    assert node.disk.intents == {}


def test_a_gpu_with_nothing_to_do_is_read_every_two_seconds_and_not_more_often(node: Node) -> None:
    node.want()
    waits = [node.step(), node.step()]
    assert READ_EVERY_S - 0.1 < waits[1] <= READ_EVERY_S
    read_at = node.board.snapshot().readings[node.uuid].read_at
    node.step()
    assert node.board.snapshot().readings[node.uuid].read_at == read_at
