"""The recorder's command line where it cannot record: one line that says what to do."""

import sys
from pathlib import Path

import pytest

from tests.cluster import recorder
from tests.cluster.testbed.layout import STATE_VARIABLE


@pytest.fixture(autouse=True)
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "nothing"))


def test_no_cluster_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recorder", str(tmp_path / "file"), "--", "true"])
    assert recorder.main() == 2
    assert capsys.readouterr().err == "recorder: no test cluster is up: run `make cluster-up`\n"
    assert not (tmp_path / "file").exists()


def test_a_command_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recorder", str(tmp_path / "file"), "--", "no-such-command"])
    assert recorder.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "`no-such-command` is not on PATH" in line
