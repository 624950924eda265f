"""Durations as Go writes and reads them."""

import pytest

from knative_mig.core.durations import seconds, written


@pytest.mark.parametrize(
    ("text", "is_s"),
    [("60s", 60), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("1h0m0.5s", 3600.5), (".5m", 30), ("0", 0)],
)
def test_a_duration_is_so_many_seconds(text: str, is_s: float) -> None:
    assert seconds(text) == pytest.approx(is_s)


@pytest.mark.parametrize(
    ("is_s", "text"),
    [
        (10, "10s"),
        (80, "1m20s"),
        (300, "5m0s"),
        (3600, "1h0m0s"),
        (6.5, "6.5s"),
        (0.5, "500ms"),
        (-5, "-5s"),
        (0, "0s"),
    ],
)
def test_so_many_seconds_are_written_as_go_does(is_s: float, text: str) -> None:
    assert written(is_s) == text
    assert text.startswith("-") or seconds(text) == is_s


@pytest.mark.parametrize("text", ["", "60", "s", "1m 30s", "1d", "-", "sixty", "1m30"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        seconds(text)
