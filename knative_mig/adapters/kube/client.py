"""Speaks HTTP with a Kubernetes API server: JSON objects in and out, its refusals as the errors of `ports.kube`.

Called by everything else in this package. Of the `kubernetes` library only what knows about credentials is used
(`credentials`); its generated models refuse fields newer than themselves.

The subtle things: nothing is sent twice that could count twice, so only reads are repeated, once, after a connection
that the server had closed; and a 401 reads the credentials anew once, for tokens, certificates and the CA are replaced
while a process runs, and the library's own clock for that is a wall clock. Any thread may call.
"""

import json
import logging
import math
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from knative_mig.adapters.kube import IN_CLUSTER, credentials
from knative_mig.adapters.kube.answers import answered_no
from knative_mig.adapters.kube.credentials import Credentials, CredentialsFailed, Plain
from knative_mig.adapters.kube.kinds import Kind
from knative_mig.adapters.kube.stream import Stream
from knative_mig.core.errors import BadInput
from knative_mig.ports.kube import ApiUnreachable, Key

Object = dict[str, Any]
Around = Callable[[str], AbstractContextManager[None]]  # what is called with the server's URL

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"

CONNECT_S: Final = 3.0
ANSWER_S: Final = 10.0  # an API server that takes longer for one object is as good as away
LIST_S: Final = 30.0  # for one page
# A watch's server is asked to end it after a while; what is silent for so much longer is a dead connection.
WATCH_GRACE_S: Final = 10.0
# What is small goes at once, and a peer that is gone without a word is noticed within half a minute.
_SOCKET: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_POOL: Final = 16  # connections that are kept; more are made when more threads call

log = logging.getLogger(__name__)


def _unwatched(_server: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Object]
    resource_version: str
    next_page: str  # empty: it was the last


class _Transport:
    """A pool of connections with the credentials they were made for."""

    def __init__(self, whose: Credentials) -> None:
        self.host = whose.server
        self._whose = whose
        self._lock = threading.Lock()
        arguments: dict[str, Any] = {
            **whose.pool_arguments(),
            "maxsize": _POOL,
            "retries": False,
            "socket_options": _SOCKET,
        }
        proxy = whose.proxy()
        self.pool = urllib3.ProxyManager(proxy, **arguments) if proxy else urllib3.PoolManager(**arguments)

    def authorization(self) -> Mapping[str, str]:
        """As of now. CredentialsFailed."""
        with self._lock:
            found = self._whose.authorization()
        return {"Authorization": found} if found else {}


