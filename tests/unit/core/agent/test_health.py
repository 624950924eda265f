"""What breaks a slice, what its GPU, and what is the application's own doing."""

from dataclasses import replace

import pytest

from knative_mig.core.agent.health import (
    SAYS_SO_WITHIN_S,
    BrokenSlice,
    Harm,
    Quarantine,
    health_of,
    health_of_mode,
    still_broken,
    verdict,
)
from knative_mig.core.errors import GpuError, GpuLost, GpuNotFound, GpuTimeout, NotSupported, ResetRequired
from knative_mig.core.gpu_node import GpuHealth
from tests.rigs.agent_worlds import reading, slice_id


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 68, 109])
def test_an_applications_error_costs_the_slice_nothing(xid: int) -> None:
    assert verdict(xid).harm is Harm.NONE


@pytest.mark.parametrize("xid", [48, 74, 79, 95, 119, 120, 154])
def test_what_only_a_reset_cures_quarantines_the_gpu(xid: int) -> None:
    assert verdict(xid).harm is Harm.GPU


@pytest.mark.parametrize("xid", [94, 9999])
def test_a_contained_error_and_an_unknown_one_break_what_they_were_raised_on(xid: int) -> None:
    assert verdict(xid).harm is Harm.SLICE
    assert verdict(xid).why.startswith(f"XID {xid}")


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (GpuLost, GpuHealth.LOST),
        (GpuNotFound, GpuHealth.LOST),
        (ResetRequired, GpuHealth.RESET_REQUIRED),
        (NotSupported, GpuHealth.NO_MIG),
        (GpuTimeout, GpuHealth.UNREADABLE),
        (GpuError, GpuHealth.UNREADABLE),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_gpu_that_cannot_be_read_says_why(error: type[GpuError], health: GpuHealth) -> None:
    assert health_of(error("why")) is health


@pytest.mark.parametrize(
    ("current", "pending", "health"),
    [
        (True, True, GpuHealth.HEALTHY),
        (False, False, GpuHealth.NO_MIG),
        (True, False, GpuHealth.MODE_PENDING),
        (False, True, GpuHealth.MODE_PENDING),
    ],
)
def test_a_mode_that_is_off_or_pending_makes_no_slices(*, current: bool, pending: bool, health: GpuHealth) -> None:
    assert health_of_mode(current=current, pending=pending)[0] is health


SOON, LATE = 100.0 + SAYS_SO_WITHIN_S - 1, 100.0 + SAYS_SO_WITHIN_S


@pytest.mark.parametrize(
    ("slices", "failed", "words", "left", "now", "over"),
    [
        pytest.param("MIG-1", False, [None], "MIG-1", LATE, False, id="its slices are still there"),
        pytest.param("MIG-1", False, [False], "MIG-1", LATE, False, id="so they are, whatever the driver says"),
        pytest.param("MIG-1", False, [None], "", SOON, True, id="a reset took its slices"),
        pytest.param("MIG-1", False, [None], "MIG-2", SOON, True, id="others have been made since"),
        pytest.param(
            "MIG-1", False, [True], "", LATE, False, id="its slices went and the driver wants its reset still"
        ),
        pytest.param("", True, [None], "", SOON, True, id="it was away"),
        pytest.param("", True, [True], "", LATE, False, id="it was away and the driver wants another reset"),
        pytest.param("", False, [True, True], "", LATE, False, id="empty, the driver wants a reset"),
        pytest.param("", False, [True, False], "", SOON, True, id="empty, the driver wants it no more"),
        pytest.param("", False, [False], "", SOON, False, id="empty, the driver may yet say so"),
        pytest.param("", False, [False], "", LATE, True, id="empty, the driver never wanted one"),
        pytest.param("", False, [None], "", LATE, False, id="empty, the driver does not tell"),
    ],
)
def test_a_quarantine_is_over_when_the_gpu_has_been_reset_or_the_driver_says_that_it_is_well(
    *, slices: str, failed: bool, words: list[bool | None], left: str, now: float, over: bool
) -> None:
    began = quarantine(slices, failed=failed)
    for word in words:
        began = began.seen(wants_reset=word)
    assert began.over(frozenset(left.split()), wants_reset=words[-1], now=now) is over


@pytest.mark.parametrize(
    ("slices", "word", "left", "now", "over"),
    [
        pytest.param("MIG-1", False, "MIG-1", LATE, False, id="its slices are there"),
        pytest.param("MIG-1", None, "", SOON, True, id="a reset took its slices while no agent ran"),
        pytest.param("", True, "", LATE, False, id="empty, the driver wants a reset"),
        pytest.param("", False, "", SOON, False, id="empty, the driver may yet say so"),
        pytest.param("", False, "", LATE, True, id="empty, the driver wants none"),
        pytest.param("", None, "", SOON, True, id="empty, the driver does not tell, the administrator does"),
    ],
)
def test_one_that_began_under_another_agent_is_over_by_what_is_seen_now(
    *, slices: str, word: bool | None, left: str, now: float, over: bool
) -> None:
    of_before = replace(quarantine(slices, failed=True).seen(wants_reset=True), since=0.0)
    going_on = of_before.go_on(100.0).seen(wants_reset=word)
    assert going_on.over(frozenset(left.split()), wants_reset=word, now=now) is over


def test_only_the_very_slice_that_broke_is_broken_for_the_next_agent() -> None:
    now = reading("A", "3g.20gb@0 as MIG-1", "3g.20gb@4 as MIG-9")
    kept = {
        slice_id("A", "3g.20gb@0"): BrokenSlice(mig_uuid="MIG-1", why="XID 94"),
        slice_id("A", "3g.20gb@4"): BrokenSlice(mig_uuid="MIG-2", why="XID 94"),
        slice_id("A", "1g.5gb@2"): BrokenSlice(mig_uuid="MIG-3", why="XID 94"),
    }
    assert still_broken(kept, now) == {slice_id("A", "3g.20gb@0"): "XID 94"}


def quarantine(slices: str, *, failed: bool) -> Quarantine:
    return Quarantine(why="XID 95", since=100.0, mig_uuids=frozenset(slices.split()), failed_since=failed)
