"""Kubernetes quantities (`100m`, `1.5Gi`, `2e3`) as whole numbers.

Called by `pod_requests`, and by what `dev` has of the API server and the kubelet. `exact` is what is written; `whole`
and `milli` are rounded up, as Kubernetes does: half a byte asked for is a byte taken.
"""

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, Final

from knative_mig.core.errors import BadInput

NO_QUANTITY: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SUFFIX: Final[dict[str, Fraction]] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}
# The exponent has two digits at most: beyond that no quantity of the API means anything, and a power of 10 that is
# computed exactly would take all memory.
_FORM = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))(?:[eE]([+-]?[0-9]{1,2})|([a-zA-Z]*))", re.ASCII
)


@lru_cache(maxsize=4096)
def exact(text: str) -> Fraction:
    """BadInput for what is no quantity."""
    match = _FORM.fullmatch(text)
    if match is None or (match[3] or "") not in _SUFFIX:
        raise BadInput(f"{text[:40]!r} is not a quantity: it is written like 2, 500m, 1.5Gi or 1e3")
    number = Fraction(match[1])
    return number * Fraction(10) ** int(match[2]) if match[2] else number * _SUFFIX[match[3] or ""]


def is_quantity(value: Any) -> bool:
    """Of what stands in JSON, where numbers are quantities too."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        exact(str(value))
    except BadInput:
        return False
    return True


def whole(text: str) -> int:
    return ceil(exact(text))


def milli(text: str) -> int:
    return ceil(exact(text) * 1000)
