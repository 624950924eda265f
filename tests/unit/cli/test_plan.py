import json
from pathlib import Path

import pytest

from .conftest import Cli

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
LEGEND = "# busy   ~ busy, movable   - idle   > ending   + made or taken by this plan   blank: free\n"


def test_two_idle_fragments_are_merged_beside_a_busy_half(cli: Cli) -> None:
    outcome = cli("plan", str(EXAMPLES / "merge.yaml"))
    assert outcome.code == 0
    assert (
        outcome.out
        == """\
GPU-a, A100-40GB on node-1
  before  |2g-----------|1g----|      |3g#########################|
  after   |3g+++++++++++++++++++++++++|3g#########################|

1. merge: shop/chat gets 3g.20gb@0 of GPU-a on node-1
    destroys idle 2g.10gb@0, 1g.5gb@2

1 of 1 slices granted

"""
        + LEGEND
    )


def test_one_function_moves_where_that_is_the_only_way(cli: Cli) -> None:
    outcome = cli("plan", str(EXAMPLES / "move.yaml"))
    assert outcome.code == 0
    assert (
        outcome.out
        == """\
GPU-a, A100-40GB on node-1
  before  |1g~~~~|      |      |      |3g#########################|
  after   |3g+++++++++++++++++++++++++|3g#########################|

GPU-b, A100-40GB on node-1
  before  |1g####|      |      |      |3g#########################|
  after   |1g####|1g++++|      |      |3g#########################|

1. move: shop/chat gets 3g.20gb@0 of GPU-a on node-1
    first shop/spell moves from 1g.5gb@0 of GPU-a to a new 1g.5gb@1 of GPU-b on node-1 (about 6 s)

1 of 1 slices granted

"""
        + LEGEND
    )


def test_without_moves_the_same_case_is_rejected_with_exit_1(cli: Cli) -> None:
    without = (EXAMPLES / "move.yaml").read_text() + "policy: {max_moves: 0}\n"
    outcome = cli("plan", "-", "--json", stdin=without.encode())
    plan = json.loads(outcome.out)
    assert outcome.code == 1
    assert plan["steps"] == []
    assert [(each["function"], each["count"], each["reason"]["code"]) for each in plan["rejections"]] == [
        ("shop/chat", 1, "NoFreePlace")
    ]


def test_a_profile_that_two_models_have_is_cut_where_it_costs_least_and_it_is_said_where(cli: Cli) -> None:
    outcome = cli("plan", str(EXAMPLES / "mixed.yaml"), "--explain")
    assert outcome.code == 0
    assert (
        outcome.out
        == """\
GPU-b, A100-80GB on node-2
  before  |      |      |      |      |3g#########################|
  after   |      |      |      |1g++++|3g#########################|

1. create: shop/chat gets 1g.10gb@3 of GPU-b on node-2
    FreeUnits: units 3 are free: nothing is destroyed
    KeepsFlexibility: takes 2.30 slices of future demand from this GPU

the plan as a whole
    it serves 1 compute slices; no plan serves more than 1 (gap 0.0 %)

1 of 1 slices granted

"""
        + LEGEND
    )


@pytest.mark.parametrize("example", ["merge.yaml", "mixed.yaml", "move.yaml"])
def test_explain_says_why_with_numbers(cli: Cli, example: str) -> None:
    plain = cli("plan", str(EXAMPLES / example)).out.splitlines()
    explained = cli("plan", str(EXAMPLES / example), "--explain").out.splitlines()
    added = "\n".join(line for line in explained if line not in plain)
    assert "(gap 0.0 %)" in added
    assert any(char.isdigit() for char in added.partition("the plan as a whole")[0])


def test_data_is_the_same_for_the_same_file(cli: Cli) -> None:
    once = cli("plan", str(EXAMPLES / "move.yaml"), "--json").out
    assert json.loads(once)["steps"][0]["relocations"][0]["seconds"] == 6
    assert cli("plan", str(EXAMPLES / "move.yaml"), "--json").out == once


def test_nothing_pending(cli: Cli) -> None:
    outcome = cli("plan", "-", stdin=b"{gpus: [], pendings: []}")
    assert (outcome.code, outcome.out) == (0, "nothing is pending\n")


def test_bad_input_is_one_line_and_exit_2(cli: Cli) -> None:
    outcome = cli("plan", "-", stdin=b"gpus: []")
    line = "standard input:1: pendings is missing: it needs gpus, pendings\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", line)
