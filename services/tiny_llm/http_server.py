"""The server's HTTP side: OpenAI's API, CloudEvents at `/`, health and metrics.

Composed in `process`, which makes the thread that runs `serve`; each connection is a thread of `bounded_http`, which
also decides how long a client may take and how much it may send. A client that does not read is waited for as long as
one that does not write. The subtle thing is who hangs up: a socket says so only to whoever reads from it, so it is
looked at for each token, and now and then while none comes.
"""

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from knative_mig.adapters.bounded_http import (
    READ_WITHIN_S,
    UPLOADED_WITHIN_S,
    BoundedHandler,
    BoundedServer,
    NotRead,
)
from services.openai_error import not_read, openai_error
from services.tiny_llm import event_door
from services.tiny_llm.api_error import ApiError
from services.tiny_llm.loop import Crowded, Draining, Loop, Ticket
from services.tiny_llm.metrics import Metrics
from services.tiny_llm.openai_answer import Answer
from services.tiny_llm.openai_request import Kind, Request, Server, object_of, request_of, unknown_model

_LARGEST: Final = 4 * 1024 * 1024  # bytes of a body; the longest context as JSON escapes is a hundredth
_LOOKS_AGAIN_S: Final = 0.1  # whether a client that waits is still there
_PATHS: Final = {"/v1/completions": Kind.COMPLETION, "/v1/chat/completions": Kind.CHAT}
_READ_ONLY: Final = ("/health", "/version", "/metrics", "/v1/models")
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


class ClientGone(ConnectionError):
    """Nobody is there to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the connections' threads share."""

    loop: Loop
    metrics: Metrics
    registry: CollectorRegistry
    server: Server
    version: str
    started: int  # UNIX time
    new_identity: Callable[[], str]
    unhealthy: Callable[[], str]  # why, or nothing

    def submit(self, request: Request) -> Ticket:
        """ApiError: there is no room, or no time."""
        try:
            ticket = self.loop.submit(request.asked)
        except Crowded as error:
            self.metrics.rejected()
            raise ApiError(429, f"The server is busy: {error}.", code="rate_limit_exceeded", retry_after_s=1) from error
        except Draining as error:
            raise ApiError(503, f"The server is not there for new requests: {error}.", retry_after_s=1) from error
        if not request.asked[0].only_warms:
            self.metrics.asked(n=request.n, most_tokens=request.asked[0].most_tokens)
        return ticket

    def answer(self, request: Request) -> Answer:
        return Answer(request, model=self.server.model, identity=self.new_identity(), created=int(time.time()))


class HttpServer(BoundedServer):
    def __init__(self, host: str, port: int, desk: Desk, *, at_most: int) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.desk = desk


