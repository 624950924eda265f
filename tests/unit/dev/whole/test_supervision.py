"""A process that is kept running: how its ends are told, and when it is given up before it was ready."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from knative_mig.dev.whole import supervision
from knative_mig.dev.whole.supervision import MOST_ENDS, Kept, Part, PartFailed


def kept(folder: Path, code: str, tell: Callable[[str], None]) -> Kept:
    (folder / "a_part.py").write_text(code)
    part = Part(
        name="agent-of-node-1",
        module="a_part",
        arguments=(),
        log=folder / "agent.log",
        ready_at=("127.0.0.1", 9),
        manifest="core/510-agent.yaml",
        variables={"PYTHONPATH": str(folder)},
    )
    return Kept(part, tell)


def test_a_part_that_ends_at_each_start_is_told_with_its_last_words_and_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def tell(line: str) -> None:
        said.append(line)
        if len(said) == MOST_ENDS:
            stop.set()

    code = "import sys\nprint('begins', flush=True)\nsys.exit('agent: a\\x1b[1m speed of nan\\n\\n')"
    one = kept(tmp_path, code, tell)
    one.check()
    one.run(stop)
    words = f"it said last: 'agent: a\\x1b[1m speed of nan'; its log: {tmp_path}/agent.log"
    assert said == [f"agent-of-node-1 ended with exit code 1 and is started again; {words}"] * MOST_ENDS
    with pytest.raises(PartFailed) as failed:
        one.check()
    assert str(failed.value) == (
        f"agent-of-node-1 ends each time that it is started: it ended with exit code 1; {words}"
    )


def test_who_says_nothing_is_given_no_words_of_the_one_before(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def tell(line: str) -> None:
        said.append(line)
        (tmp_path / "a_part.py").write_text("import os\nos._exit(7)")
        if len(said) == 2:
            stop.set()

    kept(tmp_path, "print('begins')", tell).run(stop)
    assert "ended with exit code 0 and is started again; it said last: 'begins'" in said[0]
    assert said[1] == f"agent-of-node-1 ended with exit code 7 and is started again; its log: {tmp_path}/agent.log"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_who_could_not_say_why_for_there_is_no_room_is_told_so(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def tell(line: str) -> None:
        said.append(line)
        stop.set()

    (tmp_path / "agent.log").symlink_to("/dev/full")
    kept(tmp_path, "import sys\nsys.exit('no room')", tell).run(stop)
    assert "; its log cannot be written: No space left on device; its log: " in said[0]


def test_who_was_started_again_may_be_killed_once_it_has_lasted_and_is_not_put_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, stop = tmp_path / "begins", threading.Event()
    os.mkfifo(begins)
    code = f"import time\nopen({str(begins)!r}, 'w').close()\ntime.sleep(60)"
    one = kept(tmp_path, code, lambda _: None)
    assert one.may_be_killed() is None
    keeper = threading.Thread(target=one.run, args=(stop,))
    keeper.start()
    begins.read_bytes()
    first = one.may_be_killed()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    begins.read_bytes()
    assert one.may_be_killed() is None
    monkeypatch.setattr(supervision, "_LASTS_S", 0.0)
    assert one.may_be_killed() == one.pid != first
    stop.set()
    one.ask_to_end()
    keeper.join()


def test_who_hangs_is_ended_and_told_why_and_another_one_in_its_place_is_let_be(tmp_path: Path) -> None:
    begins, stop = tmp_path / "begins", threading.Event()
    os.mkfifo(begins)
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        stop.set()

    code = f"import os, signal\nopen({str(begins)!r}, 'w').close()\nos.kill(os.getpid(), signal.SIGSTOP)"
    one = kept(tmp_path, code, tell)
    keeper = threading.Thread(target=one.run, args=(stop,))
    keeper.start()
    begins.read_bytes()
    pid = one.pid
    assert pid is not None
    one.end_hung(pid + 1, "was another")
    one.end_hung(pid, "failed its probe")
    keeper.join()
    assert said == [
        f"agent-of-node-1 failed its probe, was ended by SIGKILL and is started again; its log: {tmp_path}/agent.log"
    ]
