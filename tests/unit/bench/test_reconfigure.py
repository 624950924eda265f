"""The benchmark's command: a whole node is measured, phases add up, the last line is one flat JSON object."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from bench import reconfigure
from bench.one_node import PHASES, OneNode

TINY = reconfigure.Effort(single={0.0: 1}, at_once={0.0: 1}, gpus=2)


def test_the_last_line_is_one_flat_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconfigure, "QUICK", TINY)
    planner = {"planner_event_p99_ms": 1.0, "planner_rss_mb": 2.0}
    monkeypatch.setattr(reconfigure, "planner_half", lambda **_: planner)

    result = CliRunner().invoke(reconfigure.main, ["--quick", "--json"])

    assert result.exit_code == 0, result.output
    found = json.loads(result.output.splitlines()[-1])
    assert tuple(found) == reconfigure.KEYS
    assert found["own_p99_ms"] > 0
    for heading in (
        *PHASES,
        "driver 0 ms a call",
        "one slice made (1)",
        "our own share",
        "Goals",
    ):
        assert heading in result.output


def test_the_phases_of_a_change_add_up_and_hold_what_the_driver_took() -> None:
    with TemporaryDirectory(prefix="bench-") as folder, OneNode(Path(folder), gpus=2, latency_s=0.05) as node:
        node.change({0: ("1g.5gb@0", "1g.5gb@1"), 1: ("7g.40gb@0",)})
        merged = node.change({0: ("3g.20gb@0",)})

    assert sum(merged.phases_s) == pytest.approx(merged.total_s)
    assert merged.driver_s > 6 * 0.05  # two instances of two slices destroyed, two made
    assert merged.own_s == pytest.approx(merged.total_s - merged.driver_s)
    assert merged.stored < merged.begun < merged.cut < merged.visible
