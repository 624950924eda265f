"""Draws series, has both autoscalers play them, and counts what happened in them and where the two differ.

Called by `__main__`. A series that differs is written to a file that `--replay` plays again. That they are equal says
something only of what happened, so a campaign in which something never did has failed.
"""

import json
import lzma
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.kpa_campaign.compare import Difference, differences
from tests.kpa_campaign.draw import LEAST_TICKS, drawn
from tests.kpa_campaign.features import Feature
from tests.kpa_campaign.oracle import Oracle
from tests.kpa_campaign.player import Player
from tests.kpa_campaign.series import Series

TELLS_EVERY_S: Final = 1.0
MOST_KEPT: Final = 5  # series that differ
EACH: Final = 3

Telling = list[dict[str, Any]]


@dataclass(slots=True)
class Result:
    aimed: int
    series: int = 0
    ticks: int = 0
    passes: int = 0
    fewest_ticks: int = 0
    features: Counter[Feature] = field(default_factory=Counter)
    differing: int = 0
    first: str = ""
    took_s: float = 0.0

    @property
    def missing(self) -> list[Feature]:
        return [each for each in Feature if not self.features[each]]

    @property
    def passed(self) -> bool:
        return self.series == self.aimed and not self.differing and not self.missing

    def take(self, telling: Telling, features: Iterable[Feature]) -> None:
        ticks = sum(len(each["ticks"]) for each in telling)
        self.fewest_ticks = min(self.fewest_ticks or ticks, ticks)
        self.series += 1
        self.ticks += ticks
        self.passes += len(telling)
        self.features.update(features)


def run(
    oracle: Oracle,
    *,
    series: int,
    seed: int,
    evidence: Path,
    say: Callable[[str], None],
    ticks: int = LEAST_TICKS,
) -> Result:
    """`ticks`: of each series, at least."""
    result = Result(aimed=series)
    began = told_at = time.monotonic()
    for one, ours, theirs, features in _played(oracle, [f"{seed}-{number}" for number in range(series)], ticks):
        result.take(ours, features)
        differing = list(differences(ours, theirs))
        if differing:
            result.differing += 1
            result.first = result.first or f"{one.name}: {differing[0]}"
            if result.differing <= MOST_KEPT:
                say(f"{one.name} differs: {_keep(evidence, one, theirs, differing)}")
        if time.monotonic() - told_at >= TELLS_EVERY_S:
            told_at = time.monotonic()
            say(f"{result.series:>6} of {series} series, {result.ticks} ticks, {result.differing} series differ")
    result.took_s = time.monotonic() - began
    return result


def _played(
    oracle: Oracle, names: Sequence[str], ticks: int = LEAST_TICKS
) -> Iterator[tuple[Series, Telling, Telling, frozenset[Feature]]]:
    """The next one is drawn while Knative's plays the last."""
    asked: tuple[Series, Telling, frozenset[Feature]] | None = None
    for name in [*names, None]:
        following = drawn(name, ticks) if name else None
        theirs = oracle.answer() if asked else []
        if following:
            oracle.ask(following[0])
        if asked:
            series, ours, features = asked
            yield series, ours, theirs, features
        asked = following


def _keep(evidence: Path, series: Series, theirs: Telling, differing: Sequence[Difference]) -> Path:
    evidence.mkdir(parents=True, exist_ok=True)
    path = evidence / f"{series.name}.json"
    words = {**series.to_json(), "answers": theirs, "differences": [str(each) for each in differing[:20]]}
    path.write_text(json.dumps(words))
    return path


def replayed(oracle: Oracle, path: Path) -> list[Difference]:
    series = Series.from_json(json.loads(path.read_text()))
    oracle.ask(series)
    return list(differences(played(series), oracle.answer()))


def played(series: Series) -> Telling:
    player = Player()
    return [player.play(step) for step in series.steps]


# -- what is recorded for where there is no Go -------------------------------------------------------------------------


def record(oracle: Oracle, path: Path, *, series: int, seed: int) -> int:
    """Of so many series as few as have everything that happens `EACH` times, with Knative's answers."""
    happened: Counter[Feature] = Counter()
    lines = []
    for one, _, theirs, features in _played(oracle, [f"{seed}-{number}" for number in range(series)]):
        if any(happened[each] < EACH for each in features):
            happened.update(features)
            words = {**one.to_json(), "answers": theirs, "happened": sorted(features)}
            lines.append(json.dumps(words, separators=(",", ":")))
    path.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    return len(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    series: Series
    theirs: Telling
    happened: frozenset[Feature]


def recorded(path: Path) -> Iterator[Recorded]:
    for line in lzma.decompress(path.read_bytes()).decode().splitlines():
        words = json.loads(line)
        happened = frozenset(map(Feature, words["happened"]))
        yield Recorded(series=Series.from_json(words), theirs=words["answers"], happened=happened)


# -- words -------------------------------------------------------------------------------------------------------------


def summary(result: Result) -> Sequence[str]:
    lines = [f"{result.features[each]:>6} series: {each}" for each in Feature]
    lines.append(
        f"{result.series} series of {result.fewest_ticks} ticks or more, {result.ticks} ticks "
        f"and {result.passes} passes of the reconciler in {result.took_s:.0f} s"
    )
    if result.missing:
        lines.append(f"never happened: {', '.join(result.missing)}")
    if result.first:
        lines.append(f"first difference: {result.first}")
    verdict = "passed" if result.passed else "FAILED"
    return [*lines, f"{verdict}: {result.differing} of {result.series} series differ from Knative's autoscaler"]
