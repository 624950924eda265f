"""Relays as processes, each with an engine behind it as a process, and a client that reads a stream of theirs."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from services.relay.child import descendants
from services.tiny_llm import safetensors
from tests.rigs.tiny_models import SMALL, random_parameters
from tests.rigs.tiny_server import PATIENCE_S

SECRET: Final = "the-namespaces-secret"  # noqa: S105 - it is one of tests
# Some milliseconds a token, so that there is a middle of a stream.
PACED: Final = (
    "--pace", "llama-3-8b", "--memory-mib", "144384", "--sm", "132", "--compute-share", "1", "--pace-gpu", "H200-141GB",
)  # fmt: skip

SLOWLY: Final = "slowly"


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.01)


def tiny_llm(folder: Path) -> list[str]:
    weights = folder / "small.safetensors"
    if not weights.exists():
        safetensors.write(weights, random_parameters(), SMALL.metadata())
    return [
        sys.executable, "-m", "tests.rigs.slow_tiny_llm", str(folder / SLOWLY), "--weights", str(weights), *PACED
    ]  # fmt: skip


@contextmanager
def slowly(folder: Path) -> Iterator[None]:
    """Tokens come slowly meanwhile, from all engines that were started with this folder: no stream of theirs ends."""
    (folder / SLOWLY).touch()
    try:
        yield
    finally:
        (folder / SLOWLY).unlink()


class RelayProcess:
    def __init__(
        self, folder: Path, *arguments: str, function_url: str = "", engine: Sequence[str] | None = None
    ) -> None:
        (folder / "secret").write_text(f"{SECRET}\n")
        own = [
            "--host", "127.0.0.1", "--port", "0", "--move-port", "0", "--secret-file", str(folder / "secret"),
            "--slice-dir", str(folder / "no slice"), "--function-url", function_url,
        ]  # fmt: skip
        command = [sys.executable, "-m", "services.relay", *own, *arguments, "--", *(engine or tiny_llm(folder))]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.port = self.move_port = self.engine = 0
        self.lines: list[str] = []

    def wait_until_ready(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"relayed on port (\d+), moves on port (\d+)", line):
                self.port, self.move_port = int(found[1]), int(found[2])
                break
        assert self.port, self.lines
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (self.engine,) = map(int, children)

    @property
    def engine_lives(self) -> bool:
        return Path(f"/proc/{self.engine}").exists()

    def signal_engine(self, number: signal.Signals) -> None:
        """With all that it has started."""
        for pid in (self.engine, *descendants(self.engine)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """The relay, and not its engine."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def end(self) -> None:
        engine = (self.engine, *descendants(self.engine)) if self.engine_lives else ()
        self.kill()
        for pid in engine:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return asked(self.port, method, path, body)

    def migrate(self, to: "RelayProcess") -> tuple[int, Any]:
        body = {"to": f"http://127.0.0.1:{to.move_port}"}
        return asked(self.move_port, "POST", "/migrate", body, Authorization=f"Bearer {SECRET}")

    def generations(self) -> list[Any]:
        """That are here, or on their way here."""
        found: list[Any] = asked(self.move_port, "GET", "/generations", Authorization=f"Bearer {SECRET}")[1][
            "generations"
        ]
        return found

    def running(self) -> int:
        """Generations in the engine, or on their way to it."""
        _, text = self.ask("GET", "/metrics")
        found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\d+)", text, re.MULTILINE)
        return sum(map(int, found))


def asked(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(data) if data[:1] in b"{[" and data else data.decode()


@contextmanager
def relays(
    folder: Path, count: int = 2, *arguments: str, function_url: str = "", engine: Sequence[str] | None = None
) -> Iterator[list[RelayProcess]]:
    started = [RelayProcess(folder, *arguments, function_url=function_url, engine=engine) for _ in range(count)]
    try:
        for each in started:
            each.wait_until_ready()
        yield started
    finally:
        for each in started:
            each.end()


class Reader:
    """A client that reads a stream to its end, on a thread of its own."""

    def __init__(self, port: int, path: str, body: dict[str, Any], *, host: str = "127.0.0.1") -> None:
        self.chunks: list[Any] = []
        self.is_done = False  # [DONE] has come
        self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        self._connection.request("POST", path, json.dumps({**body, "stream": True}))
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):
            for line in self._answer:  # http.client ends it without a word, wherever that is
                if line.strip() == b"data: [DONE]":
                    self.is_done = True
                elif line.startswith(b"data: "):
                    self.chunks.append(json.loads(line[6:]))

    def read_until(self, count: int) -> None:
        until(lambda: len(self.chunks) >= count or not self._thread.is_alive(), f"chunk {count}")
        assert len(self.chunks) >= count, self.chunks[-1:]

    def read_all(self) -> "Reader":
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "it hangs"
        self._connection.close()
        return self

    def hang_up(self) -> None:
        assert self._connection.sock is not None
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.read_all()

    @property
    def error(self) -> str:
        return self.chunks[-1]["error"]["message"] if self.chunks and "error" in self.chunks[-1] else ""

    @property
    def identities(self) -> set[tuple[str, int]]:
        return {(chunk["id"], chunk["created"]) for chunk in self.chunks if "error" not in chunk}

    @property
    def told(self) -> list[Any]:
        """All that a client could tell from another answer to the same request."""
        return [
            {name: value for name, value in chunk.items() if name not in {"id", "created"}}
            for chunk in self.chunks
            if "error" not in chunk
        ]
