"""Asks a container once whether it is well: by HTTP, by a connection, by a command. Hooks are asked in the same way.

Called by `prober`, `container_start` and `container_end`, on threads of their own. Words are the kubelet's.
"""

import errno
import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.adapters import unverified_https
from knative_mig.dev.node.container import Command, Container, NotStarted
from knative_mig.dev.node.pod_spec import Check, Exec, HttpGet, NoPort, TcpSocket

USER_AGENT: Final = "kube-probe/1.36"
_BODY_BYTES: Final = 10 * 1024
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    succeeded: bool
    output: str = ""
    was_asked: bool = True  # no: there was no file left to ask by, which says nothing of the container


def ask(check: Check, address: str, timeout_s: float, command: Callable[[tuple[str, ...]], Command]) -> Result:
    """`command`: in the container's place, with its environment."""
    match check:
        case HttpGet():
            return _http(check, address, timeout_s)
        case TcpSocket():
            return _tcp(check, address, timeout_s)
        case NoPort():
            return Result(succeeded=False, output=f"port {check.name} not found")
        case Exec():
            return _exec(command(check.argv), timeout_s)


def _http(check: HttpGet, address: str, timeout_s: float) -> Result:
    host = check.host or address
    if check.https:
        connection: http.client.HTTPConnection = unverified_https.connection(host, check.port, timeout_s=timeout_s)
    else:
        connection = http.client.HTTPConnection(host, check.port, timeout=timeout_s)
    scheme = "https" if check.https else "http"
    url = f'Get "{scheme}://{host}:{check.port}{check.path}"'
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close", **dict(check.headers)}
    try:
        connection.request("GET", check.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_BODY_BYTES)
    except TimeoutError:
        return Result(
            succeeded=False, output=f"{url}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        output = f"{url}: {_refused(error, host, check.port)}"
        return Result(succeeded=False, output=output, was_asked=_was_asked(error))
    finally:
        connection.close()
    if 200 <= answer.status < 400:
        return Result(succeeded=True, output=body.decode(errors="replace"))
    return Result(succeeded=False, output=f"HTTP probe failed with statuscode: {answer.status}")


def _tcp(check: TcpSocket, address: str, timeout_s: float) -> Result:
    host = check.host or address
    try:
        with socket.create_connection((host, check.port), timeout_s):
            return Result(succeeded=True)
    except TimeoutError:
        return Result(succeeded=False, output=f"dial tcp {host}:{check.port}: i/o timeout")
    except OSError as error:
        return Result(succeeded=False, output=_refused(error, host, check.port), was_asked=_was_asked(error))


def _exec(command: Command, timeout_s: float) -> Result:
    try:
        container = Container.start(command, lambda _container, _ended: None)
    except NotStarted as error:
        return Result(succeeded=False, output=str(error), was_asked=_was_asked(error.__cause__))
    ended = container.wait(timeout_s)
    if ended is None:
        container.kill()
        return Result(
            succeeded=False, output=f'command timed out: "{" ".join(command.argv)}" timed out after {timeout_s:g}s'
        )
    return Result(succeeded=ended.code == 0, output=ended.output)


def _was_asked(error: BaseException | None) -> bool:
    return getattr(error, "errno", None) not in _NO_FILES


def _refused(error: Exception, host: str, port: int) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    return str(error) or type(error).__name__
