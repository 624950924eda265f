"""Small things around the processes: how an end is told, what chaos kills, which folders are left, what is imported."""

import fcntl
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from knative_mig.dev import whereabouts
from knative_mig.dev.whole import folders
from knative_mig.dev.whole.chaos import Chaos
from knative_mig.dev.whole.identities import written
from knative_mig.dev.whole.parts import free_ports
from knative_mig.dev.whole.settings import HOST
from knative_mig.dev.whole.supervision import ended


def test_an_end_is_told_as_a_person_reads_it() -> None:
    assert ended(-9) == "was ended by SIGKILL"
    assert ended(3) == "ended with exit code 3"
    assert ended(-200) == "ended with exit code -200"


def test_what_is_killed_takes_its_processes_with_it() -> None:
    child = [sys.executable, "-m", "knative_mig.dev.whole.child"]
    lasting = ["timeit", "-n1", "-r1", "-s", "import time", "print('it runs', flush=True); time.sleep(60)"]
    starts_it = f"import os, subprocess; subprocess.run([*{child}, str(os.getpid()), *{lasting}])"
    with subprocess.Popen([sys.executable, "-c", starts_it], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"it runs\n"
        parent.kill()
        parent.communicate(timeout=20)  # the output ends when both have


def test_chaos_kills_one_of_what_runs_and_says_which() -> None:
    said: list[str] = []
    with subprocess.Popen(["sleep", "60"]) as process:
        Chaos(lambda: {"planner": process.pid}, said.append, each_s=1.0, random=Random(1)).strike()
        assert process.wait(10) == -9
    assert said == ["chaos: planner is killed"]
    Chaos(dict, said.append, each_s=1.0, random=Random(1)).strike()
    assert len(said) == 1


def test_a_folder_that_nobody_holds_any_more_is_removed_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "home", lambda: tmp_path)
    first = folders.made(None)
    os.close(first.lock)  # as the kernel does at any end
    second = folders.made(None)
    assert not first.run.exists()
    third = folders.made(tmp_path / "state")
    assert second.run.exists()
    assert third.logs == tmp_path / "state" / "logs"
    (third.run / whereabouts.KUBECONFIG).touch()
    assert whereabouts.kubeconfig_of_running(tmp_path) == third.kubeconfig
    for each in (second, third):
        each.remove()
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_is_being_made_is_not_removed_by_another_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "home", lambda: tmp_path)
    locked, made = fcntl.flock, list[folders.Folders]()

    def locked_after_another_start(lock: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", locked)
        made.append(folders.made(None))
        locked(lock, how)

    monkeypatch.setattr(fcntl, "flock", locked_after_another_start)
    made.append(folders.made(None))
    assert [(each.run / whereabouts.LOCK).exists() for each in made] == [True, True]
    for each in made:
        each.remove()


def test_a_part_may_listen_on_its_port_again_and_again_and_nobody_else_is_given_it() -> None:
    with closing(free_ports(1)) as ports:
        for _ in range(2):
            with socket.create_server((HOST, ports.webhook)), socket.create_connection((HOST, ports.webhook)):
                pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, ports.webhook))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_file_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as full:
        written(config, "http://127.0.0.1:1", "dev")
    assert full.value.filename == str(config)


def test_dev_needs_neither_the_kubernetes_library_nor_a_driver() -> None:
    code = "import sys, knative_mig.dev.whole.cluster; print({'kubernetes', 'pynvml', 'flask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
