"""One request with one pod: connected, asked, and the connection kept for the next.

Called by `connection`, on whose thread it runs; `pump` moves the bytes. The subtle thing is what may be asked again. A
connection that was kept may end just as it is used; then, and only then, a request is sent a second time, if it has no
body and asks for nothing to be done. No other pod is ever tried. So does Go's transport, which is the activator's.
"""

import select
import socket
from math import ceil
from typing import Final

from knative_mig.dev.gateway import replies
from knative_mig.dev.gateway.asked import GONE, Asked, ClientGone, Cut, Passed, PodGone, TimeIsOver
from knative_mig.dev.gateway.framing import BrokenBody
from knative_mig.dev.gateway.pod_connections import PodConnections, begun, patiences_s, refused
from knative_mig.dev.gateway.pump import Pump
from knative_mig.dev.gateway.replies import Reply

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_MADE_REPEATABLE: Final = ("idempotency-key", "x-idempotency-key")
_BETWEEN_DIALS_S: Final = 0.03


def exchange(asked: Asked, connections: PodConnections) -> Passed | Reply:
    """A Reply: the client has got nothing yet. ClientGone; Cut."""
    pod = asked.pod
    while True:
        kept = connections.take(pod)
        try:
            connection = kept or _dialed(asked)
        except OSError as error:
            if isinstance(error, ClientGone):
                raise
            return replies.not_connected(pod, error)
        except TimeIsOver:
            return asked.timed_out
        pump = Pump(asked, connection)
        is_reusable = False
        try:
            passed = pump.run()
            is_reusable = pump.is_reusable
        except PodGone as gone:
            if pump.has_begun:
                raise Cut(str(gone)) from gone
            if kept is None or not _may_repeat(asked, pump):
                return replies.bad_gateway(str(gone))
            continue
        except TimeIsOver:
            return pump.ended_by_time()
        except BrokenBody as error:
            if pump.has_begun:
                raise Cut(str(error)) from error
            return replies.bad_request(f"the body of the request: {error}")
        finally:
            if is_reusable:
                connections.keep(pod, connection)
            else:
                connection.close()
        return passed


def _may_repeat(asked: Asked, pump: Pump) -> bool:
    head = asked.head
    if pump.has_heard or head.has_body:
        return False
    return not pump.has_sent or head.method in _REPEATABLE or any(map(head.get, _MADE_REPEATABLE))


def _dialed(asked: Asked) -> socket.socket:
    """OSError: it is refused, or nobody takes it. ClientGone, TimeIsOver."""
    for patience_s in patiences_s():
        connection, is_there = begun(asked.pod)
        try:
            if is_there or _is_there_within(asked, connection, patience_s):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
        _wait(asked, None, _BETWEEN_DIALS_S)
    raise TimeoutError


def _is_there_within(asked: Asked, connection: socket.socket, patience_s: float) -> bool:
    if not _wait(asked, connection, patience_s):
        return False
    if failed := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise refused(failed)
    return True


def _wait(asked: Asked, connection: socket.socket | None, most_s: float) -> bool:
    """Whether that one has come about."""
    poll = select.poll()
    poll.register(asked.client, GONE)
    if connection is not None:
        poll.register(connection, select.POLLOUT)
    ready = dict(poll.poll(ceil(min(most_s, asked.left_s()) * 1000)))
    if asked.client.fileno() in ready:
        raise ClientGone
    return bool(ready)
