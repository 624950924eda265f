"""What a process is told by a number: one that it can wait for, or it does not start and says why in a line."""

import click
import pytest
from click.testing import CliRunner

from activator_hooks.source.__main__ import command as source
from activator_hooks.webhook.__main__ import command as webhook
from reconfigurer.agent.__main__ import command as agent
from reconfigurer.planner.__main__ import command as planner
from services.relay.__main__ import command as relay
from services.vllm.__main__ import command as vllm

PROCESSES = {"agent": agent, "planner": planner, "source": source, "webhook": webhook, "relay": relay, "vllm": vllm}


DURATIONS = [
    (name, option.opts[0])
    for name, process in PROCESSES.items()
    for option in process.params
    if isinstance(option.type, click.types.FloatParamType)
]


@pytest.mark.parametrize(("process", "option"), DURATIONS)
@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "Infinity", "-inf", "1e300"])
def test_what_is_no_number_to_wait_for_is_refused_in_one_line(process: str, option: str, value: str) -> None:
    ended = CliRunner().invoke(PROCESSES[process], [f"{option}={value}"])
    assert ended.exit_code == 2
    *_, said = ended.output.splitlines()
    assert said.startswith(f"Error: Invalid value for '{option}': ")


@pytest.mark.parametrize(("process", "option"), DURATIONS)
def test_the_default_is_legal_when_it_is_said(process: str, option: str) -> None:
    [told] = [each for each in PROCESSES[process].params if option in each.opts]
    assert told.type.convert(str(told.default), told, None) == told.default


def test_every_process_that_has_durations_is_asked() -> None:
    assert {process for process, _ in DURATIONS} == PROCESSES.keys() - {"relay"}
