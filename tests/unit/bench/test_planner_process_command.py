"""The benchmark's command: all kinds of round run, and the last line is one flat JSON object."""

import json

import pytest
from click.testing import CliRunner

from bench import planner_process
from reconfigurer.planner import memory

TINY = planner_process.Effort(gpus=32, waiting=6, rounds=3)


def test_the_last_line_is_one_flat_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner_process, "QUICK", TINY)
    monkeypatch.setattr(memory, "settle", lambda: None)  # the test's own process goes on

    result = CliRunner().invoke(planner_process.main, ["--quick", "--json", "--seed", "3"])

    assert result.exit_code == 0, result.output
    assert tuple(json.loads(result.output.splitlines()[-1])) == planner_process.KEYS
    for heading in ("One round on 32 GPUs, 4 nodes", "6 pods come at once", "one comes beside them", "Goals"):
        assert heading in result.output
