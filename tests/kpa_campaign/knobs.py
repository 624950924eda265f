"""Draws what a function is set to: ConfigMaps and annotations as Knative's webhooks would let them in."""

import random
from collections.abc import Mapping
from typing import Final

PREFIX: Final = "autoscaling.knative.dev/"
BURSTS: Final = ("-1", "-1", "0", "0", "200", "200", "211", "7", "70.5")
_WINDOWS: Final = ("6s", "10s", "24s", "30s", "1m", "60s", "60s", "2m", "1m30s", "5m")
_DELAYS: Final = ("1s", "5s", "10s", "30s", "2m")

_CONFIG: Final[Mapping[str, tuple[str, ...]]] = {
    "stable-window": _WINDOWS,
    "panic-window-percentage": ("10", "10", "1", "5", "33.3", "100"),
    "panic-threshold-percentage": ("200", "110", "150", "1000"),
    "max-scale-up-rate": ("1000", "1.1", "1.5", "2", "10"),
    "max-scale-down-rate": ("2", "2", "1.1", "1.5", "10"),
    "target-burst-capacity": BURSTS,
    "scale-to-zero-grace-period": ("30s", "30s", "6s", "10.5s"),
    "scale-to-zero-pod-retention-period": ("0s", "0s", "10s", "45s", "1m30.5s"),
    "scale-down-delay": ("0s", "0s", "0s", *_DELAYS),
    "enable-scale-to-zero": ("true", "true", "true", "true", "true", "false"),
    "container-concurrency-target-percentage": ("70", "0.7", "100", "50"),
    "container-concurrency-target-default": ("100", "10", "1"),
    "requests-per-second-target-default": ("200", "10"),
    "activator-capacity": ("100", "10", "33"),
}
_ANNOTATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "target": ("1", "2", "4", "10", "0.5", "7.3"),
    "target-utilization-percentage": ("100", "70", "45.5"),
    "window": _WINDOWS,
    "panic-window-percentage": ("10", "50"),
    "panicThresholdPercentage": ("200", "120"),
    "target-burst-capacity": BURSTS,
    "scale-down-delay": _DELAYS,
    "activation-scale": ("2", "3", "5"),
    "scaleToZeroPodRetentionPeriod": ("0s", "20s", "70.25s"),
}
_METRICS: Final = ("concurrency", "concurrency", "concurrency", "rps")
_AVERAGES: Final = ("linear", "weighted-exponential", "weightedExponential")
# None of these stops a revision before it begins to be one, so a change of one is a change of what runs.
_LIVE: Final = ("target", "target-utilization-percentage", "window", "panic-window-percentage", "target-burst-capacity")


def config(chance: random.Random) -> dict[str, str]:
    data = {key: chance.choice(values) for key, values in _CONFIG.items() if chance.random() < 0.4}
    if chance.random() < 0.2:
        data["min-scale"] = chance.choice(("1", "2"))
    if chance.random() < 0.2:
        data["max-scale"] = chance.choice(("2", "5", "12"))
    if chance.random() < 0.2:
        data["allow-zero-initial-scale"] = "true"
        data["initial-scale"] = chance.choice(("0", "0", "2"))
    elif chance.random() < 0.2:
        data["initial-scale"] = chance.choice(("1", "2", "4"))
    return data


def deployment(chance: random.Random) -> dict[str, str]:
    return {"progress-deadline": chance.choice(("600s", "60s", "20s"))}


def annotations(chance: random.Random) -> dict[str, str]:
    given = {key: chance.choice(values) for key, values in _ANNOTATIONS.items() if chance.random() < 0.3}
    if chance.random() < 0.5:
        given["metric"] = chance.choice(_METRICS)
    if chance.random() < 0.4:
        given["metric-aggregation-algorithm"] = chance.choice(_AVERAGES)
    _bound(given, chance)
    if chance.random() < 0.2:
        given["initial-scale"] = chance.choice(("0", "1", "3"))
    words = {PREFIX + key: value for key, value in given.items()}
    if chance.random() < 0.2:
        words["serving.knative.dev/progress-deadline"] = chance.choice(("15s", "90s", "1h"))
    return words


def _bound(given: dict[str, str], chance: random.Random) -> None:
    least = chance.choice((0, 0, 0, 1, 2, 3))
    if least:
        given["min-scale"] = str(least)
    if chance.random() < 0.4:
        given["max-scale"] = str(max(least, chance.choice((1, 3, 5, 20))))


def changed(words: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    """Of a function that runs: one or two of what may change, or its bounds."""
    given = dict(words)
    for key in chance.sample(_LIVE, chance.choice((1, 2))):
        given.pop(PREFIX + key, None)
        if chance.random() < 0.8:
            given[PREFIX + key] = chance.choice(_ANNOTATIONS[key])
    if chance.random() < 0.4:
        bounds: dict[str, str] = {}
        _bound(bounds, chance)
        for key in ("min-scale", "max-scale"):
            given.pop(PREFIX + key, None)
        given.update({PREFIX + key: value for key, value in bounds.items()})
    return given
