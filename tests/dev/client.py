"""The real kubectl or kn as a person runs it, in a namespace of its own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Client:
    binary: Path
    home: Path
    namespace: str

    @property
    def command(self) -> list[str]:
        return [str(self.binary)]

    @property
    def environment(self) -> dict[str, str]:
        about = {"HOME": str(self.home), "KUBECONFIG": str(self.home / self.namespace)}
        return {**os.environ, **about, "GOGC": "off"}  # it runs for a moment, a quarter of which it would tidy up

    def __call__(self, *words: str, stdin: str = "") -> str:
        """What it prints; fails the test with what it says where it fails."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{self.binary.name} {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *words: str, stdin: str = "") -> str:
        """What it says to that."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, f"{self.binary.name} {' '.join(words)}: {done.stdout}"
        return done.stderr

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
