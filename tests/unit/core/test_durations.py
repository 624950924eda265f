"""Durations as Go writes and reads them."""

import pytest

from knative_mig.core.durations import seconds


@pytest.mark.parametrize(
    ("text", "is_s"),
    [("60s", 60), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("1h0m0.5s", 3600.5), (".5m", 30), ("0", 0)],
)
def test_a_duration_is_so_many_seconds(text: str, is_s: float) -> None:
    assert seconds(text) == pytest.approx(is_s)


@pytest.mark.parametrize("text", ["", "60", "s", "1m 30s", "1d", "-", "sixty", "1m30"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        seconds(text)
