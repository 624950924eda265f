"""Runs a command to its end and turns a failure into one line: the command's last words.

A command ends with the run that started it: after a kill -9 no kubectl is left waiting and no compiler running.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.testbed.errors import ClusterError


def _end_with_parent() -> tuple[str, ...]:
    """Not on a machine without util-linux: there it is the next command that installs it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


class CommandError(ClusterError):
    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        words = [line for line in output.strip().splitlines() if line.strip()]
        super().__init__(
            f"`{' '.join(argv[:6])}{' …' if len(argv) > 6 else ''}` failed ({code}): {' | '.join(words[-4:])}"
        )
        self.output = output
        self.code = code


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 600,
) -> str:
    """Standard output of a command that must succeed. `env` is added to ours."""
    words = [str(word) for word in argv]
    if shutil.which(words[0]) is None:
        raise ClusterError(f"`{words[0]}` is not installed on this machine")
    try:
        done = subprocess.run(
            [*_end_with_parent(), *words],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(words, 124, f"no end after {timeout:.0f} s") from None
    if done.returncode != 0:
        raise CommandError(words, done.returncode, done.stderr or done.stdout)
    return done.stdout


def succeeds(argv: Sequence[str | Path], *, timeout: float = 60) -> bool:
    try:
        run(argv, timeout=timeout)
    except ClusterError:
        return False
    return True
