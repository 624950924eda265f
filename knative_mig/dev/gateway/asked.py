"""A request whose turn it is, and how it can end: what `connection` hands to `exchange`, and that to `pump`."""

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.dev.gateway.facts import Pod
from knative_mig.dev.gateway.http_head import RequestHead
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.timeouts import Deadlines

GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR  # who shuts its sending side is gone, as for Envoy
LONGEST_WAIT_S: Final = 3600.0  # at once: a poll counts its milliseconds in 32 bits


class ClientGone(ConnectionError):
    pass


class Cut(ConnectionError):
    """The client has a part of an answer, and gets no more of it."""


class PodGone(Exception):
    """Or what it says is no answer: in Go's words."""


class TimeIsOver(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    client: socket.socket
    pod: Pod
    head: RequestHead
    sent: bytes  # the head, as the pod gets it
    unread: bytes  # what has come behind the head
    deadlines: Deadlines
    clock: Callable[[], float]
    timed_out: Reply
    closes: Callable[[], bool]  # the client's connection after this, whatever it wants

    def left_s(self) -> float:
        """As far as it can be waited at once. TimeIsOver."""
        left_s = self.deadlines.left_s(self.clock())
        if left_s <= 0:
            raise TimeIsOver
        return min(left_s, LONGEST_WAIT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The client has its answer."""

    keeps: bool  # its connection can be used again
    unread: bytes  # what it has already sent behind this request