class _Handler(BoundedHandler):
    server: HttpServer
    uploaded_within_s = UPLOADED_WITHIN_S
    allowed = "GET, HEAD, POST"
    only_allowed = "this is asked by GET or POST"

    # -- requests ------------------------------------------------------------------------------------------------------

    def do_GET(self) -> None:  # noqa: N802  http.server looks for this name
        desk, path = self.server.desk, self._path
        if path == "/health":
            why = desk.unhealthy() or ("draining" if desk.loop.is_draining else "")
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, f"{why}\n".encode(), _TEXT)
        elif path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self.answer(HTTPStatus.OK, encode(desk.registry), content_type)
        elif path == "/version":
            self._object({"version": desk.version})
        elif path == "/v1/models":
            self._object({"object": "list", "data": [self._model()]})
        elif path == f"/v1/models/{desk.server.model}":
            self._object(self._model())
        elif path.startswith("/v1/models/"):
            self._error(unknown_model(path.removeprefix("/v1/models/")))
        elif path in _PATHS or path == "/":
            self._not_allowed("POST")
        else:
            self._error(self._unknown_url())

    do_HEAD = do_GET  # noqa: N815  http.server looks for this name

    def do_POST(self) -> None:  # noqa: N802  http.server looks for this name
        read = self.read_body(_LARGEST)
        try:
            if isinstance(read, NotRead):
                self.refuse(read.status, read.reason)
            elif self._path == "/":
                self._event(read)
            elif kind := _PATHS.get(self._path):
                desk = self.server.desk
                request = request_of(kind, object_of(read), desk.server)
                if request.streamed:
                    self._stream(request)
                else:
                    self._object(self._finished(request))
            elif self._path in _READ_ONLY:
                self._not_allowed("GET, HEAD")
            else:
                raise self._unknown_url()
        except ApiError as error:
            self._error(error)

    # -- generations ---------------------------------------------------------------------------------------------------

    def _finished(self, request: Request) -> dict[str, Any]:
        desk = self.server.desk
        answer, ticket = desk.answer(request), desk.submit(request)
        try:
            while not answer.is_finished:
                answer.take(*self._next(ticket))
        finally:
            desk.loop.close(ticket)
        return answer.whole()

    def _stream(self, request: Request) -> None:
        desk = self.server.desk
        answer, ticket = desk.answer(request), desk.submit(request)
        try:
            self._begin_stream()
            for chunk in answer.opening():
                self._send(chunk)
            while not answer.is_finished:
                number, delta = self._next(ticket)
                answer.take(number, delta)
                for chunk in answer.chunks(number, delta):
                    self._send(chunk)
            for chunk in answer.closing():
                self._send(chunk)
            self._write(b"data: [DONE]\n\n")
            self._end_stream()
        except ApiError as error:
            # It is too late for a status, so the stream says it, and breaks off without its end.
            self.close_connection = True
            self._send(error.object())
        finally:
            desk.loop.close(ticket)

    def _next(self, ticket: Ticket) -> tuple[int, Any]:
        while True:
            try:
                came = ticket.deltas.get(timeout=_LOOKS_AGAIN_S)
            except Empty:
                self._check_client()
                continue
            if came is None:
                raise ApiError(500, "The server failed while it answered.")
            self._check_client()
            return came

    def _check_client(self) -> None:
        """ClientGone: it has hung up. One that only shut its sending side is taken for gone, as others do."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        # What was read ahead, as of a client that sends its next request already, is no sign of an end.
        if poll.poll(0) and not self.connection.recv(1, socket.MSG_PEEK):
            raise ClientGone("the client hung up")

    def _event(self, body: bytes) -> None:
        asked = event_door.asked_by(self.headers.items(), body, self.server.desk.server)
        headers, data = event_door.reply(asked, self._finished(asked.request))
        self._head(HTTPStatus.OK, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(data)

    # -- writing -------------------------------------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _model(self) -> dict[str, Any]:
        desk = self.server.desk
        return {
            "id": desk.server.model,
            "object": "model",
            "created": desk.started,
            "owned_by": "knative-mig",
            "max_model_len": desk.server.longest,
            "fingerprint": desk.server.fingerprint,
        }

    def _unknown_url(self) -> ApiError:
        return ApiError(404, f"Unknown request URL: {self.command} {self._path[:128]}.", code="unknown_url")

    def _object(self, value: dict[str, Any]) -> None:
        self.answer(HTTPStatus.OK, json.dumps(value).encode(), _JSON)

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """In the words of the API."""
        self.answer_last(status, json.dumps(not_read(status, reason)).encode(), _JSON)

    def _not_allowed(self, allowed: str) -> None:
        message = f"Not allowed to {self.command} on {self._path}."
        error = openai_error(HTTPStatus.METHOD_NOT_ALLOWED, message, code="method_not_supported")
        headers = {"Allow": allowed}
        self.answer_last(HTTPStatus.METHOD_NOT_ALLOWED, json.dumps(error).encode(), _JSON, headers)

    def _error(self, error: ApiError) -> None:
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
        self.answer_last(HTTPStatus(error.status), json.dumps(error.object()).encode(), _JSON, headers)

    def _begin_stream(self) -> None:
        chunked = self.request_version == "HTTP/1.1"
        self._chunked = chunked
        self.close_connection = self.close_connection or not chunked
        self._head(
            HTTPStatus.OK,
            {
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                **({"Transfer-Encoding": "chunked"} if chunked else {}),
            },
        )

    def _send(self, value: dict[str, Any]) -> None:
        self._write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _end_stream(self) -> None:
        if self._chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.connection.settimeout(READ_WITHIN_S)
        self.close_connection = self.close_connection or self.server.is_crowded
        # Else what could not be parsed, and who says that it speaks HTTP/0.9, is answered without a head.
        self.request_version = self.protocol_version
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
