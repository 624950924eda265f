"""The engine's process group: all of it is gone before anybody says that the slice is free."""

import os
import sys
import threading
from pathlib import Path

import pytest

from services.relay.child import Child
from services.relay.release import why_not_released
from tests.rigs.relay_processes import until
from tests.rigs.tiny_server import PATIENCE_S

# An engine that starts another process, and of which neither listens to SIGTERM.
STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
name = "second" if os.fork() == 0 else "first"
if name == "second" and sys.argv[2:] == ["apart"]:
    os.setsid()
pathlib.Path(sys.argv[1], name).write_text(str(os.getpid()))
time.sleep(600)
"""


def waited_for(child: Child) -> int:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(child.wait()))
    thread.start()
    thread.join(PATIENCE_S)
    (code,) = codes
    return code


def lives(path: Path) -> bool:
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("by", ["us", "itself"])
def test_nothing_is_left_of_an_engine_whoever_ends_it(tmp_path: Path, by: str) -> None:
    child = Child([sys.executable, "-c", STUBBORN, str(tmp_path)], os.environ)
    pids = [tmp_path / "first", tmp_path / "second"]
    until(lambda: all(path.exists() and path.read_text() for path in pids), "both processes")
    if by == "us":
        child.end()
    else:
        os.kill(int(pids[0].read_text()), 9)
    assert waited_for(child) == -9
    assert not any(map(lives, pids))
    child.end()  # late, and nobody is there


def test_nor_of_what_has_a_session_of_its_own(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", STUBBORN, str(tmp_path), "apart"], os.environ)
    pids = [tmp_path / "first", tmp_path / "second"]
    until(lambda: all(path.exists() and path.read_text() for path in pids), "both processes")
    child.end()
    assert waited_for(child) == -9
    until(lambda: not any(map(lives, pids)), "the end of both, of which one is another's to wait for")


def test_an_engine_that_ends_as_it_is_told_is_not_waited_for() -> None:
    child = Child([sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    child.end()
    assert waited_for(child) == -15
    assert child.has_ended


def test_without_an_agent_there_is_nothing_to_give_back_and_one_that_is_away_is_asked_again(tmp_path: Path) -> None:
    assert why_not_released(tmp_path / "nothing") == ""
    assert "cannot be asked" in why_not_released(tmp_path)
