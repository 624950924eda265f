"""Reaches another relay's second port, and has it take a generation: the way to a link.

Called by the threads of movers, and by one of its own where a target asks a source to go on with another: never by a
thread that serves a generation, as none waits for a relay that is away.
"""

import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from services.relay.engine_call import Address
from services.relay.http_answer import AnswerBroken, HttpAnswer
from services.relay.link_messages import VERSION
from services.relay.wire import SILENT_FOR_S

PROTOCOL: Final = f"knative-mig-relay/{VERSION}"
DIALLED_BY: Final = "Knative-Mig-Relay"  # so that a relay knows itself
# From the first packet to the answer's last: a relay that stands still for a moment is no more gone than on a link.
_DIALS_WITHIN_S: Final = SILENT_FOR_S
_ASIDE_FROM_YES: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "it has another secret",
    HTTPStatus.UPGRADE_REQUIRED: f"it speaks another version than {PROTOCOL}",
    HTTPStatus.CONFLICT: "it is this relay itself",
    HTTPStatus.SERVICE_UNAVAILABLE: "it is leaving itself, or has no room",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """A link on which nothing was asked yet, and what the other end has said by then."""

    link: socket.socket
    unread: bytes = b""


def dialled(target: Address, secret: str, by: str) -> Dialled:
    """OSError: it is away, or takes nothing."""
    deadline = time.monotonic() + _DIALS_WITHIN_S
    link = socket.create_connection((target.host, target.port), timeout=_DIALS_WITHIN_S)
    try:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {target.path}/generations HTTP/1.1", f"Host: {target}", f"Authorization: Bearer {secret}",
            f"{DIALLED_BY}: {by}", "Connection: Upgrade", f"Upgrade: {PROTOCOL}", "Content-Length: 0", "", "",
        )  # fmt: skip
        link.sendall("\r\n".join(head).encode("latin-1"))
        answer = HttpAnswer()
        while answer.head is None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            link.settimeout(left)
            data = link.recv(4096)
            answer.feed(data)
            if not data:
                answer.end()
        if answer.head.status != HTTPStatus.SWITCHING_PROTOCOLS:
            raise ConnectionRefusedError(_ASIDE_FROM_YES.get(answer.head.status, f"it answers {answer.head.status}"))
    except AnswerBroken as error:
        link.close()
        raise ConnectionAbortedError(str(error)) from error
    except OSError:
        link.close()
        raise
    return Dialled(link=link, unread=answer.rest)
