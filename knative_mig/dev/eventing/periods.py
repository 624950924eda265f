"""Reads a period as ISO 8601 writes it (`PT0.2S`, `P1DT2H`), which is how a Trigger's delivery has its times.

The subtle thing is a fraction: as Knative reads it, only its first digit counts, so `PT0.25S` is a fifth of a second.
"""

import re
from typing import Final

# A month and a year are what they are on average, as Knative has it.
_DAY_S: Final = 86_400.0
_DATE_S: Final = {"Y": 365.2425 * _DAY_S, "M": 30.436875 * _DAY_S, "W": 7 * _DAY_S, "D": _DAY_S}
_TIME_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0}
_NUMBER: Final = r"(?=[\d.,])(\d*)(?:[.,](\d?)\d*)?"
_DATE: Final = "".join(f"(?:{_NUMBER}{unit})?" for unit in _DATE_S)
_TIME: Final = "".join(f"(?:{_NUMBER}{unit})?" for unit in _TIME_S)
_PERIOD: Final = re.compile(rf"([+-]?)P{_DATE}(?:T{_TIME})?", re.ASCII)


def seconds(text: str) -> float:
    """ValueError: it is none."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(text)
    sign, *digits = found.groups()
    numbers = zip(digits[::2], digits[1::2], (*_DATE_S.values(), *_TIME_S.values()), strict=True)
    said = [(whole or "0", tenths or "0", unit_s) for whole, tenths, unit_s in numbers if whole or tenths]
    if not said:
        raise ValueError(text)
    total = sum(float(f"{whole}.{tenths}") * unit_s for whole, tenths, unit_s in said)
    return -total if sign == "-" else total
