"""What an agent reports: each slice's state, what only the last report knows, and conditions that say why."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from knative_mig.core.agent.readings import Complaint, GpuReading, KubeletReading, KubeletView, Mark, Release, Unnamed
from knative_mig.core.agent.status import Applied, Known, gpu_node_status
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import (
    Condition,
    ConditionType,
    GpuHealth,
    GpuNodeStatus,
    JournalState,
    Layout,
    SliceState,
    SliceStatus,
)
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.mig_tables import gpu_model
from tests.rigs.agent_worlds import holder, reading, slice_id, view, wanted_node

A = GpuUuid("A")


def known(*readings: GpuReading, kubelet: KubeletView | None = None, marks: Mapping[str, Mark] | None = None) -> Known:
    """A node on which all is well."""
    return Known(
        readings={each.uuid: each for each in readings},
        marks={slice_id("A", words): mark for words, mark in (marks or {}).items()},
        applied={each.uuid: Applied(settled=True, spec_generation=1) for each in readings},
        spec=wanted_node("A"),
        kubelet=KubeletReading(view=kubelet or KubeletView(), asked_at=100.0),
        models=(gpu_model("A100-40GB"),),
        journal=JournalState.CLEAN,
        registered=True,
        other_owners=(),
    )


def the_slice(status: GpuNodeStatus) -> SliceStatus:
    ((each,),) = [gpu.slices for gpu in status.gpus]
    return each


def condition(status: GpuNodeStatus, kind: ConditionType) -> Condition:
    found = status.condition(kind)
    assert found is not None
    return found


def read(status: GpuNodeStatus, kind: ConditionType) -> tuple[bool | None, str]:
    return condition(status, kind).status, condition(status, kind).reason


LOST = Unnamed(health=GpuHealth.LOST, why="NVML could not find GPU 1")


def test_one_that_has_not_said_who_it_is_is_the_one_reported_before_that_is_missing() -> None:
    before = gpu_node_status(known(reading("A", "3g.20gb@4"), reading("B", "3g.20gb@0")), None, now=0.0)
    status = gpu_node_status(replace(known(reading("A", "3g.20gb@4")), unnamed={1: LOST}), before, now=1.0)
    assert [(gpu.uuid, gpu.health) for gpu in status.gpus] == [("A", GpuHealth.HEALTHY), ("B", GpuHealth.LOST)]
    assert [str(each.key) for each in status.gpus[1].slices] == ["3g.20gb@0"]
    assert read(status, ConditionType.GPUS_HEALTHY) == (False, "GpuLost")
    assert read(status, ConditionType.READY) == (True, "Ready")


def test_one_that_has_not_said_who_it_is_and_was_never_reported_is_told_by_its_number() -> None:
    status = gpu_node_status(replace(known(reading("A", "3g.20gb@4")), unnamed={1: LOST}), None, now=1.0)
    assert [gpu.uuid for gpu in status.gpus] == ["A"]
    assert condition(status, ConditionType.GPUS_HEALTHY).message == "GPU 1 is Lost: NVML could not find GPU 1"
    alone = gpu_node_status(replace(known(), unnamed={1: LOST}), None, now=1.0)
    assert read(alone, ConditionType.READY) == (False, "NoHealthyGpu")


def test_a_spec_may_name_one_that_has_not_said_who_it_is() -> None:
    wants_both = replace(known(reading("A", "3g.20gb@4")), spec=wanted_node("B", "3g.20gb@0"))
    assert read(gpu_node_status(wants_both, None, 0.0), ConditionType.SPEC_APPLIED) == (False, "UnknownGpu")
    with_unnamed = replace(wants_both, unnamed={1: LOST})
    assert read(gpu_node_status(with_unnamed, None, 0.0), ConditionType.SPEC_APPLIED) == (False, "GpuUnusable")


def test_a_spec_may_name_one_that_a_new_agent_has_still_to_read() -> None:
    before = gpu_node_status(known(reading("A"), reading("B", "3g.20gb@0")), None, now=0.0)
    wants_both = replace(known(reading("A")), spec=wanted_node("B", "3g.20gb@0"), all_read=False)
    for last in (before, None):
        assert read(gpu_node_status(wants_both, last, 1.0), ConditionType.SPEC_APPLIED) == (False, "GpuUnusable")


def test_a_static_node_answers_each_spec_though_it_applies_none() -> None:
    """Or the planner would leave it out for good once a new leader's token has made its spec newer."""
    static = replace(known(reading("A", "3g.20gb@4")), layout=Layout.STATIC, applied={})
    before = gpu_node_status(static, None, now=0.0)
    newer = replace(static, spec=wanted_node("A", "7g.40gb@0", generation=9))
    after = gpu_node_status(newer, before, now=1.0)
    assert (before.observed_generation, after.observed_generation) == (1, 9)
    assert read(after, ConditionType.SPEC_APPLIED) == (None, "StaticLayout")


