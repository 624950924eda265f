"""The processes of a running `knative-mig dev` from outside: stopped, killed, and run once more with other words.

Used by `steering`. What a test wants otherwise than `dev` has it is a copy of the process with an option changed, while
the one of `dev` is stopped by a signal; whom the kernel has stopped is heard of no more, and a `dev` with `--keep-hung`
waits for its end.
"""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.waits import eventually

_CHILD: Final = "knative_mig.dev.whole.child"
_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process, by what it was told."""

    pid: int
    module: str
    words: tuple[str, ...]
    environment: Mapping[str, str]

    def told(self, option: str) -> str:
        return self.words[self.words.index(option) + 1]

    @property
    def ops(self) -> str:
        return f"{_HOST}:{self.told('--ops-port')}"

    def stop(self) -> None:
        """As if it were away: it says nothing until it is killed."""
        os.kill(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def has(self, **options: str) -> "Part":
        """The same with other words."""
        words = [*self.words]
        for option, value in options.items():
            name = f"--{option.replace('_', '-')}"
            if name in words:
                words[words.index(name) + 1] = value
            else:
                words += [name, value]
        return Part(pid=0, module=self.module, words=tuple(words), environment=self.environment)

    def named(self, name: str) -> "Part":
        """As who holds a Lease."""
        environment = {**self.environment, "POD_NAME": name}
        return Part(pid=0, module=self.module, words=self.words, environment=environment)


@dataclass(frozen=True, slots=True)
class Parts:
    dev: int  # its process
    logs: Path

    def all(self, module: str) -> list[Part]:
        """Those that `dev` runs now."""
        return [each for each in self._children() if each.module == module]

    def one(self, module: str) -> Part:
        return eventually(f"{module} runs", lambda: self.all(module), lambda found: len(found) == 1)[0]

    def wait_ready(self, module: str, *, other_than: Part | None = None) -> None:
        """Once more, after that one has ended."""
        before = None if other_than is None else other_than.pid
        eventually(
            f"{module} is ready again",
            lambda: any(each.pid != before and _answers(each.ops) for each in self.all(module)),
        )

    @contextmanager
    def copied(self, part: Part) -> Iterator[Part]:
        """Another process of it, that is ready; it is gone afterwards."""
        with (self.logs / f"{part.module}.copies.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", part.module, *part.words],
                env=dict(part.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            eventually(f"{part.module} is ready", lambda: _answers(part.ops))
            yield part
        finally:
            process.terminate()
            process.wait()

    def _children(self) -> Iterator[Part]:
        for path in Path("/proc").iterdir():
            if not path.name.isdecimal():
                continue
            try:
                words = (path / "cmdline").read_text().split("\0")[:-1]
                environment = dict(
                    each.split("=", 1) for each in (path / "environ").read_text().split("\0") if "=" in each
                )
            except OSError:  # it has gone
                continue
            if words[2:4] == [_CHILD, str(self.dev)]:
                yield Part(pid=int(path.name), module=words[4], words=tuple(words[5:]), environment=environment)


def free_port() -> str:
    with socket.create_server((_HOST, 0)) as held:
        return str(held.getsockname()[1])


def _answers(address: str) -> bool:
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
