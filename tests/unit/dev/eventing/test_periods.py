"""ISO 8601's periods, as a Trigger's delivery writes them."""

import re

import pytest

from knative_mig.dev.eventing import periods


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.2S", 0.2),
        ("PT1M30S", 90.0),
        ("P1DT2H", 93_600.0),
        ("P1W", 604_800.0),
        ("PT1,5S", 1.5),
        ("-PT2S", -2.0),
        ("PT.5S", 0.5),
        ("PT0.25S", 0.2),  # as Knative reads it
    ],
)
def test_a_period_is_so_many_seconds(text: str, seconds: float) -> None:
    assert periods.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0", "1s", "P", "PT", "PT1", "pt1s", "PT1S1M", "PTS", "1", "PT٣S"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        periods.seconds(text)
