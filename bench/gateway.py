"""`python -m bench.gateway [--quick] [--json]`: what the gateway of `knative-mig dev` adds to a request and to a token.

Client, gateway and pod are processes of their own. Requests are asked through the gateway and of the pod itself in
turns, so that a busy moment meets both; each token's text is when it was written, for the client to compare with when
it came. Then as many requests as are asked for are held for a function at zero, and the pod becomes ready.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final, Self

import click

from bench.gateway_parts import ANSWER, HOST
from bench.report import Goal, flags, print_goals, print_json, print_table

KEYS: Final = ("gateway_request_ms_p50", "gateway_ms_p50", "held_1000_release_p99_s", "held_1000_kib_each")
HELD: Final = 1000
ADDS_AT_MOST_MS: Final = 0.3
_PATIENCE_S: Final = 60.0
_END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Medians, in ms."""

    request_direct: float
    request_through: float
    token_direct: float
    token_through: float

    @property
    def request(self) -> float:
        return self.request_through - self.request_direct

    @property
    def token(self) -> float:
        return self.token_through - self.token_direct


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Of requests that were held: from the pod's being ready to their answers."""

    count: int
    p50_s: float
    p99_s: float
    kib_each: float  # of the gateway's memory, while they were held


class _Part:
    """A process of `gateway_parts`; what it says is a line of JSON."""

    def __init__(self, *arguments: str) -> None:
        command = (sys.executable, "-m", "bench.gateway_parts", *arguments)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self.says()["port"]

    def says(self) -> dict[str, int]:
        assert self._process.stdout is not None
        said: dict[str, int] = json.loads(self._process.stdout.readline())
        return said

    def is_told(self, word: str = "") -> dict[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self.says()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def _parts() -> Iterator[tuple[_Part, _Part]]:
    with ExitStack() as opened:
        pod = _Part("pod")
        opened.callback(pod.end)
        gateway = _Part("gateway", "127.0.0.1", str(pod.port))
        opened.callback(gateway.end)
        yield pod, gateway


class _Line:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, path: str) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        self.socket.sendall(head.encode())

    def request_ms(self) -> float:
        began, heard = time.perf_counter(), b""
        self.ask("/")
        while not heard.endswith(ANSWER[-3:]):
            heard += self.socket.recv(65536)
        return (time.perf_counter() - began) * 1000

    def tokens_ms(self, count: int) -> list[float]:
        """From when each was written to when it was read."""
        self.ask(f"/stream/{count}")
        took, heard = [], b""
        while not heard.endswith(_END):
            heard += self.socket.recv(65536)
            now = time.monotonic_ns()
            *events, rest = heard.split(b"\n\n\r\n")
            took += [(now - int(event.rpartition(b"data: ")[2])) / 1e6 for event in events]
            heard = rest if events else heard
        return took


def costs(rounds: int, requests: int, tokens: int) -> Costs:
    request: dict[int, list[float]] = {0: [], 1: []}
    token: dict[int, list[float]] = {0: [], 1: []}
    with _parts() as (pod, gateway):
        gateway.is_told("ready")
        with _Line(pod.port) as direct, _Line(gateway.port) as through:
            lines = (direct, through)
            for line in lines:
                for _ in range(50):
                    line.request_ms()  # the first ones are slower, on either way
            for _ in range(rounds):
                for _ in range(requests):
                    for which, line in enumerate(lines):
                        request[which].append(line.request_ms())
                for which, line in enumerate(lines):
                    token[which] += line.tokens_ms(tokens)
    return Costs(
        request_direct=median(request[0]),
        request_through=median(request[1]),
        token_direct=median(token[0]),
        token_through=median(token[1]),
    )


def released(count: int = HELD) -> Released:
    with _parts() as (_, gateway), ExitStack() as opened:
        before = gateway.is_told()["resident_kib"]
        lines = [opened.enter_context(_Line(gateway.port)) for _ in range(count)]
        for line in lines:
            line.ask("/")
        ends = time.monotonic() + _PATIENCE_S
        while (held := gateway.is_told())["held"] < count:
            if time.monotonic() > ends:
                raise click.ClickException(f"only {held['held']} of {count} requests were held")
            time.sleep(0.05)
        poll = select.poll()
        for line in lines:
            poll.register(line.socket, select.POLLIN)
        began = time.monotonic()
        gateway.is_told("ready")
        took: list[float] = []
        while len(took) < count:
            ready = poll.poll(_PATIENCE_S * 1000)
            if not ready:
                raise click.ClickException(f"only {len(took)} of {count} requests were answered")
            took += [time.monotonic() - began] * len(ready)
            for number, _ in ready:
                poll.unregister(number)
        heard = {line.socket.recv(65536)[-3:] for line in lines}
        if heard != {ANSWER[-3:]}:
            raise click.ClickException(f"some were answered otherwise: {heard}")
    took.sort()
    kib_each = (held["resident_kib"] - before) / count
    return Released(count=count, p50_s=median(took), p99_s=took[count * 99 // 100 - 1], kib_each=kib_each)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:  # noqa: ARG001  nothing is drawn
    found = costs(*((1, 500, 200) if quick else (5, 1000, 400)))
    release = released()
    print_table(
        "Medians, ms",
        ("", "direct", "through the gateway", "the gateway's part"),
        ("a request", f"{found.request_direct:.3f}", f"{found.request_through:.3f}", f"{found.request:.3f}"),
        ("a token", f"{found.token_direct:.3f}", f"{found.token_through:.3f}", f"{found.token:.3f}"),
    )
    print_table(
        f"{release.count} requests held for a function at zero, from its pod's being ready to their answers",
        ("", "median", "p99", "KiB each while held"),
        ("s", f"{release.p50_s:.3f}", f"{release.p99_s:.3f}", f"{release.kib_each:.0f}"),
    )
    print_goals(
        [
            Goal(what="the gateway's part of a request, ms, median", value=found.request, at_most=ADDS_AT_MOST_MS),
            Goal(what="the gateway's part of a token, ms, median", value=found.token, at_most=ADDS_AT_MOST_MS),
        ]
    )
    if as_json:
        print_json(dict(zip(KEYS, (found.request, found.token, release.p99_s, release.kib_each), strict=True)))


if __name__ == "__main__":
    main()
