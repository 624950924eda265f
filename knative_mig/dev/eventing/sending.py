"""Sends an event to a URL: binary mode, one connection each, and what came of it in Knative's terms.

Called by `post` on a thread for each event that is under way. A function's host leads to the gateway, so that one at
zero is started by the event. Redirects are not followed, and https is not spoken: everything is on loopback.
"""

import http.client
import socket
import time
from typing import Final
from urllib.parse import urlsplit

from knative_mig.adapters.cloud_events import LARGEST
from knative_mig.core.errors import BadInput
from knative_mig.dev.eventing.answers import (
    TIMED_OUT,
    Answered,
    Response,
    answered,
    answered_by_subscriber,
    not_connected,
)
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.ports import Addresses, Place
from knative_mig.dev.eventing.wire import read, written

LONGEST_S: Final = 600.0  # where a Trigger says nothing: no function may take longer
_PIECE: Final = 16 * 1024

Headers = tuple[tuple[str, str], ...]


class Sender:
    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def to_subscriber(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Answered:
        sent = self._sent(url, event, (*headers, ("Prefer", "reply")), timeout_s)
        return sent if isinstance(sent, Answered) else answered_by_subscriber(url, sent, read)

    def to_dead_letters(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Answered:
        sent = self._sent(url, event, headers, timeout_s)
        return sent if isinstance(sent, Answered) else answered(url, sent)

    def _sent(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Response | Answered:
        """Answered: it did not come so far."""
        try:
            parts = urlsplit(url)
            port = parts.port or 80
        except ValueError:
            return not_connected(url, "it is no URL")
        if parts.scheme != "http" or not parts.hostname:
            return not_connected(url, f'unsupported protocol scheme "{parts.scheme}"')
        place = self._addresses.of(parts.hostname) or Place(parts.hostname, port)
        try:
            said, body = written(event)
        except BadInput as bad:
            return not_connected(url, f"it is no event: {bad}")
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        try:
            return _posted(place, target, {**said, **dict(headers), "Host": parts.netloc}, body, timeout_s or LONGEST_S)
        except TimeoutError:
            return TIMED_OUT
        except socket.gaierror:
            return not_connected(url, f"dial tcp: lookup {place.host}: no such host")
        except http.client.RemoteDisconnected:
            return not_connected(url, "EOF")
        except _CutOff as cut:
            return not_connected(url, str(cut))
        except (http.client.HTTPException, ValueError) as error:
            return not_connected(url, f"malformed HTTP response: {type(error).__name__}")
        except OSError as error:
            return not_connected(
                url, f"dial tcp {place.host}:{place.port}: connect: {(error.strerror or str(error)).lower()}"
            )


class _CutOff(Exception):
    """The connection was there, and broke: in Go's words."""


def _posted(place: Place, target: str, headers: dict[str, str], body: bytes, within_s: float) -> Response:
    until = time.monotonic() + within_s
    connection = http.client.HTTPConnection(place.host, place.port, timeout=within_s)
    try:
        connection.connect()
        host, port = connection.sock.getsockname()[:2]
        does = "write"
        try:
            connection.request("POST", target, body, headers)
            does = "read"
            return _heard(connection.getresponse(), until)
        except http.client.RemoteDisconnected:
            raise
        except ConnectionError as error:
            what = (error.strerror or type(error).__name__).lower()
            raise _CutOff(f"{does} tcp {host}:{port}->{place.host}:{place.port}: {does}: {what}") from error
    finally:
        connection.close()


def _heard(response: http.client.HTTPResponse, until: float) -> Response:
    heard = bytearray()
    while piece := response.read1(_PIECE):
        heard += piece
        if time.monotonic() > until:
            raise TimeoutError
        if len(heard) > LARGEST:
            break  # nobody takes more than that, and the part says what it is
    return Response(status=response.status, headers=tuple(response.getheaders()), body=bytes(heard))
