"""What the gateway answers itself: with the statuses of Knative and its ingress, and their words where they have any.

Made by `hall`, `http_head` and `connection`, and sent by `connection`. The subtle thing is how Go words a failure:
scripts and people look for it, so it is the same here.
"""

import html
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from knative_mig.core.events import shown
from knative_mig.dev.gateway.facts import Pod
from knative_mig.dev.gateway.load import Told
from knative_mig.ports.kube import Key

_HASH: Final = "K-Network-Hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: HTTPStatus
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    poke: Told | None = None  # for the autoscaler: it was demand


def of_error(status: HTTPStatus, line: str, poke: Told | None = None) -> Reply:
    """As Go's net/http has it."""
    about = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
    return Reply(status=status, body=f"{line}\n".encode(), headers=about, poke=poke)


def bad_request(line: str) -> Reply:
    return of_error(HTTPStatus.BAD_REQUEST, line)


def no_host(header: str) -> Reply:
    what = f"Host is {shown(header)}, which is no host" if header else "Host is missing"
    return bad_request(f"{what}: legal is NAME.NAMESPACE.localhost, with a port or without")


def not_found(line: str) -> Reply:
    return of_error(HTTPStatus.NOT_FOUND, line)


def no_revision(revision: Key) -> Reply:
    return not_found(f'Error getting active endpoint: revision.serving.knative.dev "{revision.name}" not found')


def queue_full(poke: Told | None = None) -> Reply:
    return of_error(HTTPStatus.SERVICE_UNAVAILABLE, "pending request queue full", poke)


def timed_out(*, by_activator: bool) -> Reply:
    """Its text ends an answer that has begun, too."""
    text = b"activator request timeout" if by_activator else b"request timeout"
    return Reply(status=HTTPStatus.GATEWAY_TIMEOUT, body=text, headers=(("Content-Type", "text/plain; charset=utf-8"),))


def bad_gateway(line: str) -> Reply:
    return of_error(HTTPStatus.BAD_GATEWAY, line)


def not_connected(pod: Pod, error: OSError) -> Reply:
    if isinstance(error, TimeoutError):
        return bad_gateway(f"timed out dialing {pod}")
    return bad_gateway(f"dial tcp {pod}: connect: {(error.strerror or type(error).__name__).lower()}")


def probe(value: str, digest: str, *, is_kubelet: bool) -> Reply | None:
    """The answer to a probe of Knative's network, or of a kubelet, which no container gets; None: it is none."""
    if is_kubelet:
        return Reply(status=HTTPStatus.OK)
    match value:
        case "":
            return None
        case "probe" if digest:
            return Reply(status=HTTPStatus.OK, headers=((_HASH, digest),))
        case "probe":
            return bad_request(f'a probe request must contain a non-empty "{_HASH}" header')
        case "activator":
            plain = (("Content-Type", "text/plain; charset=utf-8"),)
            return Reply(status=HTTPStatus.OK, body=b"activator", headers=plain)
        case _:
            return bad_request(f'unexpected probe header value: "{html.escape(value)}"')
