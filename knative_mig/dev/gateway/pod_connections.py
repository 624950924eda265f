"""Connections to pods: made as Knative's activator makes them, and kept for the next request.

Called by `exchange` on the thread of the client's connection. The subtle thing is a connection that its pod has closed
meanwhile: it is seen before it is used, but for the moment in between; what is then lost may be asked again only where
Go's transport would (`exchange`).
"""

import errno
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

from knative_mig.dev.gateway.facts import Pod

_MOST_KEPT_OF_ONE: Final = 1000
_FIRST_PATIENCE_S: Final = 0.05
_PATIENCE_GROWS: Final = 1.4
_DIALS: Final = 15
UNREADABLE: Final = select.POLLIN | select.POLLRDHUP | select.POLLHUP | select.POLLERR  # of one that nobody talks on


def patiences_s() -> Iterator[float]:
    """Of one attempt to connect after the other, where nobody takes it and nobody refuses it."""
    for at in range(_DIALS):
        yield _FIRST_PATIENCE_S * _PATIENCE_GROWS**at


class PodConnections:
    def __init__(self, is_ready: Callable[[Pod], bool], *, most_kept: int) -> None:
        """`most_kept`: of all pods."""
        self._is_ready, self._most_kept = is_ready, most_kept
        self._lock = threading.Lock()
        self._kept: dict[Pod, list[socket.socket]] = {}

    def take(self, pod: Pod) -> socket.socket | None:
        """One that was used before, the newest first."""
        while True:
            with self._lock:
                kept = self._kept.get(pod)
                if not kept:
                    return None
                connection = kept.pop()
            if not _has_ended(connection):
                return connection
            connection.close()

    def keep(self, pod: Pod, connection: socket.socket) -> None:
        with self._lock:
            kept = self._kept.setdefault(pod, [])
            others = sum(len(each) for each in self._kept.values())
            if len(kept) < _MOST_KEPT_OF_ONE and others < self._most_kept and self._is_ready(pod):
                kept.append(connection)
                return
        connection.close()

    def forget(self, pod: Pod) -> None:
        """It is to get nothing more, and shall not wait for the end of what nobody uses."""
        with self._lock:
            left = self._kept.pop(pod, [])
        for each in left:
            each.close()

    def close(self) -> None:
        for pod in list(self._kept):
            self.forget(pod)


def begun(pod: Pod) -> tuple[socket.socket, bool]:
    """Whether it is already there. OSError: it is refused."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003  the standard library's
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = connection.connect_ex((pod.host, pod.port))
        if failed not in {0, errno.EINPROGRESS}:
            raise refused(failed)
    except OSError:
        connection.close()
        raise
    return connection, not failed


def refused(number: int) -> OSError:
    return OSError(number, _WORDS.get(number) or errno.errorcode.get(number, str(number)))


_WORDS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
}


def _has_ended(connection: socket.socket) -> bool:
    """Or says something that nobody asked for."""
    poll = select.poll()
    poll.register(connection, UNREADABLE)
    return bool(poll.poll(0))
