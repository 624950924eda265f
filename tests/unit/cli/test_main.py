import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from knative_mig.cli.main import VERBS
from knative_mig.core.errors import GpuLost

from .conftest import Cli


def test_help_names_every_verb_and_exit_code(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.code == 0
    assert all(f"  {verb} " in outcome.out for verb in VERBS)
    assert "0 ok, 1 failed or not legal, 2 bad input or usage, 3 not ready" in outcome.out


def test_nothing_asked_is_answered_with_the_help(cli: Cli) -> None:
    assert cli() == cli("--help")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(cli: Cli, verb: str) -> None:
    outcome = cli(verb, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: knative-mig {verb}")


def test_version_is_the_distribution_s(cli: Cli) -> None:
    assert cli("--version").out == "knative-mig 0.1.0\n"


def test_help_imports_neither_yaml_nor_the_core() -> None:
    script = (
        "import sys; from knative_mig.cli.main import main; main(['--help']);"
        "print([m for m in sys.modules if m == 'yaml' or m.startswith('knative_mig')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == str(
        ["knative_mig", "knative_mig.cli", "knative_mig.core", "knative_mig.core.errors", "knative_mig.cli.main"]
    )


USAGE = {
    "unknown-verb": (("bogus",), "knative-mig: No such command 'bogus'. Try 'knative-mig --help'."),
    "unknown-option": (
        ("profiles", "--bogus"),
        "knative-mig profiles: No such option '--bogus'. Try 'knative-mig profiles --help'.",
    ),
    "too-many": (
        ("profiles", "A30-24GB", "B200-180GB"),
        "knative-mig profiles: Got unexpected extra argument (B200-180GB) Try 'knative-mig profiles --help'.",
    ),
    "no-file": (
        ("layouts", "check"),
        "knative-mig layouts check: Missing argument 'FILE'. Try 'knative-mig layouts check --help'.",
    ),
    "debug-after-the-verb": (
        ("profiles", "--debug"),
        "knative-mig profiles: No such option '--debug'. Try 'knative-mig profiles --help'.",
    ),
}


@pytest.mark.parametrize(("arguments", "line"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_is_one_line_and_exit_2(cli: Cli, arguments: tuple[str, ...], line: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", line + "\n")


def broken_by(error: Exception) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("profiles", callback=fail)


def test_a_defect_of_ours_is_one_line_and_exit_70(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knative_mig.cli.profiles.command", broken_by(ZeroDivisionError("a\nb")))
    outcome = cli("profiles")
    assert outcome.code == 70
    assert outcome.err == (
        "internal error: ZeroDivisionError: a\\nb (please report it, with the output of knative-mig --debug profiles)\n"
    )


def test_debug_shows_the_traceback_of_a_defect(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knative_mig.cli.profiles.command", broken_by(ZeroDivisionError("a")))
    outcome = cli("--debug", "profiles")
    assert outcome.code == 70
    assert outcome.err.startswith("Traceback (most recent call last):")
    assert outcome.err.endswith("(please report it, with the output of knative-mig --debug profiles)\n")


def test_an_error_of_a_gpu_is_failure_and_says_its_reason(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knative_mig.cli.profiles.command", broken_by(GpuLost("GPU-a")))
    outcome = cli("profiles")
    assert (outcome.code, outcome.err) == (1, "GpuLost: GPU-a\n")


def test_an_interrupt_is_quiet(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knative_mig.cli.profiles.command", broken_by(click.Abort()))
    assert cli("profiles").code == 130


def test_an_interrupt_while_it_is_imported_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")
    done = subprocess.run(
        ["env", "--default-signal=INT", sys.executable, "-m", "knative_mig.cli"],  # a shell with its & ignores it
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_file_name_with_a_line_break_and_bytes_that_are_no_text_is_told_on_one_line(cli: Cli) -> None:
    outcome = cli("layouts", "check", os.fsdecode(b"a\nb\xff"))
    assert outcome.err == ("a\\nb\\udcff: no such file: legal is a YAML file, or - for the standard input\n")


def run_with_output_to(path: Path) -> subprocess.CompletedProcess[str]:
    with path.open("w") as output:
        return subprocess.run(
            [sys.executable, "-m", "knative_mig.cli.main", "profiles"],
            stdout=output, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_failure_and_says_so() -> None:
    done = run_with_output_to(Path("/dev/full"))
    assert (done.returncode, done.stderr) == (1, "cannot write: No space left on device\n")


def test_a_file_that_cannot_be_written_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/home/kubeconfig")
    monkeypatch.setattr("knative_mig.cli.profiles.command", broken_by(error))
    outcome = cli("profiles")
    assert (outcome.code, outcome.err) == (1, "/home/kubeconfig: No space left on device\n")


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "knative_mig.cli.main", "profiles"],
        stdout=write_end, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")
