"""Sends CloudEvents to one sink over HTTP, as Knative tells its sources to: K_SINK, K_CE_OVERRIDES, K_CA_CERTS.

Made in a process, called by its senders' threads. An event is sent in binary mode and answered within `within_s`; what
the answer means for it is Knative's own table: 2xx is taken, 404 (the Broker is being made), 408, 409, 429, every 5xx
and no answer at all are worth another try, and all else is refused for good. Redirects are not followed.

The subtle thing is what is never printed: a sink's URL may hold a password, a path or a query that is one, and a Broker
may ask for a token; so a sink is shown by scheme, host and port alone, and errors are told in words of our own.
"""

import base64
import json
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as TookTooLong

from knative_mig.adapters.cloud_events import encode
from knative_mig.core.errors import BadInput
from knative_mig.core.events import Delivered, Delivery, Event

WITHIN_S: Final = 5.0  # a sink accepts at once and works later
TOKEN_FILE: Final = "/oidc/token"  # noqa: S105 - where a SinkBinding mounts it, when the sink asks for one
_AGAIN: Final = frozenset({404, 408, 409, 429})
_LONGEST_WAIT_S: Final = 60.0  # whatever a sink says
# What an event says, and what nobody may therefore override.
_OURS: Final = frozenset(
    {"id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema"}
    | {"migprofile", "revisionuid", "count", "gpu", "start", "node", "pendingid"}
)
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[\s!-~]*?-----END CERTIFICATE-----")
_READ: Final = 4096  # bytes of an answer that are read, so that its connection is good for the next event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where events go, and what goes with them."""

    url: str = field(repr=False)
    shown: str
    authorization: str = field(default="", repr=False)
    extensions: Mapping[str, str] = field(default_factory=dict)
    ca_certs: str = field(default="", repr=False)
    token_file: Path = Path(TOKEN_FILE)

    @classmethod
    def parse(cls, url: str, *, overrides: str = "", ca_certs: str = "", token_file: str = TOKEN_FILE) -> Self:
        """BadInput says which of them is wrong, and quotes none of a URL."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise BadInput("the sink is no URL: legal is one like http://planner.knative-mig.svc") from None
        if parts.scheme not in ("http", "https") or not host or not url.isascii() or any(each <= " " for each in url):
            raise BadInput("the sink is no http or https URL: legal is one like http://planner.knative-mig.svc")
        place = f"[{host}]" if ":" in host else host
        address = f"{parts.scheme}://{place}" + (f":{port}" if port else "")
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            url=f"{address}{parts.path or '/'}{query}",
            shown=address,
            authorization=_basic(parts.username, parts.password),
            extensions=_extensions(overrides),
            ca_certs=_certificates(ca_certs),
            token_file=Path(token_file),
        )


class EventSender:
    def __init__(self, sink: Sink, *, within_s: float = WITHIN_S, connections: int = 4) -> None:
        self.sink = sink
        context = ssl.create_default_context()
        if sink.ca_certs:
            context.load_verify_locations(cadata=sink.ca_certs)
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, ssl_context=context)
        self._timeout = urllib3.Timeout(total=within_s)

    def send(self, event: Event) -> Delivery:
        try:
            headers, body = encode(replace(event, extensions={**event.extensions, **self.sink.extensions}))
        except BadInput as bad:
            return Delivery(outcome=Delivered.REFUSED, reason=f"it is no event: {bad}")
        if authorization := self._authorization():
            headers["Authorization"] = authorization
        try:
            response = self._pool.request(
                "POST", self.sink.url, body=body, headers=headers, timeout=self._timeout, redirect=False,
                preload_content=False,
            )  # fmt: skip
        except (HTTPError, OSError, ValueError) as error:
            return Delivery(outcome=Delivered.FAILED, reason=f"{self.sink.shown}: {_in_words(error)}")
        with response:
            _make_reusable(response)
            return self._judged(response.status, response.headers.get("Retry-After", ""))

    def _judged(self, status: int, retry_after: str) -> Delivery:
        if 200 <= status < 300:
            return Delivery(outcome=Delivered.TAKEN)
        reason = f"{self.sink.shown} answered {status}"
        if status in _AGAIN or status >= 500:
            return Delivery(outcome=Delivered.FAILED, reason=reason, retry_after_s=_seconds(retry_after))
        return Delivery(outcome=Delivered.REFUSED, reason=reason)

    def _authorization(self) -> str:
        """The token is read each time: the Secret that it comes from is renewed."""
        try:
            token = self.sink.token_file.read_text().strip()
        except (OSError, ValueError):
            token = ""
        # A broken one would be a broken header, and its text in the error that says so.
        if token and token.isascii() and token.isprintable():
            return f"Bearer {token}"
        return self.sink.authorization


def _make_reusable(response: urllib3.BaseHTTPResponse) -> None:
    """A sink's answer has no body, or none that is wanted."""
    try:
        response.read(_READ)
        if not response.closed and response.length_remaining == 0:
            response.release_conn()
        else:
            response.close()
    except (HTTPError, OSError) as error:
        log.debug("an answer broke off: %s", type(error).__name__)


def _in_words(error: Exception) -> str:
    """Of the libraries' errors some quote the URL that was asked."""
    match error:
        case NameResolutionError():
            return "its name is not known"
        case NewConnectionError():
            return "no connection"
        case TookTooLong():
            return "no answer in time"
        case SSLError():
            return "its certificate is not trusted, or it speaks no TLS"
        case _:
            return f"the connection broke off ({type(error).__name__})"


def _basic(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _extensions(overrides: str) -> dict[str, str]:
    if not overrides.strip():
        return {}
    try:
        read = json.loads(overrides)
    except (ValueError, RecursionError):
        raise BadInput('K_CE_OVERRIDES is no JSON: legal is {"extensions": {"name": "value"}}') from None
    found = read.get("extensions") if isinstance(read, dict) else None
    if found is None and isinstance(read, dict):
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BadInput('K_CE_OVERRIDES: legal is {"extensions": {"name": "value"}}, each value a text')
    for name in found:
        if name in _OURS:
            raise BadInput(f"K_CE_OVERRIDES: the extension {name} is what the event says, and not to be overridden")
    probe = Event(source="/overrides", id="1", type="overrides", extensions=found)
    try:
        encode(probe)
    except BadInput as bad:
        raise BadInput(f"K_CE_OVERRIDES: {bad}") from None
    return dict(found)


def _certificates(pem: str) -> str:
    """Those of a bundle, without what is written between them: names of CAs, which need not be ASCII."""
    if not pem.strip():
        return ""
    certificates = "\n".join(_CERTIFICATE.findall(pem))
    try:
        ssl.create_default_context().load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        raise BadInput("K_CA_CERTS holds no certificates: legal is PEM") from None
    return certificates


def _seconds(retry_after: str) -> float:
    """A date is passed over: ours is the shorter pause then."""
    if retry_after.isascii() and retry_after.isdecimal():
        return min(_LONGEST_WAIT_S, float(retry_after[:9]))
    return 0.0
