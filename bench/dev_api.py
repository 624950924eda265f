"""The Kubernetes API of a running `knative-mig dev` with many objects and many watches, for `bench.dev`.

Its clients are this process, which opens a connection for each watch and reads them on one thread: what is measured is
when the last of them has heard of a change that another connection has made.
"""

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import click

from tests.cluster.api import CONFIG_MAP, NAMESPACE, Api

_NAMESPACE: Final = "bench"
_PATIENCE_S: Final = 30.0
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Milliseconds, each time."""

    list_ms: list[float]
    table_ms: list[float]
    create_ms: list[float]
    heard_ms: list[float]
    watches: int

    def rows(self) -> Iterator[tuple[str, list[float]]]:
        yield "one is created", self.create_ms
        yield "all are listed", self.list_ms
        yield "all as kubectl's table", self.table_ms
        yield f"the last of {self.watches} watches hears of a change", self.heard_ms


def measured(api: Api, objects: int, watches: int, *, rounds: int) -> Measured:
    with ExitStack() as opened:
        api.create(NAMESPACE, {"metadata": {"name": _NAMESPACE}})
        created = []
        for number in range(objects):
            body = {"metadata": {"name": f"c-{number:04}"}, "data": {"key": "value" * 20}}
            began = time.perf_counter()
            api.create(CONFIG_MAP, body, _NAMESPACE)
            created.append((time.perf_counter() - began) * 1000)
        path = CONFIG_MAP.path(_NAMESPACE)
        line = http.client.HTTPConnection(api.host, api.port, timeout=_PATIENCE_S)
        opened.callback(line.close)
        lists, tables = [], []
        for _ in range(rounds):
            lists.append(_listed_ms(line, path, "application/json", objects))
            tables.append(_listed_ms(line, path, _TABLE, objects))
        version = str(api.call("GET", path)["metadata"]["resourceVersion"])
        lines = [opened.enter_context(_watch(api, path, version)) for _ in range(watches)]
        heard = [_heard_ms(api, lines, number) for number in range(rounds)]
    return Measured(list_ms=lists, table_ms=tables, create_ms=created, heard_ms=heard, watches=watches)


def _listed_ms(line: http.client.HTTPConnection, path: str, accept: str, count: int) -> float:
    began = time.perf_counter()
    line.request("GET", path, headers={"Accept": accept})
    text = line.getresponse().read()
    took = (time.perf_counter() - began) * 1000
    found = json.loads(text)
    if len(found.get("items") or found["rows"]) < count:
        raise click.ClickException(f"{path} lists {len(text)} bytes: not all {count} objects")
    return took


def _watch(api: Api, path: str, version: str) -> socket.socket:
    line = socket.create_connection((api.host, api.port), timeout=_PATIENCE_S)
    query = f"watch=1&resourceVersion={version}&timeoutSeconds=600"
    line.sendall(f"GET {path}?{query} HTTP/1.1\r\nHost: {api.host}\r\nAccept: application/json\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += line.recv(4096)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise click.ClickException(f"a watch was refused: {head.decode(errors='replace')}")
    return line


def _heard_ms(api: Api, lines: list[socket.socket], number: int) -> float:
    """From before the change is sent until each watch has the end of its event."""
    poll, word = select.poll(), f"word-{number}-".encode()
    by_number = {line.fileno(): line for line in lines}
    for each in by_number:
        poll.register(each, select.POLLIN)
    heard = dict.fromkeys(by_number, b"")
    began = time.perf_counter()
    api.merge(CONFIG_MAP, "c-0000", {"data": {"key": word.decode()}}, _NAMESPACE)
    while heard:
        ready = poll.poll(_PATIENCE_S * 1000)
        if not ready:
            raise click.ClickException(f"{len(heard)} watches have not heard of a change")
        for each, _ in ready:
            heard[each] += by_number[each].recv(65536)
            if word in heard[each] and heard[each].endswith(b"\n\r\n"):
                del heard[each]
                poll.unregister(each)
    return (time.perf_counter() - began) * 1000
