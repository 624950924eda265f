"""Continuous requests to a function, and which of them failed."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.cluster.function import Function
from tests.cluster.waits import eventually

# A client that waits a little between its requests: the machine has two cores for all.
_PAUSE_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 200.0  # a request that is held through a drain and a cold start takes most of a minute


@dataclass(slots=True)
class Load:
    function: Function
    path: str = "/"
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int) -> None:
        for _ in range(clients):
            thread = threading.Thread(target=self._ask_on, daemon=True)
            thread.start()
            self._clients.append(thread)

    def go_on(self, answers: int) -> None:
        wanted = self.answered + answers
        eventually(f"{self.function.name} answers on", lambda: self.answered, lambda seen: seen >= wanted)

    def end(self) -> None:
        self._over.set()
        for thread in self._clients:
            thread.join()

    def _ask_on(self) -> None:
        while not self._over.is_set():
            asked = time.monotonic()
            try:
                answer = self.function.ask(self.path, timeout=_PATIENCE_SECONDS)
                trouble = "" if answer.status == 200 else f"{answer.status} {answer.text[:100]}"
            except (OSError, http.client.HTTPException) as error:
                trouble = repr(error)
            took = time.monotonic() - asked
            with self._lock:
                self.answered += not trouble
                self.longest = max(self.longest, took)
                if trouble:
                    self.failed.append(f"{time.strftime('%H:%M:%S')} after {took:.3f} s: {trouble}")
            self._over.wait(_PAUSE_SECONDS)


@contextmanager
def load(function: Function, clients: int, *, path: str = "/") -> Iterator[Load]:
    running = Load(function, path)
    running.start(clients)
    try:
        yield running
    finally:
        running.end()
