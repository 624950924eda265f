"""Reads a period as ISO 8601 writes it (`PT0.2S`, `P1DT2H`), which is how a Trigger's delivery has its times."""

import re
from typing import Final

# A month and a year are what they are on average, as Knative has it.
_DAY_S: Final = 86_400.0
_DATE_S: Final = {"Y": 365.2425 * _DAY_S, "M": 30.436875 * _DAY_S, "W": 7 * _DAY_S, "D": _DAY_S}
_TIME_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0}
_NUMBER: Final = r"[+-]?\d+(?:[.,]\d+)?"
_DATE: Final = "".join(f"(?:({_NUMBER}){unit})?" for unit in _DATE_S)
_TIME: Final = "".join(f"(?:({_NUMBER}){unit})?" for unit in _TIME_S)
_PERIOD: Final = re.compile(rf"([+-]?)P{_DATE}(T{_TIME})?", re.ASCII)


def seconds(text: str) -> float:
    """ValueError: it is none."""
    if text == "0":  # the one that needs no unit
        return 0.0
    found = _PERIOD.fullmatch(text)
    if found is None or text.endswith("T"):
        raise ValueError(text)
    sign, *date = found.groups()[: 1 + len(_DATE_S)]
    time = found.groups()[2 + len(_DATE_S) :]
    parts = [*zip(date, _DATE_S.values(), strict=True), *zip(time, _TIME_S.values(), strict=True)]
    if all(number is None for number, _ in parts):
        raise ValueError(text)
    total = sum(float(number.replace(",", ".")) * unit_s for number, unit_s in parts if number is not None)
    return -total if sign == "-" else total