@pytest.mark.parametrize(
    ("words", "kubelet", "mark", "state"),
    [
        pytest.param("3g.20gb@4", "3g.20gb@4", Mark(), SliceState.IDLE, id="nobody has it"),
        pytest.param("3g.20gb@4", "3g.20gb@4 by d/chat", Mark(), SliceState.BUSY, id="a pod holds it"),
        pytest.param("3g.20gb@4 as M with 7", "3g.20gb@4", Mark(), SliceState.BUSY, id="a process is on it"),
        pytest.param("3g.20gb@4 unlisted", "3g.20gb@4", Mark(), SliceState.BUSY, id="processes cannot be listed"),
        pytest.param("3g.20gb@4", "3g.20gb@4", Mark(handed_out_at=99.0), SliceState.BUSY, id="just handed out"),
        pytest.param("3g.20gb@4", "3g.20gb@4", Mark(handed_out_at=9.0), SliceState.IDLE, id="handed out long ago"),
        pytest.param("3g.20gb@4", "3g.20gb@4", Mark(withdrawn_since=1.0), SliceState.DRAINING, id="withdrawn"),
        pytest.param("3g.20gb@4", "3g.20gb@4 by d/chat", Mark(broken="XID 94"), SliceState.BROKEN, id="broken"),
        pytest.param("3g.20gb@4 half made", "3g.20gb@4", Mark(), SliceState.BROKEN, id="half made"),
        pytest.param(
            "3g.20gb@4 as M",
            "3g.20gb@4 by d/chat",
            Mark(release=Release(since=1.0, mig_uuid="M")),
            SliceState.RELEASED,
            id="released, its pod still there",
        ),
        pytest.param(
            "3g.20gb@4 as M with 7",
            "3g.20gb@4 by d/chat",
            Mark(release=Release(since=1.0, mig_uuid="M")),
            SliceState.BUSY,
            id="released, and a process came back",
        ),
    ],
)
def test_the_state_of_a_slice(words: str, kubelet: str, mark: Mark, state: SliceState) -> None:
    status = gpu_node_status(known(reading("A", words), kubelet=view("A", kubelet), marks={"3g.20gb@4": mark}), None, 5)
    assert the_slice(status).state is state


def test_an_idle_slice_is_idle_since_its_pod_went_and_names_it() -> None:
    slice_ = reading("A", "3g.20gb@4")
    busy = gpu_node_status(known(slice_, kubelet=view("A", "3g.20gb@4 by d/chat")), None, 10.0)
    assert (the_slice(busy).idle_since, the_slice(busy).last_holder) == (None, holder("d/chat"))
    idle = gpu_node_status(known(slice_), busy, 20.0)
    later = gpu_node_status(known(slice_), idle, 30.0)
    assert (the_slice(later).idle_since, the_slice(later).last_holder) == (20.0, holder("d/chat"))
    assert later == idle  # so nothing is written


