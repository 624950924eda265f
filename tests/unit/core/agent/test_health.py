"""What breaks a slice, what its GPU, and what is the application's own doing."""

import pytest

from knative_mig.core.agent.health import Harm, health_of, health_of_mode, verdict
from knative_mig.core.errors import GpuError, GpuLost, GpuNotFound, GpuTimeout, NotSupported, ResetRequired
from knative_mig.core.gpu_node import GpuHealth


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
