"""What is no generation that may move: the engine, or another replica, is asked it, and its answer is handed back.

Called by `user_port` on the thread of the client's connection. Nothing is looked into; only who hangs up is noticed, by
either side, so that the engine works for nobody. The subtle thing is an answer that comes before the request is sent:
who refuses a body does not read it, and may hang up on it, so that what it said is read whatever becomes of the rest.
"""

import select
import socket
from dataclasses import dataclass
from enum import Enum
from typing import Final

from knative_mig.adapters.bounded_http import READ_WITHIN_S, BoundedHandler
from services.relay.engine_call import Address
from services.relay.http_answer import AnswerBroken, Head, HttpAnswer
from services.relay.wire import Wire

LEAVING: Final = "Knative-Mig-Leaving"  # who it is, set on what a relay that leaves answers to another's request
_LOOKS_AGAIN_S: Final = 0.5  # whether it takes what it is sent
# Of one connection, or told anew for this one.
_NOT_PASSED: Final = frozenset({
    "connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "upgrade", "trailer",
})  # fmt: skip


class Passed(Enum):
    """Where it is not answered the client has got nothing yet."""

    ANSWERED = "answered"
    TO_NOBODY = "to nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBack:
    """Neither: it came to a relay that leaves, and that has not asked its engine."""

    by: str


def pass_on(handler: BoundedHandler, address: Address, request: bytes) -> Passed | SentBack:
    """OSError: the client is gone."""
    try:
        connection = address.connect()
    except OSError:
        return Passed.TO_NOBODY
    with connection:
        server, answer = Wire(connection), HttpAnswer()
        try:
            _send(server, answer, request)
            body = _until_head(handler.connection, server, answer)
        except _ServerGone:
            return Passed.TO_NOBODY
        if answer.head is not None and (by := answer.head.get(LEAVING.lower())):
            return SentBack(by=by)
        hand_back(handler, server, answer, body)
        return Passed.ANSWERED


def hand_back(handler: BoundedHandler, server: Wire, answer: HttpAnswer, body: bytes) -> None:
    """An answer of which the head has come, and this much of its body. OSError: the client is gone."""
    head = answer.head
    assert head is not None
    handler.connection.settimeout(READ_WITHIN_S)
    length = head.get("content-length")
    bare = handler.command == "HEAD" or head.status in {204, 304}
    chunked = not length and not bare and handler.request_version == "HTTP/1.1"
    handler.close_connection = handler.close_connection or handler.server.is_crowded or not (length or bare or chunked)
    _send_head(handler, head, length, chunked=chunked)
    while not bare:
        if body:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
        if answer.is_over:
            break
        try:
            body = _next(handler.connection, server, answer)
        except _ServerGone:
            handler.close_connection = True  # in the middle: the client's ends as well, without its end
            return
    if chunked:
        handler.wfile.write(b"0\r\n\r\n")


def _send_head(handler: BoundedHandler, head: Head, length: str, *, chunked: bool) -> None:
    handler.request_version = handler.protocol_version  # else HTTP/0.9 is answered without a head
    handler.send_response_only(head.status)
    for name, value in head.headers:
        if name.lower() not in _NOT_PASSED:
            handler.send_header(name, value)
    if length:
        handler.send_header("Content-Length", length)
    if chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    if handler.close_connection:
        handler.send_header("Connection", "close")
    handler.end_headers()


class _ServerGone(Exception):
    """Or what it says is no answer."""


def _send(server: Wire, answer: HttpAnswer, data: bytes = b"") -> None:
    """Of this, or of what is left, as much as it takes. _ServerGone: it takes nothing, and says nothing."""
    try:
        server.send(data)
    except OSError as error:
        if isinstance(error, TimeoutError) and answer.head is None:
            raise _ServerGone from error
        server.forget_rest()


def _until_head(client: socket.socket, server: Wire, answer: HttpAnswer) -> bytes:
    body = b""
    while answer.head is None:
        body = _next(client, server, answer)
    return body


def _next(client: socket.socket, server: Wire, answer: HttpAnswer) -> bytes:
    """More of the body. OSError: the client is gone."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    while True:
        poll.register(server, server.awaits)
        ready = {number for number, _ in poll.poll(_LOOKS_AGAIN_S * 1000 if server.is_behind else None)}
        if server.fileno() in ready and (body := _received(server, answer)) is not None:
            return body
        if server.is_behind:
            _send(server, answer)
        if client.fileno() in ready:
            if not client.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client hung up")
            poll.unregister(client)  # it sends its next request already, and its end cannot be seen behind that


def _received(server: Wire, answer: HttpAnswer) -> bytes | None:
    """None: nothing has come, it only takes more."""
    try:
        data = server.receive()
        body = answer.feed(data)
        if not data:
            answer.end()
    except BlockingIOError:
        return None
    except (OSError, AnswerBroken) as error:
        raise _ServerGone from error
    return body
