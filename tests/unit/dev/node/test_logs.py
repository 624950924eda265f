"""Logs of containers: written by the shim, read again by others."""

from pathlib import Path

import pytest

from knative_mig.dev.node import shim
from knative_mig.dev.node.logs import PodLogs, parsed
from knative_mig.ports.kube import Key

CHAT = Key("default", "chat")


def test_each_line_has_its_time_and_what_has_no_end_yet_is_kept_in_the_end(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    log = shim.Log(str(logs.open(CHAT, "u", "main", 0)), 10_000, 2)
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"bad\n")
    log.write("stdout", b"o\nthree")
    log.close()
    lines = [*logs.lines(CHAT, "u", "main", 0)]
    assert [line.text for line in lines] == [b"one\n", b"bad\n", b"two\n", b"three"]
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    assert len(lines[0].time) == len("2026-01-01T00:00:00.000000000Z")


def test_a_line_beyond_all_measure_comes_in_parts_and_is_one_again(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    log = shim.Log(str(logs.open(CHAT, "u", "main", 0)), 10**6, 2)
    text = b"x" * (shim.LONGEST_LINE * 2 + 5) + b"\n"
    for at in range(0, len(text), 1000):
        log.write("stdout", text[at : at + 1000])
    found = [line.text for line in logs.lines(CHAT, "u", "main", 0)]
    assert max(map(len, found)) <= shim.LONGEST_LINE + 1
    assert b"".join(found) == text


def test_no_more_is_kept_than_so_many_files_of_a_size(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    path = logs.open(CHAT, "u", "main", 0)
    log = shim.Log(str(path), 1000, 3)
    for at in range(500):
        log.write("stdout", b"line %d\n" % at)
    files = sorted(each.name for each in path.parent.iterdir())
    assert files == ["0.log", "0.log.1", "0.log.2"]
    assert all(each.stat().st_size <= 1000 for each in path.parent.iterdir())
    found = [line.text for line in logs.lines(CHAT, "u", "main", 0)]
    assert found[-1] == b"line 499\n"
    first = int(found[0].split()[1])
    assert found == [b"line %d\n" % at for at in range(first, 500)]


def test_the_last_life_is_kept_beside_the_present_one(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    for life in range(4):
        log = shim.Log(str(logs.open(CHAT, "u", "main", life)), 1000, 3)
        log.write("stdout", b"life %d\n" % life)
    assert [logs.last_words(CHAT, "u", "main", life) for life in range(4)] == ["", "", "life 2\n", "life 3\n"]
    logs.remove(CHAT, "u")
    assert logs.last_words(CHAT, "u", "main", 3) == ""


@pytest.mark.parametrize("entry", [b"", b"half an entr", b"2026-01-01T00:00:00Z stdout X text\n"])
def test_what_is_no_entry_is_passed_over(entry: bytes) -> None:
    assert parsed(entry) is None
