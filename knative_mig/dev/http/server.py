"""Takes HTTP/1.1 requests on loopback and sends what `answer` gives for them, many connections on one thread.

Made by the API server; runs on `dev`'s loop. A connection that waits costs an object: no thread, no timer
of its own but the one of its current wait. What is bounded: connections, bytes of a head, bytes of a body (told 413
before they are read), and the time in which a whole request has to come however slowly it drips.

The subtle things: a body is refused by its announced length, and a client that sends it all the same is heard for a
while, for one that is cut off in the middle never reads the refusal; and while a request is answered its connection is
read on, by one byte: that is the next request's first, or says that the client has gone and that nobody waits any more.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from knative_mig.dev.http.messages import Answer, Request

_log = logging.getLogger(__name__)

LARGEST_HEAD: Final = 64 * 1024
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]+) HTTP/1\.([01])")
_TLS: Final = b"\x16"  # the first byte of who would speak it: no end of a head would ever come
_HEARD: Final = 64 * 1024 * 1024  # bytes read and thrown away after a refusal
_PIECE: Final = 64 * 1024
_WAITING: Final = 1024  # connections, in the kernel
PAUSE_S: Final = 0.1  # where there are no files left

Answers = Callable[[Request], Awaitable[Answer]]
Refuses = Callable[[HTTPStatus, str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    connections: int = 2048
    largest_body: int = 3 * 1024 * 1024
    ordinary_body: int = 256 * 1024
    large_at_once: int = 16  # bodies above the ordinary, from their first byte until they are answered
    room_within_s: float = 5.0  # for one more of them
    head_within_s: float = 10.0
    body_within_s: float = 30.0
    idle_s: float = 120.0  # between two requests of one connection
    write_within_s: float = 60.0  # a client that takes nothing for so long is gone


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class HttpServer:
    """`refusal`: an error in the words of this server's clients."""

    def __init__(self, answer: Answers, refusal: Refuses, bounds: Bounds | None = None) -> None:
        self._answer = answer
        self._refusal = refusal
        self._bounds = bounds or Bounds()
        self._open: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()  # of those, who is being answered
        self._ends = False
        self._large = asyncio.Semaphore(self._bounds.large_at_once)
        self._listening: socket.socket | None = None
        self._taking: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int) -> int:
        """Gives the port; 0 takes any. OSError: it is taken."""
        return await self.listen_on(socket.create_server((host, port), backlog=_WAITING))

    async def listen_on(self, bound: socket.socket) -> int:
        """Who has connected there before is answered now."""
        bound.setblocking(False)  # noqa: FBT003  the standard library's
        bound.listen(_WAITING)
        self._listening = bound
        self._taking = asyncio.ensure_future(self._take_all(bound))
        return int(bound.getsockname()[1])

    async def close(self, drain_s: float = 0.0) -> None:
        """Takes no more; what is under way has so long to end."""
        self._ends = True
        if self._taking is not None and self._listening is not None:
            self._taking.cancel()
            await asyncio.wait({self._taking})
            self._listening.close()
        for task in self._open - self._busy:
            task.cancel()
        if self._busy and drain_s:
            await asyncio.wait(self._busy, timeout=drain_s)
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=1.0)

    async def _take_all(self, listening: socket.socket) -> None:
        """Until it is cancelled. Where no file is left asyncio's own server asks a thousand times in a row."""
        loop = asyncio.get_running_loop()
        has_files = True
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
                await self._take(connection)
            except OSError as error:
                if has_files:
                    _log.warning("No connection can be taken: %s", error.strerror or error)
                has_files = False
                await asyncio.sleep(PAUSE_S)
            else:
                has_files = True

    async def _take(self, connection: socket.socket) -> None:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=LARGEST_HEAD), self._serve)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self._bounds.connections:
            refused = self._refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            with contextlib.suppress(OSError):
                writer.write(_head(refused, keeps=False) + refused.body)
            writer.close()
            return
        self._open.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has gone, or is as good as gone
        except asyncio.CancelledError:
            pass  # the client has gone in the middle, or the server ends: nobody above would want to know
        except Exception:  # noqa: BLE001  a fault of one connection is not the others'
            _log.exception("A connection ended by a fault")
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        within = self._bounds.head_within_s
        ahead = asyncio.ensure_future(reader.read(1))
        try:
            while True:
                if not await _in_time(ahead, within) or not (first := ahead.result()):
                    return
                try:
                    request, keeps = await self._head(first, reader)
                    async with self._room_for(request):
                        request = replace(request, body=await self._body(reader, writer, request.headers))
                        # The next request's first byte, or the only word of the client's going: that ends its answer.
                        ahead = asyncio.ensure_future(reader.read(1))
                        with _ended_by(ahead), self._answering():
                            answer = await self._answer(request)
                            keeps = keeps and not answer.closes
                            await self._send(writer, answer, keeps=keeps, bare=request.method == "HEAD")
                except _Refused as refused:
                    answer = self._refusal(refused.status, refused.why)
                    writer.write(_head(answer, keeps=False) + answer.body)
                    await self._drain(writer)
                    await _hear_out(reader, writer)
                    return
                if self._ends or not keeps:
                    return
                within = self._bounds.idle_s
        finally:
            ahead.cancel()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            yield
        finally:
            self._busy.discard(task)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _head(self, first: bytes, reader: asyncio.StreamReader) -> tuple[Request, bool]:
        """A request whose body has yet to come, and whether the connection is kept after its answer."""
        if first == _TLS:
            raise _Refused(HTTPStatus.BAD_REQUEST, "this port speaks http, not https")
        try:
            async with asyncio.timeout(self._bounds.head_within_s):
                head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            why = f"headers are longer than {LARGEST_HEAD} bytes"
            raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why) from None
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the headers did not come in time") from None
        line, *lines = head[:-4].split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if not match:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the first line is no HTTP/1.1 request")
        headers: dict[str, str] = {}
        for each in lines:
            header = _HEADER.fullmatch(each)
            if not header:
                raise _Refused(HTTPStatus.BAD_REQUEST, "a header is none")
            name, value = header[1].decode().lower(), header[2].decode("latin-1")
            if name in ("content-length", "transfer-encoding", "host") and headers.get(name, value) != value:
                raise _Refused(HTTPStatus.BAD_REQUEST, f"the header {name} came twice")
            headers[name] = f"{headers[name]}, {value}" if name in headers and headers[name] != value else value
        keeps = match[3] == b"1" and headers.get("connection", "").lower() != "close"
        return Request(method=match[1].decode(), target=match[2].decode(), headers=headers), keeps

    @contextlib.asynccontextmanager
    async def _room_for(self, request: Request) -> AsyncIterator[None]:
        """Few large bodies are in memory at a time. Whoever has to wait for that long is turned away."""
        length = request.headers.get("content-length", "0")
        if (
            "transfer-encoding" not in request.headers
            and length.isdecimal()
            and int(length[:12]) <= self._bounds.ordinary_body
        ):
            yield
            return
        try:
            async with asyncio.timeout(self._bounds.room_within_s):
                await self._large.acquire()
        except TimeoutError:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many large requests at once") from None
        try:
            yield
        finally:
            self._large.release()

    async def _body(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]
    ) -> bytes:
        encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if encoding is None and length is None:
            return b""
        if encoding is not None and (length is not None or encoding.lower() != "chunked"):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the body's length is told in two ways, or in none that is known")
        if length is not None and not (length.isascii() and length.isdecimal()):
            raise _Refused(HTTPStatus.BAD_REQUEST, f"Content-Length is {length[:40]!r}")
        if length is not None and (len(length) > 12 or int(length) > self._bounds.largest_body):
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"limit is {self._bounds.largest_body}")
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(self._bounds.body_within_s):
                return await (reader.readexactly(int(length)) if length is not None else self._chunks(reader))
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from None
        except asyncio.LimitOverrunError:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"a chunk's size is longer than {LARGEST_HEAD} bytes") from None

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while True:
            size = (await reader.readuntil(b"\n")).split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
                raise _Refused(HTTPStatus.BAD_REQUEST, "a chunk has no size")
            count = int(size, 16)
            if count == 0:
                break
            if len(body) + count > self._bounds.largest_body:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"limit is {self._bounds.largest_body}")
            body += await reader.readexactly(count)
            if (await reader.readuntil(b"\n")).strip():
                raise _Refused(HTTPStatus.BAD_REQUEST, "a chunk is longer than its size")
        for _ in range(16):
            if not (await reader.readuntil(b"\n")).strip():
                return bytes(body)
        raise _Refused(HTTPStatus.BAD_REQUEST, "too much after the last chunk")

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer, *, keeps: bool, bare: bool) -> None:
        if answer.stream is None or bare:
            writer.write(_head(answer, keeps=keeps) + (b"" if bare else answer.body))
            await self._drain(writer)
            return
        try:
            writer.write(_head(answer, keeps=keeps))
            await self._drain(writer)
            async for piece in answer.stream:
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await self._drain(writer)
            writer.write(b"0\r\n\r\n")
            await self._drain(writer)
        finally:
            closing = getattr(answer.stream, "aclose", None)
            if closing is not None:
                await closing()

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._bounds.write_within_s):
            await writer.drain()


async def _in_time(coming: "asyncio.Future[bytes]", within_s: float) -> bool:
    await asyncio.wait({coming}, timeout=within_s)
    return coming.done()


@contextlib.contextmanager
def _ended_by(ahead: "asyncio.Future[bytes]") -> Iterator[None]:
    """What is within ends where the client goes before it."""
    task = asyncio.current_task()
    assert task is not None

    def ends(read: "asyncio.Future[bytes]") -> None:
        if not read.cancelled() and (read.exception() or not read.result()):
            task.cancel()

    ahead.add_done_callback(ends)
    try:
        yield
    finally:
        ahead.remove_done_callback(ends)


async def _hear_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To close on a client that still sends would take the answer from it."""
    if writer.can_write_eof():
        writer.write_eof()
    left = _HEARD
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(5.0):
            while left > 0 and (piece := await reader.read(_PIECE)):
                left -= len(piece)


def _head(answer: Answer, *, keeps: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.stream is not None:
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(answer.body)}")
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if not keeps:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
