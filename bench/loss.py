"""Plays one traffic against one rule: a request that cannot be placed at once is lost.

Every rule keeps its own fleet. With `check=True` it is looked at after each event: slices stand at legal places and
are disjoint, exactly the accepted requests are running, nothing was moved that was not reported, and the moves can be
made in some order in which each new slice exists before the old one is given up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bench.traffic import MENU, SLOTS, WHOLE_GPU, Traffic
from knative_mig.core.geometry import Place


class Rule(Protocol):
    """What decides. `kind` is a position in `traffic.MENU`; GPUs are numbered from 0."""

    def arrive(self, request: int, kind: int) -> int | None:
        """Place the request, or lose it (None); the number of running requests that were moved for it."""

    def depart(self, request: int) -> None:
        """An accepted request ended."""

    def running(self) -> Iterable[tuple[int, int, Place]]:
        """(request, GPU, place) of every running request, for the check."""


class IllegalFleet(Exception):
    """A rule did what no GPU can do: the benchmark is wrong, not the rule bad."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts after the warm-up, by position in MENU."""

    asked: tuple[int, ...]
    accepted: tuple[int, ...]
    moves: int

    @property
    def slots(self) -> float:
        """Fraction of the requested compute slots that was accepted."""
        return _slots(self.accepted) / _slots(self.asked)

    @property
    def whole_gpus(self) -> float:
        """Fraction of the 7g requests that was accepted."""
        return self.accepted[WHOLE_GPU] / self.asked[WHOLE_GPU]

    @property
    def requests(self) -> float:
        return sum(self.accepted) / sum(self.asked)

    @property
    def moves_per_accept(self) -> float:
        return self.moves / sum(self.accepted)


def _slots(counts: tuple[int, ...]) -> int:
    return sum(count * slots for count, slots in zip(counts, SLOTS, strict=True))


def play(rule: Rule, traffic: Traffic, *, check: bool = False) -> Outcome:
    kinds, warm_up = traffic.kinds, traffic.setting.warm_up
    accepted, moves = [0] * len(MENU), 0
    running: set[int] = set()
    fleet = FleetCheck(traffic.setting.gpus) if check else None
    for event in traffic.events:
        moved: int | None = 0
        if event >= 0:
            moved = rule.arrive(event, kinds[event])
            if moved is not None:
                running.add(event)
                if event >= warm_up:
                    accepted[kinds[event]] += 1
                    moves += moved
        elif ~event in running:
            running.discard(~event)
            rule.depart(~event)
        if fleet is not None:
            fleet.becomes(rule, running, kinds, moved or 0)
    counted = kinds[warm_up:]
    return Outcome(tuple(counted.count(kind) for kind in range(len(MENU))), tuple(accepted), moves)


class FleetCheck:
    """What a rule's fleet looked like, against what it looks like now."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._before: dict[int, tuple[int, Place]] = {}

    def becomes(self, rule: Rule, running: set[int], kinds: tuple[int, ...], moves: int) -> None:
        now = {request: (gpu, place) for request, gpu, place in rule.running()}
        if now.keys() != running:
            raise IllegalFleet(f"{len(now)} requests run, {len(running)} were accepted and have not ended")
        taken = [0] * self._gpus
        for request, (gpu, place) in now.items():
            if place.profile is not MENU[kinds[request]] or place.start not in place.profile.starts:
                raise IllegalFleet(f"request {request} for {MENU[kinds[request]]} stands at {place}")
            if taken[gpu] & place.mask:
                raise IllegalFleet(f"{place} of request {request} overlaps another slice on GPU {gpu}")
            taken[gpu] |= place.mask
        self._check_moves(now, moves)
        self._before = now

    def _check_moves(self, now: dict[int, tuple[int, Place]], moves: int) -> None:
        before = {request: at for request, at in self._before.items() if request in now}
        moved = {request for request in before if before[request] != now[request]}
        # One that is moved twice, or out of the way and back, counts as often as it was moved.
        if len(moved) > moves:
            raise IllegalFleet(f"{len(moved)} requests were moved, {moves} reported")
        taken = [0] * self._gpus
        for gpu, place in before.values():
            taken[gpu] |= place.mask
        # Greedy is exact: a move that is possible now takes only units that no other target needs, and frees some.
        while moved:
            possible = [request for request in moved if not taken[now[request][0]] & now[request][1].mask]
            if not possible:
                raise IllegalFleet(f"requests {sorted(moved)} cannot be moved make-before-break")
            request = possible[0]
            (old_gpu, old), (new_gpu, new) = before[request], now[request]
            taken[old_gpu] &= ~old.mask
            taken[new_gpu] |= new.mask
            moved.discard(request)
