"""An HTTP/1.1 answer as its bytes come: the head once, then the body's, whatever frames them.

Fed by the thread that waits for several sockets at once, which an ordinary client would make it wait for one by one.
Only what a server sends to a plain GET or POST is understood; anything else breaks the answer.
"""

import re
from dataclasses import dataclass
from typing import Final

from knative_mig.core.errors import KnativeMigError

_MOST_HEAD: Final = 64 * 1024
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?")


class AnswerBroken(KnativeMigError):
    reason = "AnswerBroken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    status: int
    headers: tuple[tuple[str, str], ...]  # names as they came

    def get(self, name: str) -> str:
        return next((value for each, value in self.headers if each.lower() == name), "")


class HttpAnswer:
    def __init__(self) -> None:
        self.head: Head | None = None
        self.is_over = False
        self.rest = b""  # what came behind a head that changes the protocol
        self._unread = b""
        self._left: int | None = None  # of the body or the chunk; None: to the connection's end
        self._chunked = False
        self._in_chunk = False

    def feed(self, data: bytes) -> bytes:
        """What came of the body; `head` is set with the first. AnswerBroken."""
        self._unread += data
        if self.head is None and not self._read_head():
            return b""
        return self._chunks() if self._chunked else self._plain()

    def end(self) -> None:
        """The connection has ended. AnswerBroken: in the middle."""
        if not self.is_over and (self.head is None or self._chunked or self._left):
            raise AnswerBroken("the connection ended in the middle of an answer")
        self.is_over = True

    def _read_head(self) -> bool:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            if len(self._unread) > _MOST_HEAD:
                raise AnswerBroken("the answer's head does not end")
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not re.fullmatch(r"[1-5]\d\d", parts[1]):
            raise AnswerBroken("what came is no HTTP/1.1 answer")
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        status, self._unread = int(parts[1]), rest
        if status == 100:
            return self._read_head()
        self.head = Head(status=status, headers=headers)
        self._chunked = self.head.get("transfer-encoding").lower() == "chunked"
        if status == 101:
            self.rest, self._unread, self.is_over = rest, b"", True
        elif status in {204, 304}:
            self._left = 0
        elif not self._chunked and (length := self.head.get("content-length")):
            if not re.fullmatch(r"[0-9]{1,15}", length):
                raise AnswerBroken("the answer's length is none")
            self._left = int(length)
        self.is_over = self.is_over or self._left == 0
        return True

    def _plain(self) -> bytes:
        if self._left is None:
            out, self._unread = self._unread, b""
            return out
        out, self._unread = self._unread[: self._left], self._unread[self._left :]
        self._left -= len(out)
        self.is_over = self.is_over or self._left == 0
        return out

    def _chunks(self) -> bytes:
        out = []
        while not self.is_over:
            if self._in_chunk:
                assert self._left is not None
                if len(self._unread) < self._left + 2:
                    piece, self._unread = self._unread[: self._left], self._unread[self._left :]
                    self._left -= len(piece)
                    out.append(piece)
                    break
                if self._unread[self._left : self._left + 2] != b"\r\n":
                    raise AnswerBroken("a chunk is longer than its size")
                out.append(self._unread[: self._left])
                self._unread, self._in_chunk = self._unread[self._left + 2 :], False
            line, found, rest = self._unread.partition(b"\r\n")
            if not found:
                if len(self._unread) > _MOST_HEAD:
                    raise AnswerBroken("a chunk has no size")
                break
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise AnswerBroken("a chunk has no size")
            self._unread, self._left = rest, int(size[1], 16)
            self._in_chunk, self.is_over = self._left > 0, self._left == 0
        return b"".join(out)
