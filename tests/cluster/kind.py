"""placeholder"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    kubectl: Path
    kubeconfig: Path
    kn: Path
    gateway: str
    domain: str
    host: str
    versions: tuple[str, ...]


def attach() -> Attached:
    raise NotImplementedError
