"""The annotations by which a function is scaled and started, as Knative lets them in.

Called by `checks` for templates and Revisions. A value counts by the first of its spellings that is there.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.core.durations import seconds
from knative_mig.core.kpa.settings import LEAST_TARGET
from knative_mig.dev.problems import Problems
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import AUTOSCALING, PROGRESS_DEADLINES, ROLLOUT_DURATIONS
from knative_mig.dev.serving.settings import KPA, Settings

_HPA: Final = "hpa.autoscaling.knative.dev"
_MOST: Final = 2**31 - 1
_WINDOW_S: Final = (6.0, 3600.0)
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ALGORITHMS: Final = ("", "linear", "weightedExponential", "weighted-exponential")


def check_scaling(notes: Mapping[str, str], settings: Settings, problems: Problems) -> None:
    checks = _Checks(notes, settings, problems)
    checks.class_()
    checks.scales()
    checks.floats()
    checks.durations()
    checks.metric()
    checks.initial_scale()


def check_deadline(notes: Mapping[str, str], problems: Problems) -> None:
    _whole_seconds(notes, PROGRESS_DEADLINES, "progress-deadline", problems)


def check_rollout(notes: Mapping[str, str], problems: Problems) -> None:
    _whole_seconds(notes, ROLLOUT_DURATIONS, "rollout-duration", problems)


def _whole_seconds(notes: Mapping[str, str], names: tuple[str, ...], what: str, problems: Problems) -> None:
    name = next((each for each in names if each in notes), "")
    text = notes.get(name, "")
    if not text:
        return
    found = _duration(text)
    if found is None:
        problems.invalid(text, name)
    elif found % 1:
        problems.say(f"{what}={text} is not at second precision", name)
    elif found < 0:
        problems.say(f"{what}={text} must be positive", name)


def _duration(text: str) -> float | None:
    sign = -1 if text.startswith("-") else 1
    try:
        return sign * seconds(text.lstrip("+-"))
    except ValueError:
        return None


class _Checks:
    def __init__(self, notes: Mapping[str, str], settings: Settings, problems: Problems) -> None:
        self._notes = notes
        self._settings = settings
        self._problems = problems

    def _of(self, *names: str) -> tuple[str, str | None]:
        full = tuple(f"{AUTOSCALING}/{each}" for each in names)
        return next((each for each in full if each in self._notes), full[0]), objects.first(self._notes, full)

    def class_(self) -> None:
        key, text = self._of("class")
        if text is not None and text.endswith(".knative.dev") and text not in (KPA, _HPA):
            self._problems.invalid(text, key)

    def scales(self) -> None:
        least, most = self._count("min-scale", "minScale"), self._count("max-scale", "maxScale")
        if most and most < least:
            keys = (f"{AUTOSCALING}/max-scale", f"{AUTOSCALING}/min-scale")
            self._problems.say(f"max-scale={most} is less than min-scale={least}", *keys)
        key, text = self._of("max-scale", "maxScale")
        limit = self._settings.most_scale
        if text is not None and limit:
            if most > limit:
                self._problems.out_of_bounds(most, 1, limit, key)
            if most == 0:
                self._problems.say(f"max-scale=0 (unlimited), must be less than {limit}", key)
        self._activation(least, most)

    def _activation(self, least: int, most: int) -> None:
        key, text = self._of("activation-scale")
        if text is None:
            return
        found = _whole(text)
        if found is None:
            self._problems.invalid(text, key)
        elif least > found:
            self._problems.say(f"min-scale={least} is greater than activation-scale={found}", key)
        elif 0 != most < found:
            self._problems.say(f"max-scale={most} is less than activation-scale={found}", key)
        elif found < 2:
            self._problems.say(f"activation-scale={found} must be greater than 1", key)

    def _count(self, *names: str) -> int:
        key, text = self._of(*names)
        if text is None:
            return 0
        if not _WHOLE.fullmatch(text):
            self._problems.invalid(text, key)
        elif not 0 <= int(text) <= _MOST:
            self._problems.out_of_bounds(text, 0, _MOST, key)
        else:
            return int(text)
        return 0

    def floats(self) -> None:
        self._float(("panic-window-percentage", "panicWindowPercentage"), 1, 100)
        self._float(("panic-threshold-percentage", "panicThresholdPercentage"), 110, 1000)
        self._float(("target-utilization-percentage", "targetUtilizationPercentage"), 1, 100)
        key, text = self._of("target")
        if text is not None:
            found = _number(text)
            if found is None:
                self._problems.invalid(text, key)
            elif found < LEAST_TARGET:
                self._problems.say(f"target {text} should be at least {LEAST_TARGET}", key)
        key, text = self._of("target-burst-capacity", "targetBurstCapacity")
        if text is not None:
            found = _number(text)
            if found is None or (found < 0 and found != -1):
                self._problems.invalid(text, key)

    def _float(self, names: tuple[str, ...], least: int, most: int) -> None:
        key, text = self._of(*names)
        if text is None:
            return
        found = _number(text)
        if found is None:
            self._problems.invalid(text, key)
        elif not least <= found <= most:
            self._problems.out_of_bounds(text, least, most, key)

    def durations(self) -> None:
        _, text = self._of("window")
        if text is not None:
            self._duration(f"{AUTOSCALING}/window", text, _WINDOW_S[0], "6s", is_whole=True)
        for names, is_whole in (
            (("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"), False),
            (("scale-down-delay", "scaleDownDelay"), True),
        ):
            key, text = self._of(*names)
            if text is not None:
                self._duration(key, text, 0.0, "0s", is_whole=is_whole)

    def _duration(self, key: str, text: str, least: float, shown: str, *, is_whole: bool) -> None:
        found = _duration(text)
        if found is None:
            self._problems.invalid(text, key)
        elif not least <= found <= _WINDOW_S[1]:
            self._problems.out_of_bounds(text, shown, "1h0m0s", key)
        elif is_whole and found % 1:
            self._problems.say("must be specified with at most second precision", key)

    def metric(self) -> None:
        key, text = self._of("metric")
        class_ = self._of("class")[1]
        allowed: Mapping[str, Callable[[str], bool]] = {
            KPA: lambda metric: metric in ("concurrency", "rps"),
            _HPA: lambda metric: metric != "",
        }
        chosen = self._settings.autoscaler_class if class_ is None else class_
        allows = allowed.get(chosen)
        if text is not None and allows is not None and not allows(text):
            self._problems.invalid(text, key)
        key, text = self._of("metric-aggregation-algorithm", "metricAggregationAlgorithm")
        if class_ == KPA and text is not None and text not in _ALGORITHMS:
            self._problems.invalid(text, key)

    def initial_scale(self) -> None:
        key, text = self._of("initial-scale", "initialScale")
        if text is None:
            return
        if not _WHOLE.fullmatch(text):
            self._problems.invalid(text, key)
        elif int(text) < 0:
            self._problems.invalid(text, f"{key} must be greater than 0")
        elif int(text) == 0 and not self._settings.zero_initial_scale:
            self._problems.invalid(text, f"{key}=0 not allowed by cluster")


def _whole(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) and abs(int(text)) <= _MOST else None


def _number(text: str) -> float | None:
    return float(text) if _FLOAT.fullmatch(text) else None