class KubeClient:
    """`whose` reads the credentials anew each time it is called."""

    def __init__(
        self,
        whose: Callable[[], Credentials],
        *,
        user_agent: str = "knative-mig",
        around: Around = _unwatched,
        answers_within_s: float = math.inf,
    ) -> None:
        """`around`: of each call but a watch. `answers_within_s`: at most, of any call."""
        self._credentials, self._around, self._answers_within_s = whose, around, answers_within_s
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        self._lock = threading.Lock()
        self._transport = _Transport(whose())

    @classmethod
    def of(cls, where: str, context: str | None = None, *, user_agent: str = "knative-mig") -> Self:
        """As a process is told: IN_CLUSTER, or a kubeconfig's path."""
        if where == IN_CLUSTER:
            return cls.in_cluster(user_agent=user_agent)
        return cls.of_kubeconfig(where, context, user_agent=user_agent)

    @classmethod
    def in_cluster(cls, *, user_agent: str = "knative-mig") -> Self:
        """As the pod's service account. BadInput where this is no pod."""
        return cls(credentials.in_cluster, user_agent=user_agent)

    @classmethod
    def of_kubeconfig(
        cls,
        path: str | None = None,
        context: str | None = None,
        *,
        user_agent: str = "knative-mig",
        around: Around = _unwatched,
        answers_within_s: float = math.inf,
    ) -> Self:
        """As kubectl would: `path` None takes $KUBECONFIG or ~/.kube/config."""
        return cls(
            lambda: credentials.of_kubeconfig(path, context),
            user_agent=user_agent,
            around=around,
            answers_within_s=answers_within_s,
        )

    @classmethod
    def of_url(cls, url: str, *, user_agent: str = "knative-mig") -> Self:
        """Without credentials: `kubectl proxy`, and tests."""
        return cls(lambda: Plain(url.rstrip("/")), user_agent=user_agent)

    @property
    def server(self) -> str:
        return self._transport.host

    def get(self, kind: Kind, key: Key) -> Object:
        return self._json("GET", kind.path(key))

    def create(self, kind: Kind, namespace: str, body: Object, *, answer_s: float = ANSWER_S) -> Object:
        return self._json("POST", kind.path(Key(namespace, "")), body, answer_s=answer_s)

    def create_below(
        self, kind: Kind, key: Key, subresource: str, body: Object, *, answer_s: float = ANSWER_S
    ) -> Object:
        return self._json("POST", kind.path(key, subresource), body, answer_s=answer_s)

    def replace(self, kind: Kind, key: Key, body: Object) -> Object:
        return self._json("PUT", kind.path(key), body)

    def merge(self, kind: Kind, key: Key, patch: Object, *, subresource: str = "", manager: str = "") -> Object:
        """RFC 7396: None removes a field, a list is replaced whole. `manager`: as whose the fields are noted."""
        query = {"fieldManager": manager} if manager else None
        return self._json("PATCH", kind.path(key, subresource), patch, content_type=MERGE_PATCH, query=query)

    def merge_strategically(self, kind: Kind, key: Key, patch: Object, *, subresource: str = "") -> Object:
        """Kubernetes' own merge, for its own kinds alone: entries of lists like conditions are merged by their key."""
        return self._json("PATCH", kind.path(key, subresource), patch, content_type=STRATEGIC_MERGE_PATCH)

    def patch(self, kind: Kind, key: Key, operations: list[Object], *, subresource: str = "") -> Object:
        """RFC 6902; a `test` that fails is Refused."""
        return self._json("PATCH", kind.path(key, subresource), operations, content_type=JSON_PATCH)

    def delete(self, kind: Kind, key: Key, options: Object | None = None) -> None:
        self._json("DELETE", kind.path(key), options)

    def page(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Page:
        found = self._json("GET", kind.path(Key(namespace, "")), query=query, answer_s=LIST_S)
        about = found.get("metadata") or {}
        return Page(found.get("items") or [], str(about.get("resourceVersion", "")), str(about.get("continue") or ""))

    def watch(self, kind: Kind, namespace: str, query: Mapping[str, str], *, seconds: float) -> Stream:
        """What happens from now on; the caller closes it. Raises as soon as the server says no."""
        asked = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(max(1, round(seconds)))}
        path = f"{kind.path(Key(namespace, ''))}?{urlencode(asked)}"
        return Stream(self._send("GET", path, None, {}, ANSWER_S), seconds + WATCH_GRACE_S)

    def _json(
        self,
        method: str,
        path: str,
        body: Object | list[Object] | None = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
        answer_s: float = ANSWER_S,
    ) -> Object:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {} if data is None else {"Content-Type": content_type}
        where = f"{path}?{urlencode(query)}" if query else path
        with self._around(self.server):
            return self._object(f"{method} {path}", lambda: self._send(method, where, data, headers, answer_s))

    def _object(self, what: str, send: Callable[[], urllib3.BaseHTTPResponse]) -> Object:
        response = send()
        try:
            found = json.loads(response.read())
        except (HTTPError, OSError) as error:
            raise ApiUnreachable(f"{what}: the answer broke off: {error}") from error
        except ValueError as error:
            raise ApiUnreachable(f"{what}: the answer is not JSON: {error}") from error
        finally:
            response.release_conn()
        if not isinstance(found, dict):
            raise ApiUnreachable(f"{what}: the answer is not an object")
        return found

    def _send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], answer_s: float
    ) -> urllib3.BaseHTTPResponse:
        """The answer, its body not yet read, where it is a yes."""
        within_s = min(answer_s, self._answers_within_s)

        def send(transport: _Transport) -> urllib3.BaseHTTPResponse:
            return transport.pool.request(
                method,
                transport.host + path,
                body=data,
                headers={**self._headers, **transport.authorization(), **headers},
                timeout=urllib3.Timeout(connect=CONNECT_S, read=within_s),
                preload_content=False,
                redirect=False,
                retries=False,
            )

        what = f"{method} {path.partition('?')[0]}"
        transport = self._transport
        response = _answer(what, send, transport, again=method == "GET", within_s=within_s)
        if response.status == 401:
            response.drain_conn()
            response.release_conn()
            response = _answer(what, send, self._renewed(transport), again=method == "GET", within_s=within_s)
        if response.status >= 300:
            try:
                text = response.read()
            except (HTTPError, OSError):
                text = b""
            response.release_conn()
            raise answered_no(what, response.status, response.headers, text)
        return response

    def _renewed(self, refused: _Transport) -> _Transport:
        """With the credentials as they stand now, read once however many threads were refused."""
        with self._lock:
            if self._transport is refused:
                log.info("the API server does not know us any more: reading the credentials again")
                try:
                    self._transport = _Transport(self._credentials())
                except BadInput as error:
                    raise ApiUnreachable(str(error)) from error
            return self._transport


def _answer(
    what: str,
    send: Callable[[_Transport], urllib3.BaseHTTPResponse],
    transport: _Transport,
    *,
    again: bool,
    within_s: float,
) -> urllib3.BaseHTTPResponse:
    try:
        try:
            return send(transport)
        except ProtocolError:
            if not again:
                raise
            return send(transport)
    except (HTTPError, OSError) as error:
        raise ApiUnreachable(f"{what} at {transport.host}: {_why(error, within_s)}") from error
    except CredentialsFailed as error:
        raise ApiUnreachable(f"the credentials cannot be read: {error}") from error


def _why(error: Exception, within_s: float) -> str:
    """As a person would say it, where urllib3 tells of its pools."""
    if isinstance(error, ReadTimeoutError):
        return f"no answer in {within_s:g} s"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"nobody takes the connection within {CONNECT_S:g} s"
    cause = error.__cause__ if isinstance(error, HTTPError) else error
    return (cause.strerror or str(error)) if isinstance(cause, OSError) else str(error)
