"""What rings when a request's turn has come: waited for together with the client's connection.

Made by `connection` for each request; `gateway` rings from the thread that made room. Most requests never wait, and
then it costs nothing: there is something to wait for only while somebody waits.
"""

import os
import threading


class Bell:
    __slots__ = ("_lock", "_number", "_rang")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number: int | None = None
        self._rang = False

    def ring(self) -> None:
        with self._lock:
            self._rang = True
            if self._number is not None:
                os.eventfd_write(self._number, 1)

    def fileno(self) -> int:
        """Has something to be read from the ringing on, also where that was before."""
        with self._lock:
            if self._number is None:
                self._number = os.eventfd(int(self._rang), os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            return self._number

    def close(self) -> None:
        with self._lock:
            if self._number is not None:
                os.close(self._number)
                self._number = None
