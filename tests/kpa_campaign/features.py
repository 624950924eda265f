"""What happened in a series, so that a campaign can say that all of it was compared, and how often."""

from enum import StrEnum
from typing import Any, Final

from knative_mig.core.kpa.settings import Averaging, Metric, Settings
from tests.kpa_campaign.player import Player
from tests.kpa_campaign.series import UNITS, Step


class Feature(StrEnum):
    PANIC_ENTERED = "panic entered"
    PANIC_LEFT = "panic left"
    BEGAN_IN_PANIC = "began in panic"
    NO_DATA = "a tick without data"
    DATA_AGAIN = "data again"
    TO_ZERO = "scaled to zero"
    FROM_ZERO = "scaled from zero"
    POKED = "a tick before its time"
    BURST_ALWAYS = "burst capacity -1"
    BURST_NONE = "burst capacity 0"
    BURST_200 = "burst capacity 200"
    LEAST = "held by its least scale"
    INITIAL = "held by its initial scale"
    MOST = "held by its most scale"
    RATE_UP = "held by the rate up"
    RATE_DOWN = "held by the rate down"
    ACTIVATION = "raised by the activation scale"
    DELAYED = "held by a scale-down delay"
    WEIGHTED = "weighted averages"
    RPS = "requests per second"
    SERVED = "requests went straight to pods"
    GRACE = "waited for its grace period"
    RETAINED = "its last pod retained"
    NO_ANSWER = "no activator answered"
    TIMED_OUT = "timed out"
    NEVER_ZERO = "no scale to zero in the cluster"
    RESIZED = "windows resized"
    RESTARTED = "autoscaler restarted"
    UNREACHABLE = "unreachable"
    MOVED_BY_OTHERS = "replicas written by others"
    TOO_LATE = "told of later than a window"
    TO_THE_BIT = "looked at at the very end of a wait"


_BY_REASON: Final = (
    (Feature.NO_DATA, "no data"),
    (Feature.MOST, " as the most"),
    (Feature.RATE_UP, "by the rate of scaling up"),
    (Feature.RATE_DOWN, "by the rate of scaling down"),
    (Feature.ACTIVATION, "by the activation scale"),
    (Feature.DELAYED, "for a scale-down delay"),
    (Feature.GRACE, "its grace period has"),
    (Feature.RETAINED, "its last pod is retained"),
    (Feature.NO_ANSWER, "no activator answers"),
    (Feature.TIMED_OUT, "not ready after"),
    (Feature.NEVER_ZERO, "the cluster does not scale to zero"),
)


class Features:
    def __init__(self) -> None:
        self._seen: set[Feature] = set()
        self._panicking: bool | None = None  # None: there is no autoscaler yet
        self._replicas = 1
        self._settings: Settings | None = None
        self._due: float | None = None  # when the last pass wanted the next one

    def seen(self) -> frozenset[Feature]:
        return frozenset(self._seen)

    def look(self, step: Step, player: Player, words: dict[str, Any]) -> None:
        """At a step that was played just now."""
        for feature, phrase in _BY_REASON:
            if any(phrase in reason for reason in player.reasons):
                self._seen.add(feature)
        self._seen |= {feature for feature, holds in self._facts(step, player, words) if holds}
        self._settings = player.settings
        self._replicas = player.replicas
        again = words["pass"]["look_again"]
        self._due = None if again is None else step.at + again / 1e9 * UNITS
        if player.autoscaler is not None:
            self._panicking = player.autoscaler.decider.memory.panicking_since is not None

    def _facts(self, step: Step, player: Player, words: dict[str, Any]) -> list[tuple[Feature, bool]]:
        settings, autoscaler = player.settings, player.autoscaler
        assert settings is not None
        ticks, done = words["ticks"], words["pass"]
        panicking = autoscaler is not None and autoscaler.decider.memory.panicking_since is not None
        fresh = autoscaler is not None and (self._panicking is None or step.restart)
        window_s = settings.stable_window_s
        valid = [each["valid"] for each in ticks]
        least = any(" as the least" in reason for reason in player.reasons)
        return [
            (Feature.BEGAN_IN_PANIC, fresh and panicking),
            (Feature.PANIC_ENTERED, not fresh and panicking and not self._panicking),
            (Feature.PANIC_LEFT, not fresh and not panicking and bool(self._panicking)),
            (Feature.DATA_AGAIN, any(valid) and Feature.NO_DATA in self._seen),
            (Feature.TO_ZERO, done["scale_to"] == 0),
            (Feature.FROM_ZERO, self._replicas == 0 and bool(done["scale_to"])),
            (Feature.POKED, any(each["at"] == step.at for each in ticks)),
            (Feature.BURST_ALWAYS, settings.burst == -1 and bool(ticks)),
            (Feature.BURST_NONE, settings.burst == 0 and bool(ticks)),
            (Feature.BURST_200, settings.burst == 200 and bool(ticks)),
            (Feature.LEAST, least and settings.min_scale > 0),
            (Feature.INITIAL, least and settings.initial_scale > max(1, settings.min_scale)),
            (Feature.WEIGHTED, settings.averaging is Averaging.WEIGHTED and any(valid)),
            (Feature.RPS, settings.metric is Metric.RPS and any(valid)),
            (Feature.SERVED, done["mode"] == "Serve"),
            (Feature.RESIZED, self._settings is not None and self._settings.stable_window_s != window_s),
            (Feature.RESTARTED, step.restart),
            (Feature.UNREACHABLE, not settings.reachable),
            (Feature.MOVED_BY_OTHERS, step.at > 0 and step.replicas is not None),
            (Feature.TO_THE_BIT, self._due == step.at),
            (Feature.TOO_LATE, any(step.at - each.when > window_s * UNITS for each in step.stats)),
        ]
