"""The client's connection while a generation streams into it: written as its chunks come, and looked at for its end.

Made by `user_port` for `conversation`. A client that shuts its sending side is taken for gone, as servers of models do.
"""

import json
import select
import socket
from collections.abc import Sequence
from typing import Final

from services.openai_error import openai_error
from services.relay.stream_events import DONE, event_of
from services.relay.wire import Wire

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\n"
)


class ClientEnd:
    def __init__(self, connection: socket.socket, *, chunked: bool, keeps: bool) -> None:
        self.wire = Wire(connection)
        self.has_begun = False
        self.is_quiet = True  # nothing has come from it: else its end cannot be seen behind that
        self._chunked = chunked
        self._keeps = keeps and chunked

    def fileno(self) -> int:
        return self.wire.fileno()

    @property
    def awaits(self) -> int:
        return (select.POLLIN if self.is_quiet else 0) | (select.POLLOUT if self.wire.is_behind else 0)

    def is_gone(self) -> bool:
        """To be asked when it has something. OSError: it is."""
        try:
            came = self.wire.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        self.is_quiet = not came
        return not came

    def begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
            self.wire.send(_HEAD + framing + (b"" if self._keeps else b"Connection: close\r\n") + b"\r\n")

    def send(self, chunks: Sequence[str]) -> None:
        """OSError: it is gone."""
        self.begin()
        self._write(b"".join(map(event_of, chunks)))

    def finish(self) -> None:
        """OSError: it is gone."""
        self.begin()
        self._write(DONE)
        if self._chunked:
            self.wire.send(b"0\r\n\r\n")
        self.wire.flush_all()

    def break_off(self, why: str) -> None:
        """It is too late for a status, so the stream says it, and has no end. OSError: it is gone."""
        self._write(event_of(json.dumps(openai_error(500, f"The answer broke off: {why}."))))
        self.wire.flush_all()

    def _write(self, data: bytes) -> None:
        self.wire.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