def test_a_slice_that_was_made_anew_inherits_nothing() -> None:
    old = gpu_node_status(known(reading("A", "3g.20gb@4 as M1"), kubelet=view("A", "3g.20gb@4 by d/chat")), None, 10.0)
    old = gpu_node_status(known(reading("A", "3g.20gb@4 as M1")), old, 20.0)
    new = gpu_node_status(known(reading("A", "3g.20gb@4 as M2")), old, 30.0)
    assert (the_slice(new).idle_since, the_slice(new).last_holder) == (30.0, None)


def test_while_the_kubelet_is_away_its_last_word_stands_and_the_node_is_not_ready() -> None:
    slice_ = reading("A", "3g.20gb@4")
    before = gpu_node_status(known(slice_, kubelet=view("A", "3g.20gb@4 by d/chat")), None, 10.0)
    away = replace(known(slice_), kubelet=None)
    status = gpu_node_status(away, before, 20.0)
    assert (the_slice(status).state, the_slice(status).holders) == (SliceState.BUSY, (holder("d/chat"),))
    assert read(status, ConditionType.READY) == (False, "KubeletUnreachable")
    assert the_slice(gpu_node_status(away, None, 20.0)).state is SliceState.BUSY  # nobody said that it is free


def test_a_spec_is_observed_once_every_gpu_it_names_was_judged_by_it() -> None:
    slice_ = reading("A", "3g.20gb@4")
    first = gpu_node_status(known(slice_), None, 1.0)
    assert first.observed_generation == 1
    newer = replace(known(slice_), spec=wanted_node("A", "3g.20gb@4", generation=2))
    status = gpu_node_status(newer, first, 2.0)
    assert (status.observed_generation, read(status, ConditionType.SPEC_APPLIED)) == (1, (None, "NotTakenUpYet"))
    taken_up = replace(newer, applied={A: Applied(settled=False, doing="creating", spec_generation=2)})
    status = gpu_node_status(taken_up, status, 3.0)
    assert (status.observed_generation, read(status, ConditionType.SPEC_APPLIED)) == (2, (False, "Changing"))
    done = replace(newer, applied={A: Applied(settled=True, spec_generation=2)})
    assert read(gpu_node_status(done, status, 4.0), ConditionType.SPEC_APPLIED) == (True, "Applied")


def test_what_cannot_be_applied_is_quoted_and_the_rest_counts_as_taken_up() -> None:
    complaint = Complaint(reason="Overlap", message="A: 3g.20gb@4 overlaps 7g.40gb@0")
    state = replace(known(reading("A")), applied={A: Applied(settled=True, complaints=(complaint,), spec_generation=1)})
    status = gpu_node_status(state, None, 1.0)
    assert status.observed_generation == 1
    assert read(status, ConditionType.SPEC_APPLIED) == (False, "Overlap")
    assert complaint.message in condition(status, ConditionType.SPEC_APPLIED).message


def test_a_gpu_in_the_spec_that_is_not_here_is_said() -> None:
    status = gpu_node_status(replace(known(reading("A")), spec=wanted_node("B")), None, 1.0)
    assert read(status, ConditionType.SPEC_APPLIED) == (False, "UnknownGpu")


def test_a_condition_is_as_old_as_its_status_whatever_its_message() -> None:
    def at(now: float, why: str, before: GpuNodeStatus | None) -> GpuNodeStatus:
        return gpu_node_status(known(reading("A", health=GpuHealth.LOST, why=why)), before, now)

    first = at(1.0, "off the bus", None)
    second = at(2.0, "still off the bus", first)
    assert condition(second, ConditionType.GPUS_HEALTHY).since == 1.0
    assert "still" in condition(second, ConditionType.GPUS_HEALTHY).message
    healed = gpu_node_status(known(reading("A")), second, 3.0)
    assert condition(healed, ConditionType.GPUS_HEALTHY).since == 3.0


