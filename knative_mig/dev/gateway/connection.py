"""A client's connection: its requests one after the other, each from its head to the end of its answer.

Made by `server`, a thread each. A request that has to wait for a pod waits here, together with its client: one that
hangs up is at once waited for no more. What the client sends before its turn stays unread, so that a held request costs
little however large it is. The subtle thing is a request that is refused before its body was read: the connection ends
with it, but the client is heard out, for closing on one that still sends would take the answer from it.
"""

import errno
import logging
import select
import socket
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Final, Protocol

from knative_mig.dev.gateway import replies
from knative_mig.dev.gateway.asked import GONE, LONGEST_WAIT_S, Asked, ClientGone, Passed
from knative_mig.dev.gateway.bell import Bell
from knative_mig.dev.gateway.exchange import exchange
from knative_mig.dev.gateway.forwarding import request_bytes
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.dev.gateway.hall import Entered
from knative_mig.dev.gateway.http_head import LARGEST_HEAD, Plain, RequestHead, request_head, too_large
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.throttle import Stand
from knative_mig.dev.gateway.timeouts import Deadlines

IDLE_S: Final = 3600.0  # as Envoy has it; who is idle goes first when places are short
_TAKES_WITHIN_S: Final = 5.0  # an answer of ours
_HEARS_OUT_S: Final = 2.0
_HEARS_OUT: Final = 64 * 1024 * 1024  # bytes
_PIECE: Final = 64 * 1024

_TOO_SLOW: Final = replies.of_error(HTTPStatus.REQUEST_TIMEOUT, "the head of the request does not come to its end")

log = logging.getLogger(__name__)


class Place(Protocol):
    """Of this connection at the server's."""

    def idles(self) -> None:
        """It has no request: its place may be taken by another's."""

    def is_asked(self) -> None: ...

    def closes(self) -> bool:
        """Whether no connection is kept now."""


