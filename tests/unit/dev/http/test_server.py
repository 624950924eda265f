"""The HTTP side with clients that do as they please. Sockets are real; what answers is a function."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Self

import pytest

from knative_mig.dev.http import server as server_module
from knative_mig.dev.http.messages import Answer, Request
from knative_mig.dev.http.server import LARGEST_HEAD, Bounds, HttpServer

Told = Callable[["_Server"], Awaitable[None]]


class _Server:
    """Answers with what it was asked, unless a test has said otherwise."""

    def __init__(self, bounds: Bounds) -> None:
        self.asked: list[Request] = []
        self.answers: Callable[[Request], Awaitable[Answer]] | None = None
        self._http = HttpServer(self._answer, _refused, bounds)
        self.port = 0

    async def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.answers is not None:
            return await self.answers(request)
        return Answer(status=200, content_type="text/plain", body=request.body or b"ok")

    async def __aenter__(self) -> Self:
        self.port = await self._http.listen("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def close(self, drain_s: float) -> None:
        await self._http.close(drain_s)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def said(self, sent: bytes) -> bytes:
        """All that comes until the server closes."""
        async with self.client() as (reader, writer):
            writer.write(sent)
            return await reader.read()


def _refused(status: HTTPStatus, why: str) -> Answer:
    return Answer(status=int(status), content_type="text/plain", body=why.encode())


def _story(told: Told, **bounds: float) -> None:
    async def run() -> None:
        async with _Server(Bounds(**{"largest_body": 1000, **bounds})) as server:  # type: ignore[arg-type]
            await told(server)

    asyncio.run(run())


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-Length"))
    return int(head.split()[1]), await reader.readexactly(length)


def test_requests_follow_each_other_on_one_connection() -> None:
    async def told(server: _Server) -> None:
        async with server.client() as (reader, writer):
            for body in (b"one", b"two"):
                writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n" + body)
                assert await _response(reader) == (200, body)
            writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")  # both at once
            assert [await _response(reader), await _response(reader)] == [(200, b"ok")] * 2
        assert [each.target for each in server.asked] == ["/x", "/x", "/a", "/b"]

    _story(told)


def test_a_body_in_chunks_is_put_together() -> None:
    async def told(server: _Server) -> None:
        async with server.client() as (reader, writer):
            writer.write(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n")
            assert await _response(reader) == (200, b"abc")

    _story(told)


def test_who_asks_whether_to_go_on_is_told() -> None:
    async def told(server: _Server) -> None:
        async with server.client() as (reader, writer):
            writer.write(b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ab")
            assert await _response(reader) == (200, b"ab")

    _story(told)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),  # as https begins
        (b"GET /x HTTP/2.0\r\n\r\n", 400),
        (b"get /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2 * LARGEST_HEAD, 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n", 413),
        (b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * (LARGEST_HEAD // 6 + 1), 431),
        (b"GET /" + b"x" * LARGEST_HEAD, 431),
    ],
)
def test_what_is_no_request_or_too_large_a_one_is_told(sent: bytes, status: int) -> None:
    async def told(server: _Server) -> None:
        said = await server.said(sent)
        assert said.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Connection: close" in said
        assert server.asked == []

    _story(told)


@pytest.mark.parametrize("size", [4_000_000, 30_000_000])
def test_an_enormous_body_is_refused_to_whoever_sends_it_all_the_same(size: int) -> None:
    async def told(server: _Server) -> None:
        async with server.client() as (reader, writer):
            writer.write(b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            await writer.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")

    _story(told)


def test_few_large_bodies_are_in_memory_at_a_time() -> None:
    async def told(server: _Server) -> None:
        large = b"POST /x HTTP/1.1\r\nContent-Length: 900\r\n\r\n"
        async with server.client() as (reader, writer):
            writer.write(large + b"x" * 899)
            async with server.client() as (other, second):
                second.write(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
                assert await _response(other) == (200, b"ab")  # an ordinary one does not wait
                second.write(large)
                assert (await other.read()).startswith(b"HTTP/1.1 503 ")
            writer.write(b"x")
            assert (await _response(reader))[0] == 200
            writer.write(large + b"x" * 900)
            assert (await _response(reader))[0] == 200

    _story(told, ordinary_body=500, large_at_once=1, room_within_s=0.05)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET /x HT", b"HTTP/1.1 408 "),
        (b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_who_drips_has_so_long(sent: bytes, answered: bytes) -> None:
    async def told(server: _Server) -> None:
        said = await server.said(sent)
        assert said.startswith(answered)

    _story(told, head_within_s=0.05, body_within_s=0.05)


def test_a_connection_that_is_not_used_is_closed() -> None:
    async def told(server: _Server) -> None:
        said = await server.said(b"GET /x HTTP/1.1\r\n\r\n")
        assert said.count(b"HTTP/1.1") == 1

    _story(told, idle_s=0.05)


def test_who_comes_when_all_places_are_taken_is_told() -> None:
    async def told(server: _Server) -> None:
        async with server.client() as (reader, writer):
            writer.write(b"GET /x HTTP/1.1\r\n\r\n")
            await _response(reader)
            assert (await server.said(b"")).startswith(b"HTTP/1.1 503 ")

    _story(told, connections=1)


def test_a_stream_is_sent_piece_by_piece_and_the_connection_goes_on() -> None:
    async def told(server: _Server) -> None:
        more = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await more.wait()
            yield b""
            yield b"two"

        async def answers(request: Request) -> Answer:
            return Answer(status=200, stream=pieces()) if request.target == "/s" else Answer(status=200, body=b"x")

        server.answers = answers
        async with server.client() as (reader, writer):
            writer.write(b"GET /s HTTP/1.1\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
            more.set()
            assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
            writer.write(b"GET /x HTTP/1.1\r\n\r\n")
            assert await _response(reader) == (200, b"x")

    _story(told)


def test_whoever_goes_ends_what_he_waited_for() -> None:
    async def told(server: _Server) -> None:
        ended: asyncio.Queue[str] = asyncio.Queue()
        begun = asyncio.Event()

        async def waits(name: str) -> AsyncIterator[bytes]:
            try:
                yield b"x"
                await asyncio.Event().wait()
            finally:
                ended.put_nowait(name)

        async def answers(request: Request) -> Answer:
            if request.target == "/stream":
                return Answer(status=200, stream=waits("stream"))
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.put_nowait("held")
            raise AssertionError

        server.answers = answers
        for name in ("stream", "held"):
            async with server.client() as (reader, writer):
                writer.write(f"GET /{name} HTTP/1.1\r\n\r\n".encode())
                if name == "stream":
                    await reader.readuntil(b"x\r\n")
                else:
                    await begun.wait()
            assert await asyncio.wait_for(ended.get(), 30) == name

    _story(told)


def test_head_is_answered_without_a_body() -> None:
    async def told(server: _Server) -> None:
        said = await server.said(b"HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 2" in said
        assert said.endswith(b"\r\n\r\n")

    _story(told)


def test_a_fault_ends_its_own_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def told(server: _Server) -> None:
        async def answers(request: Request) -> Answer:
            if request.target == "/fault":
                raise ValueError("a fault")
            return Answer(status=200, body=b"x")

        server.answers = answers
        assert await server.said(b"GET /fault HTTP/1.1\r\n\r\n") == b""
        async with server.client() as (reader, writer):
            writer.write(b"GET /x HTTP/1.1\r\n\r\n")
            assert await _response(reader) == (200, b"x")

    _story(told)
    assert "a fault" in caplog.text


def test_at_the_end_what_is_under_way_has_a_while() -> None:
    async def told(server: _Server) -> None:
        begun, may = asyncio.Event(), asyncio.Event()

        async def answers(_: Request) -> Answer:
            begun.set()
            await may.wait()
            return Answer(status=200, body=b"done", closes=True)

        server.answers = answers
        async with server.client() as (reader, writer):
            writer.write(b"GET /x HTTP/1.1\r\n\r\n")
            await begun.wait()
            closing = asyncio.ensure_future(server.close(30))
            may.set()
            assert await _response(reader) == (200, b"done")
            await closing

    _story(told)


def test_where_no_file_is_left_it_asks_for_a_connection_once_and_later_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PAUSE_S", 0.01)
    accept, failed, lacks = socket.socket.accept, [0], [True]

    def accepted(listening: socket.socket) -> tuple[socket.socket, object]:
        if not lacks:
            return accept(listening)
        failed[0] += 1
        asyncio.get_running_loop().call_soon(lacks.clear)  # at the next turn
        raise OSError(errno.EMFILE, "Too many open files")

    async def told(server: _Server) -> None:
        monkeypatch.setattr(socket.socket, "accept", accepted)
        assert b"200 OK" in await server.said(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")

    _story(told)
    assert failed == [1]
