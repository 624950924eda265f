"""`make e2e-dev`: builds kn and kubectl where they are not yet, runs one `dev`, and the suite on it.

    python -m tests.dev_suite [pytest's arguments]

Exit codes: pytest's; 1 where all passed and the `dev` has left something behind.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.dev import binaries
from tests.dev_suite import FLEET, SHARED_VARIABLE
from tests.dev_suite.running import At, interrupted, leaves_nothing, started

_KEPT: Final = Path("build/e2e-dev")
# More workers than cores: tests mostly wait, for a window to pass or a pod to drain.
_WORKERS: Final = 4


def main(arguments: Sequence[str]) -> int:
    if code := binaries.main():
        return code
    shutil.rmtree(_KEPT, ignore_errors=True)
    _KEPT.mkdir(parents=True)
    with started(*FLEET) as dev:
        at = At.of(dev)
        shared = _KEPT.absolute() / "at.json"
        at.write(shared)
        code = _suite(shared, arguments)
        shutil.copytree(at.logs, _KEPT / "logs")  # they go with it, and say why a test failed
        ended = interrupted(dev)
        (_KEPT / "dev.log").write_text(dev.said)
        if ended:
            sys.stderr.write(f"e2e-dev: dev ended with {ended}; what it printed is in {_KEPT}/dev.log\n")
        leaves_nothing(at.folder)
    return code or ended


def _suite(shared: Path, arguments: Sequence[str]) -> int:
    suite = [] if any(word.startswith("tests/dev_suite") for word in arguments) else ["tests/dev_suite"]
    spread = [f"--numprocesses={_WORKERS}", "--dist=load", "--maxschedchunk=1", "--durations=10"]
    command = [sys.executable, "-m", "pytest", *suite, *spread, *arguments]
    return subprocess.run(command, env={**os.environ, SHARED_VARIABLE: str(shared)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
