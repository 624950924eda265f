"""The autoscaler of one revision for as long as its process lives: what was measured, and what is wanted.

Made by whoever keeps the time with the first pass of `reconcile` that finds the revision's services, then ticked each
`TICK_S` from that moment. The rest of what is known of a revision, its `Status`, outlives it.
"""

from knative_mig.core.kpa.decider import Decider, created, is_news, ticked, wakes
from knative_mig.core.kpa.settings import Settings
from knative_mig.core.kpa.stats import Observed, Stat, Stats


class Autoscaler:
    def __init__(self, settings: Settings, ready: int, now: float) -> None:
        self._settings = settings
        self._stats = Stats(settings)
        self.decider: Decider = created(settings, ready, now)
        self.observed: Observed | None = None  # by the last tick

    def settle(self, settings: Settings, now: float) -> None:
        """The settings are these from now on."""
        if settings != self._settings:
            self._settings = settings
            self._stats.resize(settings, now)

    def scraped(self, stat: Stat, now: float) -> None:
        self._stats.record(now, stat)

    def told(self, stat: Stat, at: float, ready: int, now: float) -> bool:
        """By an activator, of the second `at`. Whether `reconcile` is to be called."""
        self._stats.record(at, stat)
        return wakes(self.decider, stat) and self.tick(ready, now)

    def tick(self, ready: int, now: float) -> bool:
        """Whether `reconcile` is to be called."""
        before = self.decider
        self.observed = self._stats.observed(self._settings, now)
        self.decider = ticked(before, self._settings, ready, self.observed, now)
        return is_news(before, self.decider)
