"""What the client sends goes to the pod as it comes, and the answer back to the client: the bytes of one request.

Made by `exchange` for one connection to a pod. Neither side is waited for alone: whoever hangs up ends it at once, one
that does not read holds nothing up but itself, and time runs out whatever they do.

The subtle thing is when an answer has begun. A stream has with its head: a pod that goes away then leaves the client
with a part, and where the time is over the stream is ended with a text that says so. An answer that says how long it is
begins when a buffer is full of it or all has come, as in Knative's proxies: until then it can still become an error.
"""

import select
import socket
from math import ceil
from typing import Final

from knative_mig.dev.gateway.asked import GONE, Asked, ClientGone, Cut, Passed, PodGone
from knative_mig.dev.gateway.forwarding import answer_bytes, switched_bytes
from knative_mig.dev.gateway.framing import END, BodyThrough, BrokenBody, framed
from knative_mig.dev.gateway.http_head import (
    LARGEST_HEAD,
    AnswerHead,
    NoAnswer,
    Plain,
    ToTheEnd,
    answer_head,
    get,
)
from knative_mig.dev.gateway.replies import Reply

_PIECE: Final = 64 * 1024
_GATHERED: Final = 4096  # bytes, as Go's net/http gathers them
_SWITCHING: Final = 101
_STREAM: Final = "text/event-stream"
_BROKEN: Final = "net/http: HTTP/1.x transport connection broken: "


class Pump:
    def __init__(self, asked: Asked, pod: socket.socket) -> None:
        self.has_sent = False  # something to the pod
        self.has_heard = False  # something from it
        self._asked = asked
        self._client, self._pod = asked.client, pod
        self._body = BodyThrough(asked.head.body, chunked=not isinstance(asked.head.body, Plain))
        self._to_pod = asked.sent
        self._is_deaf = False  # the pod takes nothing more, and may have said why
        self._unread = b""  # of the pod: the beginning of a head
        self._head: AnswerHead | None = None
        self._answer = _NONE_YET
        self._keeps = False
        self._gathers = False
        self._gathered = b""
        self._to_client = b""
        self._is_tunnel = False
        self._poll = select.poll()
        self._masks = {self._client.fileno(): 0, pod.fileno(): 0}

    @property
    def has_begun(self) -> bool:
        """The client may have got something."""
        return self._head is not None and not self._gathered

    @property
    def is_reusable(self) -> bool:
        """Both sides of it are at the end of a message."""
        head = self._head
        if head is None or head.closes or self._is_tunnel or self._is_deaf or self._to_pod:
            return False
        return self._body.is_over and self._answer.is_over and not self._answer.rest

    def run(self) -> Passed:
        """ClientGone, PodGone, TimeIsOver; BrokenBody: what the client sends."""
        self._to_pod += self._body.feed(self._asked.unread)
        self._flush_pod()
        client = self._client.fileno()
        while self._head is None or not self._answer.is_over or self._to_client:
            self._await()
            for number, events in self._poll.poll(ceil(self._asked.left_s() * 1000)):
                if number == client:
                    self._from_client(events)
                else:
                    self._from_pod(events)
        return self._passed()

    def ended_by_time(self) -> Passed | Reply:
        """Cut."""
        if not self.has_begun:
            return self._asked.timed_out
        if self._answer.chunked and not self._to_client:
            self._to_client = framed(self._asked.timed_out.body) + END
            self._flush_client()
            if not self._to_client:
                return self._passed()
        raise Cut("its time is over")

    def _passed(self) -> Passed:
        return Passed(keeps=self._keeps and self._body.is_over, unread=self._body.rest)

    def _await(self) -> None:
        """Who is behind is not given more, so that what is read for it is bounded."""
        reads = not self._to_pod and not self._is_deaf and (self._is_tunnel or not self._body.is_over)
        client = GONE | (select.POLLIN if reads else 0) | (select.POLLOUT if self._to_client else 0)
        pod = (0 if self._to_client else select.POLLIN) | (select.POLLOUT if self._to_pod else 0)
        self._await_on(self._client.fileno(), client)
        self._await_on(self._pod.fileno(), pod)

    def _await_on(self, number: int, mask: int) -> None:
        before, self._masks[number] = self._masks[number], mask
        if mask == before:
            return
        if mask:
            self._poll.register(number, mask)
        else:
            self._poll.unregister(number)  # else its end would be told again and again

    # -- from the client to the pod ------------------------------------------------------------------------------------

    def _from_client(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush_client()
        if events & select.POLLIN:
            try:
                data = _received(self._client)
            except OSError as error:
                raise ClientGone from error
            if data:
                self._to_pod += data if self._is_tunnel else self._body.feed(data)
                self._flush_pod()
        elif events & GONE:
            raise ClientGone

    def _flush_pod(self) -> None:
        try:
            while self._to_pod and not self._is_deaf:
                sent = self._pod.send(self._to_pod)
                self.has_sent = True
                self._to_pod = self._to_pod[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._is_deaf = True
        if self._is_deaf:
            self._to_pod = b""

    # -- from the pod to the client ------------------------------------------------------------------------------------

    def _from_pod(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush_pod()
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            try:
                data = _received(self._pod)
            except OSError as error:
                self._pod_ended(self._worded(error))
            else:
                if data:
                    self.has_heard = True
                    self._take(data)
            finally:
                self._flush_client()  # also where the pod has just broken off: what was whole is the client's

    def _worded(self, error: OSError) -> str:
        if isinstance(error, _Ended):
            return "EOF"
        host, port = self._pod.getsockname()
        return f"read tcp {host}:{port}->{self._asked.pod}: read: {(error.strerror or type(error).__name__).lower()}"

    def _pod_ended(self, how: str) -> None:
        if self._head is None:
            raise PodGone(how)
        try:
            self._pass_on(self._answer.end())
        except BrokenBody as error:
            raise PodGone(how) from error

    def _take(self, data: bytes) -> None:
        if self._head is None:
            data = self._take_head(self._unread + data)
        if self._head is not None:
            try:
                self._pass_on(self._answer.feed(data))
            except BrokenBody as error:
                raise PodGone(f"{_BROKEN}{error}") from error

    def _pass_on(self, data: bytes) -> None:
        if self._gathers:
            self._gathered += data
            if len(self._gathered) < _GATHERED and not self._answer.is_over:
                return
            data, self._gathered = self._gathered, b""
        self._to_client += data
        if self._to_client and not self._is_tunnel:
            self._asked.deadlines.wrote(self._asked.clock())

    def _take_head(self, data: bytes) -> bytes:
        """What is behind it. Informational ones are for the ingress, which drops them."""
        while self._head is None:
            text, found, rest = data.partition(b"\r\n\r\n")
            if len(text) > LARGEST_HEAD:
                raise PodGone(f"{_BROKEN}its head is too large")
            if not found:
                self._unread = data
                return b""
            try:
                head = answer_head(text, is_bare=self._asked.head.method == "HEAD")
            except NoAnswer as error:
                raise PodGone(f"{_BROKEN}{error}") from error
            data = rest
            if head.status == _SWITCHING:
                self._switch(head)
            elif head.status < 200:
                self._asked.deadlines.wrote(self._asked.clock())
            else:
                self._begin(head)
        return data

    def _begin(self, head: AnswerHead) -> None:
        """What is still to be sent of the request is sent meanwhile; but there will be no other on this connection."""
        has_no_body = self._asked.head.method == "HEAD" or head.status in {204, 304}
        self._head = head
        self._answer = BodyThrough(head.body, chunked=not isinstance(head.body, Plain))
        self._keeps = self._body.is_over and not self._asked.head.closes and not self._asked.closes()
        self._gathers = isinstance(head.body, Plain) and not get(head.fields, "content-type").startswith(_STREAM)
        sent = answer_bytes(head, closes=not self._keeps, has_no_body=has_no_body)
        if self._gathers:
            self._gathered = sent
        else:
            self._to_client = sent

    def _switch(self, head: AnswerHead) -> None:
        wanted, got = self._asked.head.upgrade, get(head.fields, "upgrade").lower()
        if got != wanted or not wanted:
            raise PodGone(f'backend tried to switch protocol "{got}" when "{wanted}" was requested')
        self._head, self._is_tunnel = head, True
        self._answer = BodyThrough(ToTheEnd(), chunked=False)
        self._to_client = switched_bytes(head)
        self._to_pod += self._body.rest
        self._flush_pod()

    def _flush_client(self) -> None:
        try:
            while self._to_client:
                sent = self._client.send(self._to_client)
                self._to_client = self._to_client[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ClientGone from error


_NONE_YET: Final = BodyThrough(Plain(0), chunked=False)


class _Ended(ConnectionError):
    pass


def _received(whom: socket.socket) -> bytes:
    """Nothing: there is nothing yet. OSError: nothing more will come."""
    try:
        data = whom.recv(_PIECE)
    except BlockingIOError:
        return b""
    if not data:
        raise _Ended
    return data
