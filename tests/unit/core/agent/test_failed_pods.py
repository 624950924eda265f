"""Pods that cannot come right by themselves go, and no others."""

import pytest

from knative_mig.core.agent.failed_pods import (
    DEAD_ENGINE_GRACE_S,
    Why,
    dead_slices,
    failed_at_admission,
    on_broken_slices,
    on_changed_slices,
)
from knative_mig.core.agent.readings import Mark, Release, Unnamed
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import GpuHealth
from tests.rigs.agent_worlds import NODE, pod, reading, slice_id, view

FAILED = Phase.FAILED


@pytest.mark.parametrize(
    ("each", "goes"),
    [
        pytest.param(pod("d/a", "3g.20gb", phase=FAILED, reason="UnexpectedAdmissionError"), True, id="not admitted"),
        pytest.param(pod("d/a", "3g.20gb", phase=FAILED, reason="OutOfnvidia.com/mig-3g.20gb"), True, id="none left"),
        pytest.param(
            pod("d/a", "3g.20gb", phase=FAILED, reason="UnexpectedAdmissionError", owner=""), False, id="bare"
        ),
        pytest.param(pod("d/a", phase=FAILED, reason="UnexpectedAdmissionError"), False, id="wants no slice of ours"),
        pytest.param(pod("d/a", "3g.20gb", phase=FAILED, reason="OutOfcpu"), False, id="failed for its CPU"),
        pytest.param(pod("d/a", "3g.20gb", phase=FAILED, reason=""), False, id="its container failed"),
        pytest.param(pod("d/a", "3g.20gb", reason="UnexpectedAdmissionError"), False, id="runs"),
        pytest.param(
            pod("d/a", "3g.20gb", phase=FAILED, reason="UnexpectedAdmissionError", node="n2"), False, id="elsewhere"
        ),
    ],
)
def test_a_pod_that_was_not_admitted_for_its_slice_is_deleted(each: PodFacts, *, goes: bool) -> None:
    removals = failed_at_admission([each], NODE)
    assert [(each.uid, each.evict, each.grace_s) for each in removals] == ([("uid-a", False, None)] if goes else [])
    assert all(each.reason in removal.message for removal in removals)


def test_the_pod_on_a_broken_slice_is_evicted_with_the_reason_and_its_neighbour_stays() -> None:
    now = view("A", "3g.20gb@4 by d/ill lost", "1g.5gb@0 by d/well")
    broken = {slice_id("A", "3g.20gb@4"): "XID 94: contained memory error"}
    (removal,) = on_broken_slices([pod("d/ill"), pod("d/well")], broken, now)
    assert (removal.pod, removal.evict, removal.why) == ("ill", True, Why.SLICE_BROKEN)
    assert "XID 94" in removal.message


def test_a_pod_that_would_restart_on_another_slice_is_deleted_whatever_budgets_say() -> None:
    changed = {slice_id("A", "3g.20gb@4"): "it was made anew"}
    (removal,) = on_changed_slices([pod("d/a")], changed, view("A", "3g.20gb@4 by d/a"))
    assert (removal.evict, removal.why) == (False, Why.SLICE_CHANGED)


def test_nobody_waits_for_a_dead_engine_to_answer_its_last_requests_but_for_its_processes_to_end() -> None:
    why = {slice_id("A", "3g.20gb@4"): "x"}
    there = view("A", "3g.20gb@4 by d/a")
    for (removal,) in (on_broken_slices([pod("d/a")], why, there), on_changed_slices([pod("d/a")], why, there)):
        assert removal.grace_s == DEAD_ENGINE_GRACE_S > 0


def test_a_pod_with_two_broken_slices_goes_once() -> None:
    broken = {slice_id("A", "3g.20gb@4"): "x", slice_id("A", "1g.5gb@0"): "y"}
    assert len(on_broken_slices([pod("d/a")], broken, view("A", "3g.20gb@4 by d/a", "1g.5gb@0 by d/a"))) == 1


def test_a_pod_that_ends_already_or_that_is_not_known_is_left_to_it() -> None:
    broken = {slice_id("A", "3g.20gb@4"): "x"}
    assert on_broken_slices([pod("d/a", phase=FAILED)], broken, view("A", "3g.20gb@4 by d/a")) == ()
    assert on_broken_slices([], broken, view("A", "3g.20gb@4 by d/a")) == ()


def test_dead_are_broken_slices_those_of_a_lost_gpu_and_those_that_are_not_there() -> None:
    held = view("A", "3g.20gb@4 by d/a", "1g.5gb@0 by d/b")
    well = reading("A", "3g.20gb@4", "1g.5gb@0")
    assert dead_slices({well.uuid: well}, {}, held) == {}
    assert dead_slices({well.uuid: well}, {slice_id("A", "1g.5gb@0"): Mark(broken="XID 94")}, held) == {
        slice_id("A", "1g.5gb@0"): "XID 94"
    }
    gone = reading("A", "3g.20gb@4")
    assert list(dead_slices({gone.uuid: gone}, {}, held)) == [slice_id("A", "1g.5gb@0")]
    lost = reading("A", "3g.20gb@4", "1g.5gb@0", health=GpuHealth.LOST, why="off the bus")
    assert len(dead_slices({lost.uuid: lost}, {}, held)) == 2


def test_a_gpu_that_cannot_be_read_now_costs_nobody_its_pod() -> None:
    blind = reading("A", health=GpuHealth.UNREADABLE)
    assert dead_slices({blind.uuid: blind}, {}, view("A", "3g.20gb@4 by d/a")) == {}
    assert dead_slices({}, {}, view("A", "3g.20gb@4 by d/a")) == {}


def test_dead_are_those_of_a_gpu_that_was_lost_before_it_said_who_it_is() -> None:
    held = view("A", "3g.20gb@4 by d/a")
    there, lost = reading("B"), Unnamed(health=GpuHealth.LOST, why="off the bus")
    assert dead_slices({there.uuid: there}, {}, held, {1: lost}) == {
        slice_id("A", "3g.20gb@4"): "its GPU is Lost: off the bus"
    }
    hangs = Unnamed(health=GpuHealth.UNREADABLE, why="no answer")
    assert dead_slices({there.uuid: there}, {}, held, {1: lost, 2: hangs}) == {}, "it may be either"
    released = {slice_id("A", "3g.20gb@4"): Mark(release=Release(since=1.0, mig_uuid="MIG-old"))}
    assert dead_slices({there.uuid: there}, released, held, {1: lost}) == {}


def test_the_pod_that_released_its_slice_goes_on_though_the_slice_is_gone() -> None:
    now = reading("A", "1g.5gb@4")
    released = {slice_id("A", "3g.20gb@4"): Mark(release=Release(since=1.0, mig_uuid="MIG-old"))}
    assert dead_slices({now.uuid: now}, released, view("A", "3g.20gb@4 by d/relay")) == {}
