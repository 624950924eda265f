"""How a time is told: counted from now, or by the clock."""

import pytest

from knative_mig.core.planner.times import by_the_clock, in_seconds


@pytest.mark.parametrize(("at", "told"), [(20.0, "in 0 s"), (92.4, "in 72 s"), (10.0, "in 0 s")])
def test_what_is_printed_once_counts_from_now(at: float, told: str) -> None:
    assert in_seconds(20.0)(at) == told


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (0.0, "00:00:00"),
        (1_764_452_875.9, "21:47:55"),
        (86_399.0, "23:59:59"),
        (1e18, "01:46:40"),  # no time that an API server may say is too late
    ],
)
def test_what_stands_somewhere_has_a_time_of_day(at: float, told: str) -> None:
    assert by_the_clock(at) == f"at about {told} UTC"
