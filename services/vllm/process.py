"""The engine as a child: shows what it writes, waits until it is healthy, passes signals on, and says how it ended.

`run` is called by `__main__`. Until `/health` answers, an end of the engine is a failed start, and what it wrote is
kept to find the cause in. Told to end, the launcher tells the engine and waits for it: how long requests in flight may
take is the engine's to know (`--shutdown-timeout`), and the pod's grace period the last word. vLLM has processes of its
own, which outlive it when it is killed and keep the slice busy: the whole group goes with it.
"""

import http.client
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.vllm.failures import WORDS, Ending, Failure, failure

_log = logging.getLogger(__name__)
_KEPT: Final = 5000  # lines, of a start
_LONGEST: Final = 64 * 1024  # bytes of a line at a time
_ASK_EACH_S: Final = 0.2
_ANSWERS_WITHIN_S: Final = 2.0
_ENDS_WITHIN_S: Final = 10.0  # an engine that is given up

Healthy = Callable[[], bool]


class Engine(Protocol):
    def send_signal(self, sig: int, /) -> None: ...


@dataclass(slots=True)
class Told:
    """Which signals came; set up before the engine is started, so that none is lost."""

    signals: list[int] = field(default_factory=list)
    child: Engine | None = None

    def hear(self, number: int) -> None:
        self.signals.append(number)
        if self.child is not None:
            self.child.send_signal(number)  # each time: what a second one means is the engine's to say

    def follow(self, child: Engine) -> None:
        self.child = child
        for number in self.signals:
            child.send_signal(number)


def run(
    command: Sequence[str], environment: Mapping[str, str], *, healthy: Healthy, within_s: float
) -> Failure | Ending:
    """Until the engine is gone."""
    told = Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.hear(number))
    begun = time.monotonic()
    child = subprocess.Popen(  # noqa: S603 - the container's own engine
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
    )
    told.follow(child)
    lines: deque[str] = deque(maxlen=_KEPT)
    shown = threading.Thread(target=_show, args=(child, lines), daemon=True)
    shown.start()
    try:
        ready = _wait(child, healthy, begun + within_s)
        if ready:
            _log.info("healthy after %.1f s", time.monotonic() - begun)
            lines.clear()
            child.wait()
        late = not ready and child.poll() is None
        if late:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_ENDS_WITHIN_S)
    finally:
        _end_group(child)
    shown.join(_ENDS_WITHIN_S)
    if told.signals:
        return Ending.TOLD
    if late:
        why = f"{WORDS[Ending.TOO_LATE]}: the engine did not answer /health within {within_s:.0f} s"
        return Failure(ending=Ending.TOO_LATE, line=why)
    if ready:
        return Failure(ending=Ending.FAILED, line=f"failed: the engine ended with {child.returncode} while it served")
    return failure(list(lines), child.returncode)


def health_of(port: int) -> Healthy:
    def healthy() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWERS_WITHIN_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return healthy


def _wait(child: "subprocess.Popen[bytes]", healthy: Healthy, deadline: float) -> bool:
    """True: it is healthy. False: it is gone, or it is too late."""
    while time.monotonic() < deadline:
        if healthy():
            return True
        with suppress(subprocess.TimeoutExpired):
            child.wait(_ASK_EACH_S)
            return False
    return False


def _show(child: "subprocess.Popen[bytes]", lines: deque[str]) -> None:
    """What the engine writes is the container's log, at once; it never waits for this."""
    assert child.stdout is not None
    with child.stdout as stream:
        while line := stream.readline(_LONGEST):
            lines.append(line.decode(errors="replace"))
            with suppress(OSError):
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
