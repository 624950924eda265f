"""Plays a play once to see its calls, then over and over with a kill in each step, until each call had its two.

Called by `__main__` and by the tests' short form. The subtle thing is that one run takes several kills, one a step: a
step is entered only when the one before has ended as it must, so each kill strikes a world that is right.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic

from tests.crash_campaign.hosts import ForkHost
from tests.crash_campaign.play import RECOVERS_WITHIN_S, Outcome, Play, Step, W
from tests.crash_campaign.points import Aim, Left, Point, drawn, points_of, worker_points_of

LINGERS_S = 7.0  # a Lease is renewed each five
LEAKS = ("is left over", "is half made")


class RehearsalFailed(Exception):
    """The scenario does not end as it should although nobody is killed: there is nothing to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    point: Point  # as it was struck
    took_s: float  # from the kill until all was right again
    last: str = ""  # what was still wrong just before
    wrong: tuple[str, ...] = ()
    harm: str = ""  # to what must not be harmed

    @property
    def leaked(self) -> bool:
        return any(each.endswith(LEAKS) for each in self.wrong)

    @property
    def words(self) -> str:
        if self.harm:
            return f"HARM: {self.harm}"
        return (
            f"NOT RIGHT: {'; '.join(self.wrong)}"
            if self.wrong
            else f"right after {self.took_s:.2f} s, last of all: {self.last}"
        )


@dataclass(slots=True)
class Result:
    logged: int
    aimed: int
    harm: str = "busy slices destroyed"
    recovers_within_s: float = RECOVERS_WITHIN_S
    kills: list[Kill] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # of runs, where no kill was to blame

    @property
    def harmed(self) -> int:
        return sum(bool(each.harm) for each in self.kills)

    @property
    def leaked(self) -> int:
        return sum(each.leaked for each in self.kills)

    @property
    def not_right(self) -> int:
        return sum(bool(each.wrong) for each in self.kills)

    @property
    def passed(self) -> bool:
        whole = len(self.kills) >= self.aimed and not self.missed
        return whole and not (self.harmed or self.not_right or self.failures)


def rehearse(play: Play[W], host: ForkHost, recovers_within_s: float) -> list[tuple[str, str]]:
    """Each call of a run in which nobody is killed, with its step."""
    with TemporaryDirectory(prefix="crash-") as folder, play.world(Path(folder), host) as world:
        for step in play.steps:
            outcome = _played(play, world, step, None, recovers_within_s)
            if outcome.wrong or world.harm():
                raise RehearsalFailed(f"{step.name}: {outcome.wrong}, {world.harm()}\n{_tail(world.victim.words())}")
        return world.victim.calls


