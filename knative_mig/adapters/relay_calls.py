"""Calls the relay of a pod that ends to hand its generations over to another pod's: `ports.relays.Relays`.

Called on threads of the planner. By the pods' own addresses, which the API server is asked for with their UIDs, and
with their namespace's secret. Whatever listens there is the function's own image, which anybody may have made: it is
given so long and no longer, and no more than so much of an answer is read. Nothing is a failure for whoever calls: the
pod is ending anyway.
"""

import contextlib
import http.client
import io
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import POD
from knative_mig.adapters.kube.relay_secrets import KubeRelaySecrets
from knative_mig.core.cluster.objects import Phase
from knative_mig.core.errors import BadInput, KnativeMigError
from knative_mig.core.events import shown
from knative_mig.core.relays import MOVE_PORT
from knative_mig.ports.kube import ClusterError, ObjectNotFound
from knative_mig.ports.relays import HandedOver, NotHandedOver, PodAt

_CONNECTS_WITHIN_S: Final = 2.0
_LOOKS_EACH_S: Final = 0.2
_LARGEST: Final = 1024 * 1024  # bytes of an answer: two hundred for each of a replica's generations


class _CallFailed(KnativeMigError):
    reason = "CallFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    until: float
    is_wanted: Callable[[], bool]

    def why_no_more(self) -> str:
        if time.monotonic() >= self.until:
            return "it takes too long"
        return "" if self.is_wanted() else "nobody waits for it any more"


class RelayCalls:
    def __init__(self, client: KubeClient, *, within_s: float, port: int = MOVE_PORT) -> None:
        self._client = client
        self._secrets = KubeRelaySecrets(client)
        self._within_s = within_s
        self._port = port

    def hand_over(self, leaving: PodAt, to: PodAt, *, is_wanted: Callable[[], bool]) -> HandedOver | NotHandedOver:
        waiting = _Waiting(until=time.monotonic() + self._within_s, is_wanted=is_wanted)
        try:
            secret = self._secrets.read(leaving.key.namespace)
            source, target = self._address(leaving), self._address(to)
            return _read(_asked(source, self._port, secret, _url(target, self._port), waiting))
        except ObjectNotFound as error:
            return NotHandedOver(why=str(error), has_relay=False)
        except (BadInput, ClusterError, _CallFailed) as error:
            return NotHandedOver(why=str(error), has_relay=True)
        except OSError as error:
            # Nobody listens, or a network policy swallows what is sent.
            return NotHandedOver(why=f"port {self._port} cannot be reached: {error}", has_relay=False)

    def _address(self, pod: PodAt) -> str:
        """ClusterError; ObjectNotFound: there is no such pod any more, or somebody else may be at its address."""
        body = Fields(self._client.get(POD, pod.key))
        if body.child("metadata").text("uid") != pod.uid:
            raise ObjectNotFound(f"pod {pod.key.namespace}/{pod.key.name} is another one by now")
        # One that is over keeps its address in its status, and the network gives it to whose pod it likes.
        runs = body.child("status").text("phase") == Phase.RUNNING
        if not runs or body.child("spec").flag("hostNetwork") or not (found := body.child("status").text("podIP")):
            raise ObjectNotFound(f"pod {pod.key.namespace}/{pod.key.name} has no address of its own")
        return found


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _asked(host: str, port: int, secret: str, to: str, waiting: _Waiting) -> bytes:
    """The whole answer, as it came. OSError: there is nobody. _CallFailed: there is, and it gives none."""
    body = json.dumps({"to": to}).encode()
    at = _url(host, port).removeprefix("http://")
    head = (
        "POST /migrate HTTP/1.1", f"Host: {at}", f"Authorization: Bearer {secret}",
        "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", "",
    )  # fmt: skip
    with socket.create_connection((host, port), timeout=_CONNECTS_WITHIN_S) as connection:
        try:
            connection.sendall("\r\n".join(head).encode("latin-1") + body)
            answer = _all_of(connection, waiting)
        except OSError as error:
            raise _CallFailed(f"its relay gives no answer: {error}") from error
    if secret.encode() in answer:  # some servers say back what they hear, and of this an Event would tell
        raise _CallFailed("what answers is no relay: it says the secret back")
    return answer


def _all_of(connection: socket.socket, waiting: _Waiting) -> bytes:
    found = bytearray()
    while not (why_not := waiting.why_no_more()):
        connection.settimeout(_LOOKS_EACH_S)
        with contextlib.suppress(TimeoutError):
            if not (piece := connection.recv(64 * 1024)):
                return bytes(found)
            found += piece
        if len(found) > _LARGEST:
            raise _CallFailed("its relay's answer has no end")
    raise TimeoutError(why_not)


class _Heard:
    """What `http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read(answer: bytes) -> HandedOver:
    """_CallFailed."""
    response = http.client.HTTPResponse(_Heard(answer))  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError, OverflowError) as error:  # the last: a length of thirty digits
        raise _CallFailed(f"its relay answers in no HTTP: {type(error).__name__}") from error
    if response.status != HTTPStatus.OK:
        raise _CallFailed(
            f"its relay answers {response.status}: {shown(body[:200].decode('utf-8', 'replace').strip())}"
        )
    try:
        generations = _generations(json.loads(body))
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise _CallFailed(f"its relay does not say what became of its generations: {type(error).__name__}") from error
    stay = tuple(shown(why) for moved, why in generations if not moved)
    return HandedOver(moved=len(generations) - len(stay), stay=stay)


def _generations(body: Any) -> list[tuple[bool, str]]:
    return [(each["moved"] is True, str(each["why"])) for each in body["generations"]]