class Connection:
    def __init__(
        self, client: socket.socket, address: str, gateway: Gateway, place: Place, *, head_within_s: float
    ) -> None:
        client.setblocking(False)  # noqa: FBT003  the standard library's
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._address = address
        self._gateway = gateway
        self._place = place
        self._head_within_s = head_within_s
        self._unread = b""

    def serve(self) -> None:
        try:
            while self._serves_one():
                pass
        except OSError as error:
            log.debug("%s: %s", self._address, error or type(error).__name__)

    def _serves_one(self) -> bool:
        """Whether there may be another."""
        head = self._next_head()
        if head is None:
            return False
        if isinstance(head, Reply):
            self._reply(head, closes=True)
            return False
        outcome = self._outcome(head)
        if isinstance(outcome, Passed):
            self._unread = outcome.unread
            if not outcome.keeps:
                self._hear_out()
            return outcome.keeps
        closes = head.closes or not self._is_past(head) or self._place.closes()
        self._reply(outcome, closes=closes, is_bare=head.method == "HEAD")
        return not closes

    def _is_past(self, head: RequestHead) -> bool:
        """Whether the body of a request that was refused has come as a whole, with its head; it is then thrown away."""
        if not isinstance(head.body, Plain) or head.body.length > len(self._unread):
            return False
        self._unread = self._unread[head.body.length :]
        return True

    def _outcome(self, head: RequestHead) -> Passed | Reply:
        revision = self._gateway.revision_at(head.host)
        if isinstance(revision, Reply):
            return revision
        if (probed := _probed(head)) is not None:
            return probed
        if head.upgrade not in {"", "websocket"}:
            return replies.of_error(HTTPStatus.FORBIDDEN, "only websocket can be upgraded to")
        bell = Bell()
        entered = self._gateway.enter(revision, bell.ring)
        if isinstance(entered, Reply):
            return entered
        try:
            return self._with_ticket(head, entered, bell)
        finally:
            self._gateway.leave(entered.ticket)

    def _with_ticket(self, head: RequestHead, entered: Entered, bell: Bell) -> Passed | Reply:
        ticket, clock = entered.ticket, self._gateway.clock
        deadlines = Deadlines(entered.limits, clock())
        timed_out = replies.timed_out(by_activator=ticket.by_activator)
        if head.awaits_continue:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if ticket.stand is not Stand.RUNS and not self._has_turn_within(bell, deadlines, clock):
                return timed_out
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:  # there is no bell for it
                return replies.of_error(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            raise
        assert ticket.pod is not None
        sent = request_bytes(head, client=self._address, request_id=str(uuid.uuid4()), by_activator=ticket.by_activator)
        asked = Asked(
            client=self._client,
            pod=ticket.pod,
            head=head,
            sent=sent,
            unread=self._unread,
            deadlines=deadlines,
            clock=clock,
            timed_out=timed_out,
            closes=self._place.closes,
        )
        return exchange(asked, self._gateway.connections)

    def _has_turn_within(self, bell: Bell, deadlines: Deadlines, clock: Callable[[], float]) -> bool:
        poll = select.poll()
        poll.register(self._client, GONE)
        poll.register(bell, select.POLLIN)
        try:
            while (left_s := deadlines.left_s(clock())) > 0:
                ready = dict(poll.poll(ceil(min(left_s, LONGEST_WAIT_S) * 1000)))
                if self._client.fileno() in ready:
                    raise ClientGone("it hung up while it waited")
                if ready:
                    return True
            return False
        finally:
            bell.close()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _next_head(self) -> RequestHead | Reply | None:
        """None: there is none."""
        self._unread = self._unread.lstrip(b"\r\n")
        if not self._unread:
            if not self._is_ready(select.POLLIN, time.monotonic()):
                self._place.idles()
            data = self._received(time.monotonic() + IDLE_S)
            self._place.is_asked()
            if not data:
                return None
            self._unread = data.lstrip(b"\r\n")
        until = time.monotonic() + self._head_within_s
        while b"\r\n\r\n" not in self._unread:
            if len(self._unread) > LARGEST_HEAD or self._unread.startswith(b"\x16\x03"):
                break
            data = self._received(until)
            if not data:
                return None if time.monotonic() < until else _TOO_SLOW
            self._unread = (self._unread + data).lstrip(b"\r\n")
        text, _, rest = self._unread.partition(b"\r\n\r\n")
        if len(text) > LARGEST_HEAD:
            return too_large(f"the head is too large: legal are {LARGEST_HEAD} bytes")
        self._unread = rest
        return request_head(text)

    def _received(self, until: float) -> bytes:
        """Nothing: it has ended, or nothing came in time."""
        while True:
            try:
                return self._client.recv(_PIECE)
            except BlockingIOError:
                if not self._is_ready(select.POLLIN, until):
                    return b""

    def _is_ready(self, event: int, until: float) -> bool:
        poll = select.poll()
        poll.register(self._client, event)
        return bool(poll.poll(max(0, ceil((until - time.monotonic()) * 1000))))

    # -- answering -----------------------------------------------------------------------------------------------------

    def _reply(self, reply: Reply, *, closes: bool, is_bare: bool = False) -> None:
        lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        lines.append(f"Content-Length: {len(reply.body)}")
        if closes:
            lines.append("Connection: close")
        self._send("\r\n".join((*lines, "", "")).encode("latin-1") + (b"" if is_bare else reply.body))
        if closes:
            self._hear_out()

    def _send(self, data: bytes) -> None:
        until = time.monotonic() + _TAKES_WITHIN_S
        while data:
            try:
                data = data[self._client.send(data) :]
            except BlockingIOError:
                if not self._is_ready(select.POLLOUT, until):
                    raise TimeoutError("it takes no answer") from None

    def _hear_out(self) -> None:
        self._client.shutdown(socket.SHUT_WR)
        until, left = time.monotonic() + _HEARS_OUT_S, _HEARS_OUT
        while left > 0 and (data := self._received(until)):
            left -= len(data)


def _probed(head: RequestHead) -> Reply | None:
    agent, value = head.get("user-agent"), head.get("k-network-probe")
    is_kubelet = agent.startswith("kube-probe/") or bool(head.get("k-kubelet-probe"))
    return replies.probe(value, head.get("k-network-hash"), is_kubelet=is_kubelet)
