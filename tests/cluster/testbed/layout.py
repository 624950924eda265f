"""Where things lie: the state of one cluster (thrown away by `down`) and the cache of what was built (kept).

Fixed places (`/run/…`) hold what a sweep must find even when the state folder was moved or deleted.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.testbed.scratch import remove_abandoned

STATE_VARIABLE: Final = "KNATIVE_MIG_TESTBED_STATE"
CACHE_VARIABLE: Final = "KNATIVE_MIG_TESTBED_CACHE"

SOURCES: Final = Path(__file__).parent
RUN: Final = Path("/run/knative-mig-testbed")
LOCK: Final = RUN / "lock"
STATE_POINTER: Final = RUN / "state"
NAMESPACE_PINS: Final = RUN / "ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    root: Path

    @classmethod
    def from_environment(cls) -> "State":
        chosen = os.environ.get(STATE_VARIABLE)
        return cls(root=Path(chosen).absolute() if chosen else Path("/var/tmp/knative-mig-testbed"))  # noqa: S108

    @property
    def marker(self) -> Path:
        """A folder without it is never deleted."""
        return self.root / ".knative-mig-testbed"

    @property
    def ready(self) -> Path:
        """Written when everything is up; holds which add-ons are."""
        return self.root / "ready.json"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def records(self) -> Path:
        return self.root / "run"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.kubeconfig"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def environment(self) -> Path:
        """A file to source: KUBECONFIG and PATH."""
        return self.root / "env"

    def node(self, name: str) -> "NodeFolder":
        return NodeFolder(root=self.root / "nodes" / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFolder:
    """What a node sees under its usual paths: folders mounted over the machine's own in its mount namespace.

    The kubelet's device-plugin folder, containerd's and runc's sockets cannot all be configured elsewhere.
    """

    root: Path

    @property
    def mounts(self) -> dict[str, Path]:
        return {f"/{path}": self.root / path.replace("/", "-") for path in ("run", "var/lib", "var/log")}

    @property
    def containerd_socket(self) -> Path:
        return self.root / "run" / "containerd" / "containerd.sock"

    @property
    def device_plugins(self) -> Path:
        return self.root / "var-lib" / "kubelet" / "device-plugins"

    @property
    def cdi(self) -> Path:
        return self.root / "run" / "cdi"

    @property
    def settings(self) -> Path:
        return self.root / "etc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    root: Path

    @classmethod
    def from_environment(cls) -> "Cache":
        chosen = os.environ.get(CACHE_VARIABLE)
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(root=Path(chosen).absolute() if chosen else base / "knative-mig" / "testbed")

    def remove_half_done(self) -> None:
        for folder in (self.builds, self.images, self.downloads):
            remove_abandoned(folder)

    @property
    def builds(self) -> Path:
        return self.root / "build"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"
