"""The named threads of a process. One that fails ends the process, which its Deployment or DaemonSet starts anew.

Made by the `process` module of each process, the only places where threads are made. All are daemons: one that waits in
a driver, or for an API server that is away, must not hold up the end.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)


class Threads:
    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.failed = ""  # which thread did, and so ended the process
        self._running: dict[str, threading.Thread] = {}

    def run(self, name: str, body: Callable[[threading.Event], None]) -> None:
        def guarded() -> None:
            try:
                body(self.stop)
            except Exception:  # noqa: BLE001  whatever it is, the process ends, and says so
                if not self.stop.is_set():
                    _log.exception("Thread %s failed: the process ends, to be started anew", name)
                    self.failed = name
                    self.stop.set()

        self._running[name] = _started(guarded, name)

    def why_unhealthy(self) -> str:
        """Empty: none has failed."""
        return f"thread {self.failed} failed" if self.failed else ""

    def join(self, name: str, deadline: float) -> bool:
        """Whether that thread has ended by then (monotonic), or was never run: a start may fail before it."""
        thread = self._running.get(name)
        if thread is None:
            return True
        thread.join(max(0.0, deadline - time.monotonic()))
        return not thread.is_alive()

    def end(self, enders: Iterable[Callable[[], None]], deadline: float) -> None:
        """Calls what makes threads return, each on a thread of its own as it may wait itself, and joins them all."""
        ending = [_started(end, "end") for end in enders]
        for thread in (*ending, *self._running.values()):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        if left := self.alive():
            _log.warning("Left behind, still waiting: %s", ", ".join(left))

    def alive(self) -> list[str]:
        return [name for name, thread in self._running.items() if thread.is_alive()]


def _started(body: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread
