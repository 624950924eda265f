"""Bodies of requests and answers as their bytes come, whatever frames them, and as they are sent on.

Fed by `pump`. A body is taken out of its frame and put into another piece by piece, so that what was written at
once is passed on at once, and a text of ours can follow it. What stands behind the last chunk is dropped, as Knative's
ingress drops it.
"""

import re
from typing import Final

from knative_mig.core.errors import KnativeMigError
from knative_mig.dev.gateway.http_head import Body, Chunked, Plain

END: Final = b"0\r\n\r\n"
_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_LINE: Final = 4096  # of a chunk's size, or of a trailer
_MOST_TRAILERS: Final = 100


class BrokenBody(KnativeMigError):
    """Its frame is none."""

    reason = "BrokenBody"


class BodyIn:
    """Of one message. `rest` is what came behind it."""

    __slots__ = ("_chunked", "_in_chunk", "_in_trailers", "_left", "_line", "_trailers", "is_over", "rest")

    def __init__(self, body: Body) -> None:
        self._chunked = isinstance(body, Chunked)
        self._left = body.length if isinstance(body, Plain) else 0  # of the body, or of the chunk
        self._in_chunk = False
        self._in_trailers = False
        self._trailers = 0
        self._line = b""  # the beginning of one
        self.is_over = isinstance(body, Plain) and not body.length
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """What it has of the body. BrokenBody."""
        if self.is_over:
            self.rest += data
            return b""
        if self._chunked:
            return self._from_chunks(data)
        if not self._left:
            return data  # to the connection's end
        taken, rest = data[: self._left], data[self._left :]
        self._left -= len(taken)
        self.is_over = not self._left
        self.rest = rest
        return taken

    def end(self) -> bool:
        """The connection has ended: whether that ends the body as it should be."""
        if not self.is_over and (self._chunked or self._left):
            return False
        self.is_over = True
        return True

    def _from_chunks(self, data: bytes) -> bytes:
        taken, at = [], 0
        while at < len(data) and not self.is_over:
            if self._in_chunk and self._left:
                piece = data[at : at + self._left]
                taken.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                if len(self._line) > _LONGEST_LINE:
                    raise BrokenBody("a chunk has no size")
                return b"".join(taken)
            line, at, self._line = self._line + data[at:end], end + 1, b""
            self._take(line)
        self.rest += data[at:]
        return b"".join(taken)

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\r") or len(line) > _LONGEST_LINE:
            raise BrokenBody("a chunk has no size")
        line = line[:-1]
        if self._in_chunk:
            if line:
                raise BrokenBody("a chunk is longer than its size")
            self._in_chunk = False
        elif self._in_trailers:
            self._trailers += 1
            if self._trailers > _MOST_TRAILERS:
                raise BrokenBody("too much after the last chunk")
            self.is_over = not line
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise BrokenBody("a chunk has no size")
            self._left = int(size[1], 16)
            self._in_chunk, self._in_trailers = self._left > 0, self._left == 0


class BodyThrough:
    """A body that is sent on in another frame, or in the same."""

    __slots__ = ("_in", "chunked")

    def __init__(self, body: Body, *, chunked: bool) -> None:
        self._in = BodyIn(body)
        self.chunked = chunked  # as it is sent on

    @property
    def is_over(self) -> bool:
        return self._in.is_over

    @property
    def rest(self) -> bytes:
        return self._in.rest

    def feed(self, data: bytes) -> bytes:
        """As it is sent on; its end too, where there is one to be sent. BrokenBody."""
        was_over = self._in.is_over
        piece = self._in.feed(data)
        if not self.chunked or was_over:
            return piece
        return framed(piece) + END if self._in.is_over else framed(piece)

    def end(self) -> bytes:
        """The connection has ended. BrokenBody: in the middle."""
        if self._in.is_over:
            return b""
        if not self._in.end():
            raise BrokenBody("it broke off")
        return END if self.chunked else b""


def framed(piece: bytes) -> bytes:
    """A chunk of nothing would be the end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
