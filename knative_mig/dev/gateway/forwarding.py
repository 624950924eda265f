"""What a request and its answer become on their way through: the heads, as they are sent on.

Called by `connection` and `pump`. The container sees what it would see behind Knative's ingress, activator and
queue-proxy: who asked, through whom, and under which name. The subtle thing is what belongs to one connection: it is
told anew for the next, and whatever the client's Connection header names goes with it.
"""

from typing import Final

from knative_mig.dev.gateway.http_head import AnswerHead, Chunked, Fields, Plain, RequestHead, ToTheEnd, get

GATEWAY: Final = "127.0.0.1"  # the address by which pods see the activator
_OF_ONE_CONNECTION: Final = frozenset({
    "connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_TOLD_ANEW: Final = _OF_ONE_CONNECTION | {
    "host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "forwarded",
    "k-proxy-request", "k-original-host", "k-network-hash", "knative-serving-revision", "knative-serving-namespace",
}  # fmt: skip


def request_bytes(head: RequestHead, *, client: str, request_id: str, by_activator: bool) -> bytes:
    """The head, as its pod gets it."""
    fields = head.fields
    dropped = _TOLD_ANEW | _named(fields)
    lines = [f"{head.method} {head.target} HTTP/1.1", f"Host: {head.host}"]
    lines += [f"{name}: {value}" for name, value in fields if name.lower() not in dropped]
    came_for = ", ".join([value for name, value in fields if name.lower() == "x-forwarded-for"] + [client])
    proto = get(fields, "x-forwarded-proto") or "http"
    forwarded = get(fields, "forwarded") or _forwarded(came_for, get(fields, "x-forwarded-host"), proto)
    lines += [
        f"Forwarded: {forwarded}",
        f"X-Forwarded-For: {came_for}, {GATEWAY}" if by_activator else f"X-Forwarded-For: {came_for}",
        f"X-Forwarded-Proto: {proto}",
        f"X-Request-Id: {get(fields, 'x-request-id') or request_id}",
    ]
    if by_activator:
        lines.append("K-Proxy-Request: activator")
    if "trailers" in get(fields, "te").lower():
        lines.append("Te: trailers")
    if head.upgrade:
        lines += ["Connection: Upgrade", f"Upgrade: {head.upgrade}"]
    match head.body:
        case Chunked():
            lines.append("Transfer-Encoding: chunked")
        case Plain(length=length) if length or get(fields, "content-length"):
            lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _forwarded(came_for: str, host: str, proto: str) -> str:
    """RFC 7239's header, of those that it is to replace."""
    first, *others = (f'for="[{node}]"' if ":" in node else f"for={node}" for node in _nodes(came_for))
    about = [first, *([f"host={host}"] if host else []), f"proto={proto}"]
    return ", ".join([";".join(about), *others])


def _nodes(came_for: str) -> list[str]:
    return [each.strip() for each in came_for.split(",")]


def answer_bytes(head: AnswerHead, *, closes: bool, has_no_body: bool) -> bytes:
    """The head, as the client gets it. What has no length of its own goes in chunks."""
    dropped = _OF_ONE_CONNECTION | _named(head.fields)
    if not has_no_body:
        dropped |= {"content-length"}
    lines = [f"HTTP/1.1 {head.status} {head.reason}"]
    lines += [f"{name}: {value}" for name, value in head.fields if name.lower() not in dropped]
    if not has_no_body:
        match head.body:
            case Plain(length=length):
                lines.append(f"Content-Length: {length}")
            case Chunked() | ToTheEnd():
                lines.append("Transfer-Encoding: chunked")
    if closes:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def switched_bytes(head: AnswerHead) -> bytes:
    """Of a 101: from here on the connection is the client's and the pod's."""
    protocol = get(head.fields, "upgrade")
    dropped = _OF_ONE_CONNECTION | {"content-length"}
    lines = [f"HTTP/1.1 101 {head.reason}", "Connection: Upgrade", f"Upgrade: {protocol}"]
    lines += [f"{name}: {value}" for name, value in head.fields if name.lower() not in dropped]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _named(fields: Fields) -> set[str]:
    """What the Connection headers name."""
    return {each.strip().lower() for name, value in fields if name.lower() == "connection" for each in value.split(",")}
