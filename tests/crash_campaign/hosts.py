"""Runs one of our processes as often as it is killed.

`ForkHost` is the campaign's side; the module that it names is the other and calls `serve`: it imports all that its
process needs once, and forks for each, so that a start takes as long as the process's own work and no longer. The
subtle thing is what the fork must not have: the host itself runs no thread and opens no connection.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Self

from knative_mig.core.errors import KnativeMigError

_log = logging.getLogger(__name__)


class ForkHost:
    """`with ForkHost("tests.crash_campaign.agents") as host: pid = host.start(order)`."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """It waits for its processes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, order: Mapping[str, object]) -> int:
        return self._ask({"start": order})

    def wait(self, pid: int) -> int:
        """Until it is gone, with all that the kernel had of it; how it ended, as `os.waitstatus_to_exitcode` has it."""
        return self._ask({"wait": pid})

    def _ask(self, question: Mapping[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def serve(be: Callable[[Any], int]) -> None:
    """`be` is called in a fork, with what the order was; it answers with the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        match json.loads(line):
            case {"start": order}:
                answer = os.fork()
                if answer == 0:
                    _be(be, order)
            case {"wait": pid}:
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(answer, flush=True)


def _be(be: Callable[[Any], int], order: object) -> None:
    os.close(0)
    try:
        code = be(order)
    except (KnativeMigError, OSError):
        _log.exception("the process ends")
        code = 1
    logging.shutdown()
    os._exit(code)
