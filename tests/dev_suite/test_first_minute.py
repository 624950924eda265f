"""The first minute of README.md: its line starts a `dev`, and what that prints to type next works as it is printed."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.waits import eventually
from tests.dev import binaries
from tests.dev_suite.running import ROOT, leaves_nothing

_MARK = "---- next line"
_MINUTE = 60.0
_BUSY = 2  # times as long where much else runs


@pytest.mark.parametrize("has_kn", [True, False], ids=["with kn", "without"])
def test_what_is_printed_is_what_works(tmp_path: Path, has_kn: bool) -> None:  # noqa: FBT001  a parameter of pytest
    began = time.monotonic()
    environment = {**os.environ, "ARGS": "--port 0 --api-port 0", "HOME": str(tmp_path), "PATH": _path(has_kn=has_kn)}
    log = tmp_path / "printed"
    with log.open("w") as file:
        dev = subprocess.Popen(
            ["bash", "-ec", _of_readme()],
            cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        eventually("it says what to type", lambda: "Ctrl-C ends it" in log.read_text(), seconds=_MINUTE)
        lines = _lines(log.read_text())
        said = _typed(lines, environment)
        folder = str(Path(lines[0].partition("=")[2]).parent)
        took = time.monotonic() - began
    finally:
        os.killpg(dev.pid, signal.SIGINT)  # as a terminal does it
        dev.wait(_MINUTE)
    leaves_nothing(folder)

    assert ("kn service create" in lines[1]) is has_kn
    for line, text in zip(lines, said, strict=True):
        print(f"$ {line}\n{text}")
        if "invoke" in line or "completions" in line or "models" in line:
            assert text, line
        if "/v1/completions" in line:
            assert '"choices"' in text
        if "/v1/models" in line:
            assert '"tiny-llm"' in text
        if line.endswith(" gpus"):
            assert "1g#" in text
    assert took < _BUSY * _MINUTE


def _of_readme() -> str:
    """The first thing that it says to type."""
    readme = (ROOT / "README.md").read_text()
    [section] = re.findall(r"^## The first minute\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)
    [commands] = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return str(commands)


def _lines(printed: str) -> list[str]:
    [block] = re.findall(r"^What to type next.*?:\n(.*?)^Ctrl-C", printed, re.DOTALL | re.MULTILINE)
    return [line.strip() for line in block.splitlines() if line.strip()]


def _typed(lines: list[str], environment: dict[str, str]) -> list[str]:
    """What each of them says, typed one after another into one shell; fails the test where one fails."""
    script = f"\necho '{_MARK}'\n".join(lines)
    done = subprocess.run(
        ["bash", "-e"], input=script, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [each.strip() for each in done.stdout.split(_MARK)]


def _path(*, has_kn: bool) -> str:
    """The machine's, with the real kn or with none."""
    kn = binaries.found("kn")
    assert kn is not None
    others = [each for each in os.environ["PATH"].split(os.pathsep) if not Path(each, "kn").exists()]
    return os.pathsep.join([*([str(kn.parent)] if has_kn else []), *others])
