"""The real kn, as a user runs it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kn:
    binary: Path
    kubeconfig: Path
    namespace: str

    def __call__(self, *words: str, seconds: float = 150) -> str:
        """What it prints; fails the test with what it says where it fails."""
        done = self.run(*words, seconds=seconds)
        assert done.returncode == 0, f"kn {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *words: str, seconds: float = 150) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binary, *words, "--namespace", self.namespace],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