def run(
    play: Play[W],
    *,
    points: int | None = None,
    seed: int = 1,
    jobs: int = 1,
    workers: bool = False,
    evidence: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    recovers_within_s: float | None = None,
) -> Result:
    """`points`: so many, drawn with `seed`; None: all. `workers`: also where only the GPU's worker process is killed.
    `evidence`: where the logs of runs that failed are kept. `recovers_within_s`: None: as the play has it.
    """
    within_s = play.recovers_within_s if recovers_within_s is None else recovers_within_s
    chance = random.Random(seed)
    with play.host() as host:
        log = rehearse(play, host, within_s)
    every = points_of(log)
    say(f"{play.name}: {len(log)} calls in an uninterrupted run, so {len(every)} points to kill at")
    if workers:
        every += worker_points_of(log)
        say(f"and {len(worker_points_of(log))} to kill the GPU's worker process alone at")
    chosen = drawn(every, len(every) if points is None else points, chance)
    result = Result(logged=len(log), aimed=len(chosen), harm=play.harm, recovers_within_s=within_s)
    campaign = _Campaign(play, Left.of(chosen), result, evidence, say)
    threads = [threading.Thread(target=campaign.work, name=f"runs-{number}") for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.missed = campaign.left.missed
    return result


class _Campaign(Generic[W]):
    def __init__(
        self, play: Play[W], left: Left, result: Result, evidence: Path | None, say: Callable[[str], None]
    ) -> None:
        self.left = left
        self._play = play
        self._result = result
        self._evidence = evidence
        self._say = say
        self._lock = threading.Lock()

    def work(self) -> None:
        with self._play.host() as host:
            while True:
                aims = self._take()
                if not aims:
                    return
                with TemporaryDirectory(prefix="crash-") as folder, self._play.world(Path(folder), host) as world:
                    self._run(world, aims)

    def _take(self) -> dict[str, Aim]:
        with self._lock:
            points = {step.name: self.left.take(step.name) for step in self._play.steps}
        return {name: self.left.aim(point) for name, point in points.items() if point is not None}

    def _run(self, world: W, aims: dict[str, Aim]) -> None:
        """To the last step that has something to aim at."""
        left = dict(aims)
        for step in self._play.steps:
            if not left:
                return
            aim = left.pop(step.name, None)
            outcome = _played(self._play, world, step, aim, self._result.recovers_within_s)
            harm = world.harm()
            if world.victim.killed_at is not None:
                assert aim is not None
                took_s = outcome.at - world.victim.killed_at
                kill = Kill(point=aim.point, took_s=took_s, last=outcome.last, wrong=outcome.wrong, harm=harm)
                self._struck(aim, kill)
            elif aim is not None:
                with self._lock:
                    self.left.not_reached(aim)
            if outcome.wrong or harm:
                self._failed(world, step, outcome, harm, left)
                return

    def _struck(self, aim: Aim, kill: Kill) -> None:
        with self._lock:
            self._result.kills.append(kill)
            done = f"{len(self._result.kills):>4} of {self._result.aimed}"
            self._say(f"{done}  {aim.point.step:<8} {aim.point!s:<62} {kill.words}")

    def _failed(self, world: W, step: Step[W], outcome: Outcome, harm: str, left: dict[str, Aim]) -> None:
        """The rest of its points go to other runs."""
        with self._lock:
            if world.victim.killed_at is None:
                self._result.failures.append(f"{step.name}: {'; '.join(outcome.wrong)} {harm}")
                self._say(f"a run FAILED in {self._result.failures[-1]}")
            for aim in left.values():
                self.left.not_reached(aim)
            if self._evidence is not None:
                self._evidence.mkdir(parents=True, exist_ok=True)
                number = len(list(self._evidence.iterdir()))
                log = self._evidence / f"{self._play.name}-{number}-{step.name}.log"
                log.write_text(world.victim.words())


def _played(play: Play[W], world: W, step: Step[W], aim: Aim | None, recovers_within_s: float) -> Outcome:
    world.victim.begin(step.name, aim)
    step.act(world)
    outcome = play.wait_until_done(world, step, recovers_within_s=recovers_within_s)
    if aim is not None and aim.last_try and not outcome.wrong and world.victim.wait_for_strike(LINGERS_S):
        outcome = play.wait_until_done(world, step, recovers_within_s=recovers_within_s)
    world.victim.aim_at_nothing()
    return outcome


def _tail(log: str) -> str:
    return "\n".join(log.splitlines()[-30:])


def summary(result: Result) -> Sequence[str]:
    slowest = max(result.kills, key=lambda kill: kill.took_s, default=None)
    lines = [
        f"{result.logged} logged calls, {len(result.kills)} of {result.aimed} kills, {len(result.missed)} missed",
        f"{result.harm}: {result.harmed}",
        f"leaked: {result.leaked}",
        f"not right within {result.recovers_within_s:g} s: {result.not_right}",
    ]
    if slowest is not None:
        ordered = sorted(kill.took_s for kill in result.kills)
        lines.append(
            f"until all was right again: median {ordered[len(ordered) // 2]:.2f} s, slowest {slowest.took_s:.2f} s"
            f" ({slowest.point.step}: {slowest.point})"
        )
    lines += [f"missed: {point.step}: {point}" for point in result.missed]
    lines += [f"failed without a kill: {each}" for each in result.failures]
    return [*lines, "passed" if result.passed else "FAILED"]
