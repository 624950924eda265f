"""A pod that lives keeps its slice, whether or not a kubelet that has just started lists it yet."""

from dataclasses import replace

import pytest

from knative_mig.core.agent.known_holders import left_out, reported_holders, with_known_holders
from knative_mig.core.agent.readings import KubeletView
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import GpuHealth, GpuNodeStatus, GpuStatus, SliceState, SliceStatus
from knative_mig.core.inventory import GpuUuid
from tests.rigs.agent_worlds import holder, pod, slice_id, view

BEFORE = view("A", "3g.20gb@4 by d/chat", "1g.5gb@0")
CHAT = pod("d/chat", "3g.20gb")


def test_whom_it_does_not_list_yet_has_its_slice_still() -> None:
    told = view("A", "3g.20gb@4", "1g.5gb@0")
    now = with_known_holders(told, BEFORE, [CHAT, pod("d/new", "1g.5gb")])
    assert now == BEFORE
    assert with_known_holders(told, now, [CHAT]) == BEFORE  # for as long as it takes
    ((device, holder),) = left_out(now, told)
    assert (device.endswith("/3g.20gb/4"), holder.pod) == (True, "chat")


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param([], id="gone"),
        pytest.param([replace(CHAT, phase=Phase.SUCCEEDED)], id="over"),
        pytest.param([replace(CHAT, ends_at=9.0)], id="told to end"),
        pytest.param([pod("d/chat", "1g.5gb")], id="another of its name"),
    ],
)
def test_of_one_that_does_not_live_the_kubelets_word_counts(pods: list[PodFacts]) -> None:
    told = view("A", "3g.20gb@4", "1g.5gb@0")
    assert with_known_holders(told, BEFORE, pods) == told


def test_of_one_that_it_lists_its_word_counts_also_where_it_has_another_slice() -> None:
    told = view("A", "3g.20gb@4", "3g.20gb@0 by d/chat")
    assert with_known_holders(told, BEFORE, [CHAT]) == told


def test_who_comes_to_a_slice_that_is_held_stands_beside_its_holder() -> None:
    told = view("A", "3g.20gb@4 by d/new")
    now = with_known_holders(told, BEFORE, [CHAT, pod("d/new", "3g.20gb")])
    assert [each.pod for held_by in now.holders.values() for each in held_by] == ["new", "chat"]


def test_at_the_first_reading_there_is_nobody_to_know_of() -> None:
    told = view("A", "3g.20gb@4 by d/chat")
    assert with_known_holders(told, KubeletView(), [CHAT]) == told
    assert left_out(told, told) == ()


def test_while_the_api_server_has_not_told_the_pods_nobody_is_taken_for_gone() -> None:
    told = view("A", "3g.20gb@4", "1g.5gb@0")
    assert with_known_holders(told, BEFORE, None) == BEFORE
    elsewhere = view("A", "3g.20gb@4", "3g.20gb@0 by d/chat")
    assert with_known_holders(elsewhere, BEFORE, None) == elsewhere  # what the kubelet says itself counts


def test_a_new_agent_knows_whom_the_last_report_named() -> None:
    slices = tuple(
        SliceStatus(
            key=slice_id("A", words).key,
            size=1,
            mig_uuid=None,
            state=SliceState.BUSY if by else SliceState.IDLE,
            holders=by,
        )
        for words, by in (("3g.20gb@4", (holder("d/chat"),)), ("1g.5gb@0", ()))
    )
    last = GpuNodeStatus(
        gpus=(GpuStatus(uuid=GpuUuid("A"), product="", model="", health=GpuHealth.HEALTHY, slices=slices),)
    )
    told = view("A", "3g.20gb@4", "1g.5gb@0")
    assert with_known_holders(told, reported_holders(last), [CHAT]) == BEFORE
    assert with_known_holders(told, reported_holders(last), []) == told
