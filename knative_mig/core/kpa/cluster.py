"""The cluster's own settings of autoscaling, as its ConfigMaps `config-autoscaler` and `config-deployment` have them.

Called where these are read; `settings` puts a revision's annotations before them. What is wrong in a ConfigMap is said,
as whoever edits it is there to hear it; what is wrong in an annotation counts as not there, as Knative has it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from knative_mig.core.durations import seconds
from knative_mig.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`config-autoscaler`, and of `config-deployment` the deadline; with Knative's defaults."""

    enable_scale_to_zero: bool = True
    allow_zero_initial_scale: bool = False
    utilization: float = 0.7  # container-concurrency-target-percentage, as a share
    concurrency_target: float = 100.0
    rps_target: float = 200.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    target_burst_capacity: float = 211.0
    activator_capacity: float = 100.0
    panic_window_percentage: float = 10.0
    panic_threshold_percentage: float = 200.0
    stable_window_s: float = 60.0
    scale_down_delay_s: float = 0.0
    grace_s: float = 30.0
    retention_s: float = 0.0
    initial_scale: int = 1
    min_scale: int = 0
    max_scale: int = 0
    progress_deadline_s: float = 600.0


_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTH: Final = {
    text: truth
    for truth, texts in ((True, "1 t T true TRUE True"), (False, "0 f F false FALSE False"))
    for text in texts.split()
}
_MOST: Final = 2**31


def whole(text: str | None) -> int | None:
    if text is None or not _WHOLE.fullmatch(text) or not -_MOST <= int(text) < _MOST:
        return None
    return int(text)


def number(text: str | None) -> float | None:
    return None if text is None or not _NUMBER.fullmatch(text) else float(text)


def truth(text: str) -> bool | None:
    return _TRUTH.get(text)


def duration(text: str | None) -> float | None:
    """In seconds."""
    try:
        return None if text is None else seconds(text)
    except ValueError:
        return None


_AUTOSCALER: Final[Mapping[str, str]] = {
    "enable-scale-to-zero": "enable_scale_to_zero",
    "allow-zero-initial-scale": "allow_zero_initial_scale",
    "container-concurrency-target-percentage": "utilization",
    "container-concurrency-target-default": "concurrency_target",
    "requests-per-second-target-default": "rps_target",
    "max-scale-up-rate": "max_scale_up_rate",
    "max-scale-down-rate": "max_scale_down_rate",
    "target-burst-capacity": "target_burst_capacity",
    "activator-capacity": "activator_capacity",
    "panic-window-percentage": "panic_window_percentage",
    "panic-threshold-percentage": "panic_threshold_percentage",
    "stable-window": "stable_window_s",
    "scale-down-delay": "scale_down_delay_s",
    "scale-to-zero-grace-period": "grace_s",
    "scale-to-zero-pod-retention-period": "retention_s",
    "initial-scale": "initial_scale",
    "min-scale": "min_scale",
    "max-scale": "max_scale",
}
_DEPLOYMENT: Final[Mapping[str, str]] = {"progress-deadline": "progress_deadline_s"}


def cluster_of(autoscaler: Mapping[str, str], deployment: Mapping[str, str] | None = None) -> Cluster:
    """From the data of the two ConfigMaps; what is not there is as Knative has it, what nobody here reads is let be."""
    values: dict[str, Any] = {}
    for config, data, names in (
        ("config-autoscaler", autoscaler, _AUTOSCALER),
        ("config-deployment", deployment or {}, _DEPLOYMENT),
    ):
        for key, field in names.items():
            if (text := data.get(key)) is None:
                continue
            value = _READERS[field](text)
            if value is None:
                raise BadInput(f"{config}: {key} is {text!r}, which is no {_KINDS[field]}")
            values[field] = value
    if values.get("utilization", 0.0) > 1.0:  # written as percents, or as the share that it is
        values["utilization"] /= 100.0
    return Cluster(**values)


def _kind(field: str, default: object) -> str:
    if field.endswith("_s"):
        return "duration"
    return {bool: "truth", int: "whole number", float: "number"}[type(default)]


_KINDS: Final = {each.name: _kind(each.name, each.default) for each in fields(Cluster)}
_BY_KIND: Final[Mapping[str, Callable[[str], Any]]] = {
    "duration": duration,
    "truth": truth,
    "whole number": whole,
    "number": number,
}
_READERS: Final = {field: _BY_KIND[kind] for field, kind in _KINDS.items()}
