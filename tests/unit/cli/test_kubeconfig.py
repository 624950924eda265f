"""`knative-mig kubeconfig`: the file of the `dev` that runs, and no file of one that was killed."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from knative_mig.dev import whereabouts

from .conftest import Cli

Started = Callable[[str, float], int]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """What a `dev` leaves when it starts, at that time; closing what it gives is its end."""
    home = tmp_path / "home"
    monkeypatch.setattr(whereabouts, "home", lambda: home)

    def start(name: str, at: float) -> int:
        (home / name).mkdir(parents=True)
        lock = os.open(home / name / "lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (home / name / "kubeconfig").write_text(f"of {name}\n")
        os.utime(home / name / "kubeconfig", (at, at))
        return lock

    return start


def test_prints_the_path_of_the_dev_that_was_started_last_and_still_runs(
    cli: Cli, start: Started, tmp_path: Path
) -> None:
    assert cli("kubeconfig").err == "no knative-mig dev is running: start one with `knative-mig dev`\n"
    first, second = start("dev-b", 1.0), start("dev-a", 2.0)
    assert cli("kubeconfig").out == f"{tmp_path}/home/dev-a/kubeconfig\n"
    os.close(second)  # kill -9: its folder stays
    assert cli("kubeconfig").out == f"{tmp_path}/home/dev-b/kubeconfig\n"
    assert cli("kubeconfig", "-o", "-").out == "of dev-b\n"
    os.close(first)
    assert cli("kubeconfig").code == 2


def test_writes_a_copy_whole_or_not_at_all(cli: Cli, start: Started, tmp_path: Path) -> None:
    lock = start("dev-a", 1.0)
    (tmp_path / "mine").write_text("another")
    assert cli("kubeconfig", "-o", "mine").code == 0
    assert cli("kubeconfig", "-o", "").err == "--output '' names no file\n"
    assert (tmp_path / "mine").read_text() == "of dev-a\n"
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "mine").write_text("another")
    assert cli("kubeconfig", "-o", "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "mine").read_text() == "of dev-a\n"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert cli("kubeconfig", "-o", "pipe").code == 0
    assert os.read(reader, 100) == b"of dev-a\n"
    os.close(reader)
    said = cli("kubeconfig", "-o", "no/where")
    assert (said.code, said.err) == (2, "no/where: cannot be written: No such file or directory\n")
    os.close(lock)


def test_verbs_speak_with_the_dev_that_runs_unless_told_otherwise(
    cli: Cli, start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    lock = start("dev-a", 1.0)
    said = cli("ls")
    assert (said.code, said.err) == (2, "no credentials for a Kubernetes API server: the file is no kubeconfig\n")
    assert cli("ls", "--kubeconfig", "/nowhere").err == "--kubeconfig names /nowhere, which is not there\n"
    os.close(lock)


def test_a_context_that_is_not_in_the_file_is_told_with_those_that_are(cli: Cli, tmp_path: Path) -> None:
    def said(contexts: str, current: str, *words: str) -> str:
        (tmp_path / "mine").write_text(
            "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n"
            f"contexts: [{contexts}]\n{current}\n"
        )
        said = cli("ls", "--kubeconfig", "mine", *words)
        assert said.code == 2
        return said.err

    two = "{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u}}"
    now = "current-context: one"
    assert said(two, now, "--context", "nope") == "--context 'nope' is not in mine: legal are 'one', 'two'\n"
    assert said(two, now, "--context", "") == "--context '' is not in mine: legal are 'one', 'two'\n"
    assert said("", now, "--context", "nope") == "--context 'nope' is not in mine, which has no contexts\n"
    gone = "the current-context of mine, 'gone', is not in it: legal for --context are 'one', 'two'\n"
    assert said(two, "current-context: gone") == gone
    none = "mine names no current-context: legal for --context are 'one', 'two'\n"
    assert said(two, "") == none
    assert said(two, "current-context: ''") == none
    odd = said("{name: one, context: {cluster: nope, user: u}}", now)
    assert odd.startswith("no credentials for a Kubernetes API server: Invalid kube-config file. Expected object with")


@pytest.mark.parametrize("verb", [("ls",), ("gpus",), ("invoke", "tiny", "Once"), ("usage",)])
def test_who_runs_no_dev_and_names_no_cluster_is_told_so(
    cli: Cli, start: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (None, ""):
        if named is None:
            monkeypatch.delenv("KUBECONFIG", raising=False)
        else:
            monkeypatch.setenv("KUBECONFIG", named)
        said = cli(*verb)
        assert (said.code, said.err) == (
            2,
            (
                "no knative-mig dev is running, and no kubeconfig is there (~/.kube/config): start one with "
                "`knative-mig dev`, or name a cluster's file with --kubeconfig or $KUBECONFIG\n"
            ),
        )


def test_a_kubeconfig_of_a_dev_that_has_ended_is_told_with_what_to_do(
    cli: Cli, start: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = f"{tmp_path}/home/ended/kubeconfig"
    monkeypatch.setenv("KUBECONFIG", ended)
    why = f"$KUBECONFIG names {ended}, and the dev that wrote it has ended"
    assert cli("ls").err == f"{why}: start one with `knative-mig dev`\n"
    lock = start("dev-a", 1.0)
    assert cli("ls").err == f"{why}: the one that runs is had by `export KUBECONFIG=$(knative-mig kubeconfig)`\n"
    os.close(start("ended", 2.0))  # kill -9: its folder stays
    assert cli("ls").err.startswith(f"{why}: ")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/mine:{tmp_path}/yours")
    assert cli("ls").err == f"$KUBECONFIG names {tmp_path}/mine and {tmp_path}/yours, which are not there\n"
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/mine:{tmp_path}/home/dev-a/kubeconfig")
    assert "the file is no kubeconfig" in cli("ls").err  # of two one may be missing
    os.close(lock)
