"""Reads and writes a duration as Go does (`1m30s`), which is how Knative's annotations and ConfigMaps have it."""

import re
from typing import Final

_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


def seconds(text: str) -> float:
    """ValueError: it is none."""
    if text == "0":  # the one that needs no unit
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def written(duration_s: float) -> str:
    """As Go prints it: 6s, 1m30s, 1h0m0s, 500ms."""
    sign, left = ("-", -duration_s) if duration_s < 0 else ("", duration_s)
    if 0 < left < 1:
        return f"{sign}{left * 1000:g}ms"
    hours, minutes = int(left // 3600), int(left // 60 % 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if hours or minutes else "", f"{left % 60:g}s")
    return sign + "".join(parts)
