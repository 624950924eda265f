"""`knative-mig dev` as a person runs it: a process of its own, what it prints, and what of it is left.

It ends with the process of the test, whatever ends that: the kernel tells it so, as it tells the processes of `dev`.

with RunningDev("--gpus", "1xA100-40GB") as dev:
    dev.client.create(...)
    dev.ask("tiny", "/v1/models")
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from knative_mig.adapters.kube.client import KubeClient

WITHIN_S: Final = 60.0
AS_IN_A_TERMINAL: Final = ("env", "--default-signal=HUP,INT")  # nohup, and a shell with its &, ignore these
_FOLDER: Final = re.compile(r"export KUBECONFIG=(\S+)/kubeconfig")


class RunningDev:
    def __init__(self, *options: str, files: int | None = None, **variables: str) -> None:
        """`variables`: of its environment, and so of its processes. `files`: it may have so many open, and never more;
        as many as we where nothing is said.
        """
        ends_with_us = (sys.executable, "-m", "knative_mig.dev.whole.child", str(os.getpid()))
        command = (*ends_with_us, "knative_mig.cli", "dev", "--port", "0", "--api-port", "0", *options)
        self.process = subprocess.Popen(
            [*AS_IN_A_TERMINAL, *limited(files), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, env={**os.environ, **variables},
        )  # fmt: skip
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.hear("Ctrl-C ends it")
        except AssertionError:
            self.process.kill()
            raise
        said = self.said
        self.folder = Path(self._found(_FOLDER, said))
        self.port = int(self._found(re.compile(r"localhost:([0-9]+)"), said))
        self.api = self._found(re.compile(r"API +(\S+)"), said)
        self.ready_s = float(self._found(re.compile(r"ready in ([0-9.]+) s"), said))
        self.client = KubeClient.of_kubeconfig(str(self.folder / "kubeconfig"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(WITHIN_S)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()

    @property
    def said(self) -> str:
        with self._heard:
            return "\n".join(self.lines)

    def hear(self, text: str, times: int = 1) -> None:
        with self._heard:
            heard = self._heard.wait_for(
                lambda: sum(text in line for line in self.lines) >= times or self.process.poll() is not None, WITHIN_S
            )
            assert heard, f"{text!r} was not said: {self.lines}"
            assert any(text in line for line in self.lines), f"it ended: {self.lines}"

    def ask(self, function: str, path: str, body: Any = None) -> tuple[int, str]:
        """By the Host header."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        headers = {"Host": f"{function}.default.localhost", "Content-Type": "application/json"}
        try:
            data = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def processes(self) -> set[int]:
        """All that it started and that are still there: its folder is in what they were told, or around them."""
        return {pid for pid, words in self._processes() if any(str(self.folder) in word for word in words)}

    def _processes(self) -> list[tuple[int, list[str]]]:
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdecimal() and int(path.name) != os.getpid():
                try:
                    text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
                except OSError:
                    continue
                found.append((int(path.name), text.decode(errors="replace").split("\0")))
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip())
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    @staticmethod
    def _found(pattern: re.Pattern[str], text: str) -> str:
        match = pattern.search(text)
        assert match, text
        return match[1]


def limited(files: int | None) -> tuple[str, ...]:
    """What to put before a program that may have no more open."""
    return () if files is None else ("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh")


def until(what: Callable[[], Any], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.02)
