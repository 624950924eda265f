"""Draws a series, and plays it to our autoscaler as it goes: each step answers what the last one came to.

Called by `campaign`. The same name draws the same. The subtle thing is the order of moments: a tick and a step must
never fall together, as nobody could say which of them Go takes first. So steps are at odd 64ths of a second or at
its beginning, where a wait in whole seconds ends to the bit, and the few at which an autoscaler is made, from which its
ticks count, at others.
"""

import random
from collections.abc import Iterator
from typing import Any, Final

from knative_mig.core.kpa.reconcile import Mode
from tests.kpa_campaign import knobs
from tests.kpa_campaign.features import Feature, Features
from tests.kpa_campaign.player import Player
from tests.kpa_campaign.series import UNITS, Series, Step, Told
from tests.kpa_campaign.surroundings import Pods, Route, drawn_load

LEAST_TICKS: Final = 300
_RARELY: Final = 0.004
_AT_THE_BEGINNING: Final = 0.2


def drawn(name: str, ticks: int = LEAST_TICKS) -> tuple[Series, list[dict[str, Any]], frozenset[Feature]]:
    """The series, what ours makes of it, and what happened in it."""
    drawing = _Drawing(name)
    steps, answers, count = [], [], 0
    features = Features()
    for step in drawing.steps():
        steps.append(step)
        answers.append(drawing.player.play(step))
        features.look(step, drawing.player, answers[-1])
        count += len(answers[-1]["ticks"])
        if count >= ticks:
            break
    return Series(name=name, steps=tuple(steps)), answers, features.seen()


class _Drawing:
    def __init__(self, name: str) -> None:
        self.player = Player()
        self._chance = random.Random(name)
        chance = self._chance
        self._pods, self._route = Pods(chance), Route(chance)
        self._annotations = knobs.annotations(chance)
        self._concurrency = chance.choice((0, 0, 0, 1, 4, 10))
        self._requests_each_s = chance.choice((0.5, 1, 3))
        self._late_s = chance.choice((0, 0, 0, 1, 3))
        self._restless = chance.choice((0, 0, 1, 3))  # how often it is changed
        self._pace_s = chance.choice((1.0, 1.0, 1.0, 2.0, 5.0))
        self._blind_until_s = 0.0  # scrapes fail
        self._load: Iterator[float] = iter(())
        self._reachable = chance.random() > 0.1
        self._told_of_load = False
        self._phase = 0

    @property
    def _reach(self) -> str:
        return "Reachable" if self._reachable else "Unreachable"

    def steps(self) -> Iterator[Step]:
        yield self._first()
        assert self.player.settings is not None
        settings = self.player.settings
        self._load = drawn_load(self._chance, settings.target)
        second = 0.0
        while True:
            second += 1.0 if self._chance.random() < 0.9 else self._pace_s
            yield self._next(int(second))

    def _first(self) -> Step:
        chance = self._chance
        replicas = chance.choice((0, 1, 1, 1, 2, 4))
        if chance.random() < 0.5:  # an autoscaler that comes to a function that runs
            self._pods.begin_with(replicas)
        return Step(
            at=0,
            config=knobs.config(chance),
            deployment=knobs.deployment(chance),
            annotations=self._annotations,
            concurrency=self._concurrency,
            reachable=self._reach,
            pods=self._pods.counts(replicas, 0),
            replicas=replicas,
            answers=False,
        )

    def _next(self, second: int) -> Step:
        player, chance = self.player, self._chance
        restart = player.autoscaler is not None and chance.random() < _RARELY * self._restless
        begins = restart or (player.autoscaler is None and self._route.named(second))
        at = second * UNITS + self._drawn_phase(begins=begins)
        now = at / UNITS
        load = next(self._load)
        pods = self._pods.counts(player.replicas, now)
        route, answers = self._route.seen(player.mode, pods[0], at, now)
        changes: dict[str, Any] = {} if restart else self._changes()
        return Step(
            at=at,
            pods=pods,
            route=route,
            answers=answers,
            restart=restart,
            stats=tuple(self._stats(load, pods[0], at)),
            **changes,
        )

    def _drawn_phase(self, *, begins: bool) -> int:
        if not begins:
            return 0 if self._chance.random() < _AT_THE_BEGINNING else self._chance.randrange(1, UNITS, 2)
        self._phase = self._chance.choice([each for each in range(2, UNITS, 2) if each != self._phase])
        return self._phase

    def _stats(self, load: float, ready: int, at: int) -> Iterator[Told]:
        """By the activator what comes by it; by the scrape all that pods have, with what came by the activator."""
        player, chance = self.player, self._chance
        assert player.settings is not None
        if chance.random() < _RARELY:
            self._blind_until_s = at / UNITS + chance.choice((5, 20, 80, 150))
        by_activator = player.mode is Mode.PROXY or not ready
        proxied = load if by_activator else 0.0
        if by_activator and (load or self._told_of_load):
            when = (at // UNITS - self._drawn_delay_s()) * UNITS
            yield _told(when, load, 0.0, self._requests_each_s, by_activator=True)
            self._told_of_load = load > 0
        if player.settings.scraped and ready and at / UNITS > self._blind_until_s:
            yield _told(at, load, proxied, self._requests_each_s, by_activator=False)

    def _drawn_delay_s(self) -> int:
        if self._chance.random() < _RARELY:
            return self._chance.choice((-1, 20, 70, 400))
        return self._chance.randint(0, self._late_s)

    def _changes(self) -> dict[str, Any]:
        chance = self._chance
        if chance.random() >= _RARELY * self._restless:
            return {}
        match chance.choice(("annotations", "annotations", "annotations", "reachable", "replicas", "concurrency")):
            case "annotations":
                self._annotations = knobs.changed(self._annotations, chance)
                return {"annotations": self._annotations}
            case "reachable":
                self._reachable = not self._reachable
                return {"reachable": self._reach}
            case "replicas":
                return {"replicas": chance.choice((0, 1, 3))}
            case _:
                return {"concurrency": chance.choice((0, 1, 4, 10))}


def _told(when: int, load: float, proxied: float, requests_each_s: float, *, by_activator: bool) -> Told:
    values = (load, proxied, load * requests_each_s, proxied * requests_each_s)
    return Told(when=when, values=values, by_activator=by_activator)
