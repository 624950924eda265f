"""A pid that was given to another process must never be touched."""

import subprocess
import sys
from pathlib import Path

from tests.cluster.testbed import processes
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.processes import Command, Component, Home, Pid


def fake_process(proc: Path, number: int, *, command: str = "etcd", state: str = "S", start_time: int = 500) -> None:
    folder = proc / str(number)
    folder.mkdir(exist_ok=True)
    between = " ".join(["0"] * 18)  # fields 4 to 21 of proc(5)
    (folder / "stat").write_text(f"{number} ({command}) {state} {between} {start_time} 0 0")


def test_a_process_is_alive_while_number_and_start_time_match(tmp_path: Path) -> None:
    fake_process(tmp_path, 7)
    pid = Pid.of(7, tmp_path)
    assert pid == Pid(number=7, start_time=500)
    assert pid.alive(tmp_path)


def test_a_recycled_number_is_another_process(tmp_path: Path) -> None:
    fake_process(tmp_path, 7)
    pid = Pid.of(7, tmp_path)
    assert pid is not None
    fake_process(tmp_path, 7, start_time=501)
    assert not pid.alive(tmp_path)


def test_a_command_with_spaces_and_parentheses_does_not_shift_the_fields(tmp_path: Path) -> None:
    fake_process(tmp_path, 7, command="a) S 1 (b c", start_time=42)
    assert Pid.of(7, tmp_path) == Pid(number=7, start_time=42)


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    fake_process(tmp_path, 7, state="Z")
    assert Pid.of(7, tmp_path) is None


def test_a_zombie_whose_other_threads_still_run_is_alive(tmp_path: Path) -> None:
    fake_process(tmp_path, 7, state="Z")
    for thread in ("7", "8"):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
    assert Pid.of(7, tmp_path) is not None


def test_a_process_held_by_a_signal_is_stopped(tmp_path: Path) -> None:
    fake_process(tmp_path, 7, state="T")
    assert Pid(number=7, start_time=500).stopped(tmp_path)
    assert not Pid(number=8, start_time=500).stopped(tmp_path)


def test_ending_a_record_of_a_recycled_number_spares_the_new_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        now = Pid.of(bystander.pid)
        assert now is not None
        stale = Pid(number=now.number, start_time=now.start_time - 1)
        processes.end([component(tmp_path, stale)], grace=0)
        assert now.alive()
        bystander.communicate(b"\n")
        assert bystander.returncode == 0


def test_end_waits_until_the_process_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        pid = Pid.of(child.pid)
        assert pid is not None
        processes.end([component(tmp_path, pid)], grace=5)
        assert not pid.alive()


def test_a_record_brings_back_the_whole_command(tmp_path: Path) -> None:
    state = State(root=tmp_path)
    written = component(tmp_path, Pid(number=4, start_time=5))
    processes.write(state, written)
    assert processes.find(state, "etcd") == written
    assert processes.components(state) == [written]


def component(folder: Path, pid: Pid) -> Component:
    home = Home(network="/run/netns/x", mounts=None, cgroups=("/sys/fs/cgroup/x",))
    command = Command(name="etcd", argv=("etcd", "--a"), home=home, log=str(folder / "log"), environment={"K": "v"})
    return Component(command=command, pid=pid)
