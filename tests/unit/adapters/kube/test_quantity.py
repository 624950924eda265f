from typing import Final

import pytest

from knative_mig.adapters.kube.quantity import milli, whole
from knative_mig.core.errors import BadInput

LEGAL: Final = [
    ("0", 0),
    ("2", 2),
    ("+3", 3),
    ("1500m", 2),  # rounded up
    ("1m", 1),
    ("1k", 1000),
    ("5M", 5_000_000),
    ("1G", 10**9),
    ("2T", 2 * 10**12),
    ("1Ki", 1024),
    ("1.5Gi", 1024**3 * 3 // 2),
    ("3Mi", 3 * 1024**2),
    ("1Ei", 1024**6),
    ("1e3", 1000),
    ("2E2", 200),
    ("1.5e1", 15),
    ("1E", 10**18),
    ("100n", 1),
    (".5", 1),
    ("5.", 5),
]


@pytest.mark.parametrize(("text", "number"), [pytest.param(*case, id=case[0]) for case in LEGAL])
def test_is_the_number_that_kubernetes_reads(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize(("text", "number"), [("2", 2000), ("100m", 100), ("0.1", 100), ("1u", 1), ("1e2", 100_000)])
def test_cpu_counts_in_thousandths(text: str, number: int) -> None:
    assert milli(text) == number


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "1K", "1e", "1e999", "1e3Gi", "--1", "½", "1Gi\n", "1" * 40])
def test_refuses_what_is_none(text: str) -> None:
    with pytest.raises(BadInput, match="is not a quantity"):
        whole(text)
