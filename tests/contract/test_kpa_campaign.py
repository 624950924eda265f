"""A recorded part of `make campaign-kpa`: what Knative's autoscaler answered, for machines without Go; and that the
campaign sees an autoscaler that is another.
"""

import copy
import json
import stat
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.testbed.versions import libraries, versions
from tests.kpa_campaign.campaign import EACH, Recorded, played, recorded, replayed, run, summary
from tests.kpa_campaign.compare import Difference, differences
from tests.kpa_campaign.draw import LEAST_TICKS, drawn
from tests.kpa_campaign.features import Feature
from tests.kpa_campaign.oracle import SOURCES, Oracle, OracleFailed
from tests.kpa_campaign.series import Series

RECORDED = Path(__file__).parents[1] / "data" / "kpa_series.jsonl.xz"
FEW_TICKS = 20


@cache
def series() -> tuple[Recorded, ...]:
    return tuple(recorded(RECORDED))


def test_ours_answers_as_knatives_did() -> None:
    """In one test, for these few: they are read for longer than they are played."""
    assert len(series()) == 30
    found = {
        known.series.name: [str(each) for each in differences(played(known.series), known.theirs)] for known in series()
    }
    differing = [name for name, told in found.items() if told]
    assert not differing, "\n".join([", ".join(differing), *found[differing[0]][:10]])
    assert all(sum(len(each["ticks"]) for each in known.theirs) >= LEAST_TICKS for known in series())


def test_all_that_may_happen_is_recorded() -> None:
    happened = Counter(feature for known in series() for feature in known.happened)
    assert [each for each in Feature if happened[each] < EACH] == []


def test_knatives_is_of_the_release_that_the_test_cluster_runs() -> None:
    ours = libraries((SOURCES / "go.mod").read_text())
    cluster = libraries((versions().components["serving"].folder / "go.mod").read_text())
    assert ours["knative.dev/serving"] == versions().components["serving"].version, "see docs/testing.md"
    assert {name: version for name, version in ours.items() if cluster.get(name, version) != version} == {}


def test_a_name_draws_the_same_series_each_time() -> None:
    (one, answers, _), (other, *_) = drawn("1-1", ticks=FEW_TICKS), drawn("1-1", ticks=FEW_TICKS)
    assert one == other
    assert drawn("1-2", ticks=FEW_TICKS)[0] != one
    assert Series.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert played(one) == answers


# -- an oracle that is not Knative's -----------------------------------------------------------------------------------


def changed(answers: list[dict[str, Any]], at: int, what: str, value: Any) -> list[dict[str, Any]]:
    other = copy.deepcopy(answers)
    other[at]["pass"][what] = value
    return other


def test_a_difference_is_told_by_its_place() -> None:
    _, ours, _ = drawn("1-1", ticks=FEW_TICKS)
    assert list(differences(ours, ours)) == []
    assert list(differences(ours, changed(ours, 3, "mode", "?"))) == [
        Difference(step=3, what="pass mode", ours=ours[3]["pass"]["mode"], theirs="?")
    ]
    assert [each.what for each in differences(ours, ours[:-1])] == ["the number of steps"]


@pytest.mark.parametrize(("factor", "differs"), [(1 + 1e-15, False), (1 + 1e-9, True)])
def test_an_average_may_differ_in_its_last_bits_alone(*, factor: float, differs: bool) -> None:
    ticks = [{"ticks": [{"stable": 2.5, "desired": 3}]}], [{"ticks": [{"stable": 2.5 * factor, "desired": 3}]}]
    assert bool(list(differences(*ticks))) is differs
    other = [{"ticks": [{"stable": 2.5, "desired": 3 * factor}]}]
    assert list(differences(ticks[0], other))


def pretended(folder: Path, answers: str) -> Oracle:
    """A program that answers each series by an expression over `ours`, which is what we make of it."""
    program = folder / "oracle"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.kpa_campaign.campaign import played\n"
        "from tests.kpa_campaign.series import Series\n"
        "for line in sys.stdin:\n"
        "    ours = played(Series.from_json(json.loads(line)))\n"
        f"    print({answers}, flush=True)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Oracle(program)


def test_a_campaign_counts_what_differs_and_keeps_it_to_be_played_again(tmp_path: Path) -> None:
    lies = "json.dumps(ours[:-1] + [{**ours[-1], 'pass': {**ours[-1]['pass'], 'desired': 77}}])"
    said: list[str] = []
    with pretended(tmp_path, lies) as oracle:
        result = run(oracle, series=2, seed=1, evidence=tmp_path / "kept", say=said.append, ticks=FEW_TICKS)
        assert (result.series, result.differing, result.passed) == (2, 2, False)
        assert result.first.startswith("1-0: step ")
        assert "pass desired" in result.first
        assert result.fewest_ticks >= FEW_TICKS
        kept = sorted((tmp_path / "kept").iterdir())
        assert [each.name for each in kept] == ["1-0.json", "1-1.json"]
        assert said[0].endswith(f"1-0 differs: {kept[0]}")
        assert [each.what for each in replayed(oracle, kept[0])] == ["pass desired"]
    assert summary(result)[-1] == "FAILED: 2 of 2 series differ from Knative's autoscaler"


def test_a_campaign_in_which_something_never_happened_has_failed(tmp_path: Path) -> None:
    with pretended(tmp_path, "json.dumps(ours)") as oracle:
        result = run(oracle, series=1, seed=1, evidence=tmp_path / "kept", say=print, ticks=FEW_TICKS)
    assert (result.series, result.differing, result.passed) == (1, 0, False)
    assert any(line.startswith("never happened: ") for line in summary(result))


def test_an_oracle_that_breaks_is_told_by_its_last_words(tmp_path: Path) -> None:
    with pretended(tmp_path, "1 / 0") as oracle, pytest.raises(OracleFailed, match="ZeroDivisionError"):
        run(oracle, series=1, seed=1, evidence=tmp_path, say=print, ticks=FEW_TICKS)
