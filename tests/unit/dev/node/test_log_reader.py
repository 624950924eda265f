"""What of a container's log whoever asks for it gets."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from knative_mig.dev.node import shim
from knative_mig.dev.node.log_reader import LogReader, Tail
from knative_mig.dev.node.logs import PodLogs
from knative_mig.ports.kube import Key

CHAT = Key("default", "chat")


@dataclass(frozen=True, kw_only=True)
class Asked:
    namespace: str = "default"
    pod: str = "chat"
    uid: str = "u"
    container: str = "main"
    life: int = 1
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    most_bytes: int | None = None


@pytest.fixture(name="logs")
def _logs(tmp_path: Path) -> PodLogs:
    logs = PodLogs(tmp_path)
    path = logs.open(CHAT, "u", "main", 0)
    path.write_text("2026-01-01T00:00:00.000000001Z stdout F first life\n")
    logs.open(CHAT, "u", "main", 1).write_text(
        "2026-01-01T00:00:01.000000001Z stdout F one\n"
        "2026-01-01T00:00:02.000000001Z stderr F two\n"
        "2026-01-01T00:00:03.000000001Z stdout P thr\n"
        "2026-01-01T00:00:03.000000002Z stdout F ee\n"
    )
    return logs


def told(logs: PodLogs, asked: Asked) -> bytes:
    reader = LogReader(logs, lambda *_: False, clock=lambda: 1767225604.0)  # 2026-01-01T00:00:04Z

    async def all_of() -> bytes:
        return b"".join([each async for each in reader.lines(asked)])

    return asyncio.run(all_of())


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (Asked(), b"one\ntwo\nthree\n"),
        (Asked(life=0), b"first life\n"),
        (Asked(since_s=2), b"two\nthree\n"),
        (Asked(tail_lines=1), b"ee\n"),
        (Asked(tail_lines=0), b""),
        (Asked(most_bytes=6), b"one\ntw"),
        (Asked(timestamps=True, tail_lines=1), b"2026-01-01T00:00:03.000000002Z ee\n"),
    ],
    ids=["all", "the life before", "since", "tail", "none", "bytes", "timestamps"],
)
def test_what_is_asked_for(logs: PodLogs, asked: Asked, answer: bytes) -> None:
    assert told(logs, asked) == answer


def test_where_nothing_is_kept_there_are_no_lines(logs: PodLogs) -> None:
    assert told(logs, Asked(container="other")) == b""
    logs.remove(CHAT, "u")
    assert told(logs, Asked(tail_lines=3)) == b""


def test_a_log_that_is_followed_goes_on_until_its_container_ends(logs: PodLogs) -> None:
    running = [True]
    reader = LogReader(
        logs, lambda uid, container, life: (uid, container, life) == ("u", "main", 1) and running[0], clock=lambda: 0.0
    )
    path = logs.path(CHAT, "u", "main", 1)

    async def follow() -> list[bytes]:
        seen = []
        async for line in reader.lines(Asked(follow=True, tail_lines=1)):
            seen.append(line)
            if len(seen) == 1:
                with path.open("a") as file:
                    file.write("2026-01-01T00:00:05.000000001Z stdout F four\n")
            else:
                running[0] = False
        return seen

    assert asyncio.run(follow()) == [b"ee\n", b"four\n"]


def test_what_is_rotated_away_while_it_is_read_is_not_lost_nor_told_twice(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    path = logs.open(CHAT, "u", "main", 0)
    log, tail = shim.Log(str(path), 1000, 3), Tail(path)
    seen = []
    for at in range(300):
        log.write("stdout", b"line %d\n" % at)
        if not at % 7:
            seen += [line.text for line in tail.more()]
    seen += [line.text for line in tail.more()]
    assert seen == [b"line %d\n" % at for at in range(300)]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path, entry = tmp_path / "0.log", b"2026-01-01T00:00:05.000000001Z stdout F whole\n"
    path.write_bytes(entry[:40])
    tail = Tail(path)
    assert list(tail.more()) == []
    path.write_bytes(entry)
    assert [line.text for line in tail.more()] == [b"whole\n"]


def test_others_have_their_turn_while_the_end_of_a_long_log_is_looked_for(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    entry = "2026-01-01T00:00:01.000000001Z stdout F line\n"
    logs.open(CHAT, "u", "main", 0).write_text(entry * 10_000)
    reader = LogReader(logs, lambda *_: False, clock=lambda: 1767225604.0)

    async def turns_of_others() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        assert [line async for line in reader.lines(Asked(life=0, tail_lines=1, since_s=60))] == [b"line\n"]
        task.cancel()
        return turns

    assert asyncio.run(turns_of_others()) > 10


def test_what_is_rotated_between_two_files_of_one_look_is_not_lost_nor_told_twice(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    path = logs.open(CHAT, "u", "main", 0)
    log, tail = shim.Log(str(path), 1000, 3), Tail(path)
    for at in range(30):
        log.write("stdout", b"line %d\n" % at)
    look = tail.more()
    seen = [next(look).text]
    for at in range(30, 60):
        log.write("stdout", b"line %d\n" % at)
    seen += [line.text for line in look]
    seen += [line.text for line in tail.more()]
    assert seen == [b"line %d\n" % at for at in range(60)]
