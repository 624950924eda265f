"""One agent a node, also where its state folder takes no file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconfigurer.agent import process
from reconfigurer.agent.process import AnotherAgent, only_agent


def nothing(_: Path) -> None:
    pass


def takes_no_file(state: Path) -> None:
    """As a disk without room or a right."""
    (state / "agent.lock").mkdir(parents=True)


@pytest.mark.parametrize("harm", [nothing, takes_no_file])
def test_a_node_has_one_agent_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(process, "PREDECESSOR_ENDS_WITHIN_S", 0.0)
    harm(tmp_path / "state")
    locks = only_agent(tmp_path / "state")
    with pytest.raises(AnotherAgent):
        only_agent(tmp_path / "state")
    for each in locks:
        os.close(each)
    for each in only_agent(tmp_path / "state"):
        os.close(each)


def test_one_that_found_no_room_for_its_lock_is_not_joined_by_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PREDECESSOR_ENDS_WITHIN_S", 0.0)
    takes_no_file(tmp_path)
    locks = only_agent(tmp_path)
    (tmp_path / "agent.lock").rmdir()
    with pytest.raises(AnotherAgent):
        only_agent(tmp_path)
    for each in locks:
        os.close(each)
