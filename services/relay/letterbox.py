"""What other threads have for the one that waits for connections: it waits for this as for one more of them.

Used by `conversation` and `arrival`, whose threads serve a generation each, for what a mover wants of it. The subtle
thing is who comes late: a letter is either taken or handed back, so that whoever sent it is answered.
"""

import os
import select
import threading
from queue import SimpleQueue
from typing import Generic, TypeVar

Letter = TypeVar("Letter")


class Letterbox(Generic[Letter]):
    awaits = select.POLLIN

    def __init__(self) -> None:
        self._letters: SimpleQueue[Letter] = SimpleQueue()
        self._lock = threading.Lock()  # of the bell, and of whether it is closed
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False

    def fileno(self) -> int:
        return self._bell

    def put(self, letter: Letter) -> bool:
        """From any thread. False: it is closed, and nobody will take this."""
        with self._lock:
            if not self._is_closed:
                self._letters.put(letter)
                os.eventfd_write(self._bell, 1)
            return not self._is_closed

    def take(self) -> list[Letter]:
        """To be called when it has something."""
        os.eventfd_read(self._bell)
        return self._rest()

    def close(self) -> list[Letter]:
        """Those that nobody has taken."""
        with self._lock:
            self._is_closed = True
            os.close(self._bell)
        return self._rest()

    def _rest(self) -> list[Letter]:
        letters = []
        while not self._letters.empty():
            letters.append(self._letters.get())
        return letters
