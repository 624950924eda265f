"""Knative's own autoscaler as a process: built from its module at the release that the test cluster runs, then asked.

Called by `campaign`. The build is kept in the test cluster's cache under a key of what it is made of; a machine without
Go, or whose Go is too old, is told so in one line.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from tests.cluster.testbed.build import GO_ENVIRONMENT, go_version, require_go, told
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.scratch import drop_unused, publish, scratch
from tests.cluster.testbed.shell import CommandError, run
from tests.cluster.testbed.versions import versions
from tests.kpa_campaign.series import Series

SOURCES: Final = Path(__file__).parent / "oracle"
_NAME: Final = "kpa-oracle"
_ENDS_WITHIN_S: Final = 10.0
# Only what decides nothing may be left out: a race in Knative's code would show as an answer that differs.
_BUILD: Final = ("go", "test", "-c", "-trimpath", "-vet=off", "-ldflags=-s -w", "-o")


class OracleFailed(Exception):
    """It ended without an answer: its last words are in the message."""


def built(say: Callable[[str], None]) -> Path:
    """The program, made now where the cache lacks it."""
    go = go_version()
    require_go(go, versions().go)
    builds = Cache.from_environment().builds
    finished = builds / f"{_NAME}-{_key(go)}"
    if finished.is_dir():
        finished.touch()
        return finished / _NAME
    drop_unused(builds, f"{_NAME}-*", days=7)
    say(f"building Knative's autoscaler, serving {versions().components['serving'].version}")
    with scratch(builds, _NAME) as folder:
        made = folder / "build"
        made.mkdir()
        try:
            run([*_BUILD, made / _NAME, "."], cwd=SOURCES, env=GO_ENVIRONMENT, timeout=1800)
        except CommandError as error:
            if trouble := told(_NAME, error.output):
                raise BadInputError(trouble) from None
            raise
        publish(made, finished)
    return finished / _NAME


def _key(go: str) -> str:
    digest = hashlib.sha256(f"{go} {_BUILD}\n".encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Oracle:
    """One question, then its answer: it works while the next series is drawn."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program, "-test.run=^TestOracle$"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.read()
        try:
            self._process.wait(_ENDS_WITHIN_S)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def ask(self, series: Series) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(series.to_json()) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("") from None

    def answer(self) -> list[dict[str, Any]]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.startswith("["):
            raise self._failed(line)
        answers: list[dict[str, Any]] = json.loads(line)
        return answers

    def _failed(self, line: str) -> OracleFailed:
        assert self._process.stdout
        words = [each for each in (line + self._process.stdout.read()).splitlines() if each.strip()]
        return OracleFailed(" | ".join(words[:6]))
