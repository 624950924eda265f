"""Processes that say in their environment of which pod they are."""

from pathlib import Path

from knative_mig.adapters.marked_pods import MarkedPods


class Proc:
    """A /proc of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, pid: int, uid: str = "", *, began: int = 1, parent: int = 1) -> None:
        here = self.folder / str(pid)
        here.mkdir(exist_ok=True)
        marks = [b"PATH=/bin", f"KNATIVE_MIG_POD_UID={uid}".encode()] if uid else [b"PATH=/bin"]
        (here / "environ").write_bytes(b"\0".join(marks) + b"\0")
        (here / "stat").write_text(f"{pid} (a (b) c) S {parent} " + "0 " * 17 + f"{began} 0")


def test_the_processes_of_a_pod_are_those_with_its_mark(tmp_path: Path) -> None:
    proc, pods = Proc(tmp_path), MarkedPods(tmp_path)
    proc.put(10, "a")
    proc.put(11, "a", parent=10)
    proc.put(12, "b")
    proc.put(13)
    assert pods.of_pods(["a", "c"]) == {"a": frozenset({10, 11}), "c": frozenset()}
    assert pods.belongs(12, "b")
    assert not pods.belongs(13, "")
    assert not pods.belongs(14, "b")
    assert pods.descends(11, 10)
    assert pods.sees_the_host()


def test_a_process_that_was_just_begun_is_looked_at_until_it_runs_its_program(tmp_path: Path) -> None:
    proc, pods = Proc(tmp_path), MarkedPods(tmp_path)
    proc.put(10)
    assert pods.of_pods(["a"])["a"] == frozenset()
    proc.put(10, "a")
    assert pods.of_pods(["a"])["a"] == {10}


def test_a_pid_that_comes_back_is_another_process(tmp_path: Path) -> None:
    proc, pods = Proc(tmp_path), MarkedPods(tmp_path)
    proc.put(10, "a")
    assert pods.of_pods(["a", "b"])["a"] == {10}
    proc.put(10, "b", began=2)
    assert pods.of_pods(["a", "b"]) == {"a": frozenset(), "b": frozenset({10})}


def test_one_that_has_long_been_there_without_a_mark_is_not_read_again(tmp_path: Path) -> None:
    proc, pods = Proc(tmp_path), MarkedPods(tmp_path)
    proc.put(10)
    for _ in range(5):
        pods.of_pods(["a"])
    proc.put(10, "a")  # no process does that: it shows whether it was read
    assert pods.of_pods(["a"])["a"] == frozenset()
