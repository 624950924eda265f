"""Asks a function for a completion by its URL, as any client of OpenAI's API does, and gives the text as it comes.

Called by `invoke`. The subtle thing is the address: names below `localhost` are this machine's (RFC 6761), though not
every resolver knows, and a cluster's gateway can be named where its functions' hosts are in no DNS.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from knative_mig.core.errors import BadInput, KnativeMigError, NotReadyInTime
from knative_mig.core.events import shown

_LONGEST_ANSWER: Final = 1_000_000  # of one that is no stream
_LONGEST_EVENT: Final = 1_000_000
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "knative-mig"}


class FunctionFailed(KnativeMigError):
    """It answered, and not with a completion; or nobody did."""

    reason = "FunctionFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    url: str
    host: str  # as the Host header has it
    address: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    tokens: int | None = None  # of the whole answer, in the last piece


def target_of(url: str, gateway: str | None) -> Target:
    """`gateway`: HOST or HOST:PORT, where the function's host is to be found. BadInput."""
    parts = urlsplit(url)
    name, tls = parts.hostname or "", parts.scheme == "https"
    address, port = name, parts.port or (443 if tls else 80)
    if gateway is not None:
        try:
            named = urlsplit(f"//{gateway}")
            address, port = named.hostname or "", named.port or port
        except ValueError:
            address = ""
        if not address:
            raise BadInput(f"--gateway {shown(gateway)}: legal is HOST or HOST:PORT")
    elif name == "localhost" or name.endswith(".localhost"):
        address = "127.0.0.1"
    return Target(url=url, host=parts.netloc, address=address, port=port, tls=tls)


def completion(
    target: Target, prompt: str, *, model: str | None, max_tokens: int, first_within_s: float
) -> Iterator[Piece]:
    """The text in pieces. FunctionFailed; NotReadyInTime: nothing had come by then."""
    kind = http.client.HTTPSConnection if target.tls else http.client.HTTPConnection
    connection = kind(target.address, target.port, timeout=first_within_s)
    try:
        wanted = {
            "model": model or _model(connection, target),
            "prompt": prompt,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        response = _sent(connection, target, "POST", "/v1/completions", json.dumps(wanted).encode())
        yield from _pieces(response, target)
    except TimeoutError:
        raise NotReadyInTime(f"{target.url}: no answer in {first_within_s:g} s") from None
    except socket.gaierror:
        raise FunctionFailed(
            f"{target.address} is not known here: name the address of the cluster's gateway with --gateway HOST:PORT"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FunctionFailed(f"{target.url} at {target.address}:{target.port}: {why}") from None
    finally:
        connection.close()


def _model(connection: http.client.HTTPConnection, target: Target) -> str:
    """What it serves: whoever asks has to name it."""
    response = _sent(connection, target, "GET", "/v1/models", None)
    try:
        return str(json.loads(response.read(_LONGEST_ANSWER))["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise _no_language_model(target, "its answer to GET /v1/models names no model") from None


def _sent(
    connection: http.client.HTTPConnection, target: Target, method: str, path: str, body: bytes | None
) -> http.client.HTTPResponse:
    """The answer, its body not yet read, where it is a yes."""
    connection.request(method, path, body, {**_HEADERS, "Host": target.host})
    response = connection.getresponse()
    if response.status == http.client.OK:
        return response
    why = _why(response.read(_LONGEST_ANSWER))
    said = f"{response.status} {response.reason}{f': {why}' if why else ''}"
    if response.status == http.client.GATEWAY_TIMEOUT:
        raise NotReadyInTime(f"{target.url}: {said}")
    if path == "/v1/models" and response.status in (http.client.NOT_FOUND, http.client.METHOD_NOT_ALLOWED):
        raise _no_language_model(target, f"GET {path}: {said}")
    raise FunctionFailed(f"{target.url}: {said}")


def _no_language_model(target: Target, why: str) -> FunctionFailed:
    return FunctionFailed(f"{target.url} does not speak OpenAI's API ({why}): ask it with curl instead")


def _why(body: bytes) -> str:
    """As OpenAI words an error, or the text as it is; on one line."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
        text = str(found["error"]["message"])
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(text.split())[:300]


def _pieces(response: http.client.HTTPResponse, target: Target) -> Iterator[Piece]:
    if not (response.getheader("Content-Type") or "").startswith("text/event-stream"):
        yield _piece(response.read(_LONGEST_ANSWER), target)
        return
    while line := response.readline(_LONGEST_EVENT):
        name, _, data = line.strip().partition(b":")
        if name == b"data" and data.strip() == b"[DONE]":
            return
        if name == b"data":
            yield _piece(data, target)
    raise FunctionFailed(f"{target.url}: the answer broke off")


def _piece(data: bytes, target: Target) -> Piece:
    try:
        found: Any = json.loads(data)
        if isinstance(found, dict) and "error" in found:
            raise FunctionFailed(f"{target.url}: {_why(data)}")
        text = "".join(str(each.get("text") or "") for each in found.get("choices") or ())
        tokens = (found.get("usage") or {}).get("completion_tokens")
    except (ValueError, AttributeError, TypeError):
        raise FunctionFailed(
            f"{target.url}: a part of the answer is no completion: {shown(data.decode(errors='replace'))}"
        ) from None
    return Piece(text, tokens if isinstance(tokens, int) else None)