def test_one_lost_gpu_of_two_leaves_the_node_ready_and_all_lost_do_not() -> None:
    lost = reading("A", health=GpuHealth.LOST)
    one = gpu_node_status(known(lost, reading("B")), None, 1.0)
    assert read(one, ConditionType.READY) == (True, "Ready")
    assert read(one, ConditionType.GPUS_HEALTHY) == (False, "GpuLost")
    assert read(gpu_node_status(known(lost), None, 1.0), ConditionType.READY) == (False, "NoHealthyGpu")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"other_owners": ("gpu-operator/nvidia-device-plugin-x",)}, "OtherOwner", id="another plugin"),
        pytest.param({"kubelet": None}, "KubeletUnreachable", id="the kubelet is away"),
        pytest.param({"registered": False}, "NotRegistered", id="the kubelet does not listen"),
        pytest.param({"journal": JournalState.UNWRITABLE}, "JournalUnwritable", id="a full disk"),
        pytest.param({"journal": JournalState.RECOVERING}, "Recovering", id="just started"),
        pytest.param({"processes_verified": False}, "ProcessesHidden", id="no hostPID"),
        pytest.param({"readings": {}}, "NotReadYet", id="no GPU was read"),
    ],
)
def test_why_a_node_is_not_to_be_planned_on(change: Mapping[str, object], reason: str) -> None:
    state = replace(known(reading("A")), **change)  # type: ignore[arg-type]
    status, said = read(gpu_node_status(state, None, 1.0), ConditionType.READY)
    assert (status is not True, said) == (True, reason)


def test_a_static_node_is_ready_beside_its_administrators_plugin() -> None:
    state = replace(
        known(reading("A")),
        layout=Layout.STATIC,
        registered=None,
        other_owners=("gpu-operator/nvidia-device-plugin-x",),
        journal=JournalState.RECOVERING,
    )
    status = gpu_node_status(state, None, 1.0)
    assert read(status, ConditionType.READY) == (True, "Ready")
    assert read(status, ConditionType.SPEC_APPLIED) == (None, "StaticLayout")


def test_two_boards_of_one_product_that_differ_get_two_names() -> None:
    plain = gpu_model("A100-40GB")
    odd = GpuModel(
        name=plain.name,
        memory_units=plain.memory_units,
        compute_slices=plain.compute_slices,
        profiles=tuple(replace(each, memory_mib=20096) for each in plain.profiles),
    )
    other = replace(reading("B"), model=odd)
    state = replace(known(reading("A"), other), models=(plain, odd))
    status = gpu_node_status(state, None, 1.0)
    assert [each.name for each in status.models] == ["A100-40GB", "A100-40GB (2)"]
    assert [gpu.model for gpu in status.gpus] == ["A100-40GB", "A100-40GB (2)"]
    assert gpu_node_status(state, status, 2.0) == status


def test_until_a_restarted_agent_has_read_a_gpu_its_predecessors_word_on_it_is_kept_and_not_planned_on() -> None:
    before = gpu_node_status(known(reading("A", "3g.20gb@4")), None, 10.0)
    started = gpu_node_status(replace(known(), models=(), all_read=False), before, 20.0)
    assert [model.name for model in started.models] == [started.gpus[0].model]
    assert the_slice(started).idle_since == 10.0
    assert read(started, ConditionType.READY) == (False, "NoHealthyGpu")
    assert the_slice(gpu_node_status(known(reading("A", "3g.20gb@4")), started, 30.0)).idle_since == 10.0


def test_a_gpu_that_was_taken_out_is_reported_no_more() -> None:
    before = gpu_node_status(known(reading("A", "3g.20gb@4"), reading("B")), None, 10.0)
    assert [gpu.uuid for gpu in gpu_node_status(known(reading("B")), before, 20.0).gpus] == ["B"]
