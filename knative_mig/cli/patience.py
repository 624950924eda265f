"""Says that an API server has not answered yet, and who it is where that is a `dev` of this user.

`cluster` makes a Patience for a verb, and the client calls it around each of its calls; who watches decides by a
Silence when to say it. The subtle thing is a `dev` that Ctrl-Z has stopped: the kernel goes on to take connections for
it, so that all is silent.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from knative_mig.dev import whereabouts
from knative_mig.ports.kube import ApiUnreachable

TELLS_AFTER_S: Final = 2.0
ANSWERS_WITHIN_S: Final = 10.0  # somebody sits before it
AGAIN_AFTER_S: Final = 10.0


class Patience:
    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell`: a line, once."""
        self._tell = tell
        self._lock = threading.Lock()
        self._told = False

    @contextmanager
    def around(self, server: str) -> Iterator[None]:
        """A call of that one. ApiUnreachable, with what is known of it."""
        timer = threading.Timer(TELLS_AFTER_S, self._waits, (server,))
        timer.daemon = True
        timer.start()
        try:
            yield
        except ApiUnreachable as error:
            if who := _who(server):
                raise ApiUnreachable(f"{error} {who}") from error
            raise
        finally:
            timer.cancel()

    def _waits(self, server: str) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._tell(no_answer_yet(server))


class Silence:
    """Of what is watched. It is told of again and again, for it is never given up: a watch that ends while its server
    is started anew would have to be begun by hand, and one that says nothing looks like a cluster where all is quiet.
    """

    def __init__(self) -> None:
        self._told_s: float | None = None

    @property
    def was_told(self) -> bool:
        """Of this silence."""
        return self._told_s is not None

    def is_news(self, silent_s: float) -> bool:
        if silent_s < TELLS_AFTER_S:
            self._told_s = None
            return False
        if self._told_s is not None and silent_s < self._told_s + AGAIN_AFTER_S:
            return False
        self._told_s = silent_s
        return True


def no_answer_yet(server: str) -> str:
    return " ".join(filter(None, (f"the API server at {server} does not answer yet", _who(server))))


def _who(server: str) -> str:
    """Empty: nothing is known, or nothing that explains it."""
    process = whereabouts.process_beside(server)
    if process is None or not process.is_stopped:
        return ""
    return f"(knative-mig dev, process {process.pid}, is stopped: kill -CONT {process.pid} lets it go on)"
