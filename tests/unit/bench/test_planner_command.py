"""The benchmark's command: all parts run, the last line is one flat JSON object, a beaten bound ends the run."""

import json
from dataclasses import replace
from typing import Final

import click
import pytest
from click.testing import CliRunner

from bench import planner, policy_worth
from bench.fleets import CROWDED, USUAL
from bench.policy_worth import BOUND, OTHERS, OURS, RULES, BoundBeaten, MakeRule, compare
from bench.report import Goal, print_json
from bench.rules.first_fit import FirstFit, instaslice
from bench.traffic import Setting

TINY: Final = planner.Effort(
    fleets=((8, USUAL), (16, CROWDED), (24, USUAL)),
    decisions=20,
    batch_gpus=24,
    batch_pendings=12,
    batches=1,
    worth=policy_worth.Effort(seeds=2, arrivals=600, other_arrivals=350, warm_up=150, workers=1),
)


def test_the_last_line_is_one_flat_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "QUICK", TINY)

    result = CliRunner().invoke(planner.main, ["--quick", "--json", "--seed", "3"])

    assert result.exit_code == 0, result.output
    assert tuple(json.loads(result.output.splitlines()[-1])) == planner.KEYS
    for heading in ("One pending at a time", "12 pendings x 24 GPUs", "Mix standard", "Mix big", "Mix small", "Goals"):
        assert heading in result.output


def test_an_infinite_end_of_an_interval_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"known": 0.25, "unknown": float("-inf")})

    assert json.loads(capsys.readouterr().out) == {"known": 0.25, "unknown": None}


def test_a_goal_is_met_at_its_limit_and_missed_beyond() -> None:
    goal = Goal(what="ratio", value=1.5, at_least=1.5)

    assert goal.met
    assert not replace(goal, value=1.49).met
    assert not replace(goal, value=float("nan")).met
    assert replace(goal, value=1.49).row()[-1] == "MISSED"


class TwiceTheGpus(FirstFit):
    """What a broken comparison would look like: this rule has room that the bound has not."""

    def __init__(self, gpus: int) -> None:
        super().__init__(2 * gpus, instaslice(gpus).choice)


def test_a_rule_that_beats_the_bound_ends_the_comparison() -> None:
    rules: dict[str, MakeRule] = {"honest": instaslice, "cheat": TwiceTheGpus, BOUND: RULES[BOUND]}

    with pytest.raises(BoundBeaten, match=r"^cheat accepts 0\.\d+ of the slots, the full repack 0\.\d+ \(mix standard"):
        compare([Setting(gpus=3, arrivals=800, warm_up=100)], rules, [1, 2], workers=1)


def test_a_beaten_bound_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_worth, "RULES", {**OTHERS, OURS: TwiceTheGpus, BOUND: RULES[BOUND]})
    monkeypatch.setattr(policy_worth, "QUICK", replace(TINY.worth, arrivals=3_000))

    result = CliRunner().invoke(policy_worth.main, ["--quick"])

    assert result.exit_code == click.ClickException.exit_code == 1
    assert "ours accepts" in result.output
    assert len(result.output.splitlines()) == 1
