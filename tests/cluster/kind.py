"""The suite's other cluster: kind with three nodes, Knative and Kourier from their released manifests (`KIND=1`).

For a machine with Docker and registries, where it takes no root and no Go. Only what a user of kind does by hand:
create, apply, wait. Tests that break processes or cables are marked `testbed_only` and deselected there.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import SOURCES
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.testbed.versions import versions

OVERLAY: Final = Path("config/overlays/kind")
NAME: Final = "knative-mig"
_STATE: Final = Path("build/e2e/kind")
_GATEWAY_PORT: Final = 31080  # as in the overlay's gateway.yaml
_DOMAIN: Final = "kind.example.com"  # as in its settings.yaml
_TOOLS: Final = {
    "docker": "https://docs.docker.com/engine/install",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start",
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "kn": "https://knative.dev/docs/client/install-kn",
}


def knative_release(module_version: str) -> str:
    """Knative counts its releases apart from its modules: v0.50.0 is knative-v1.23.0, for every repository of it."""
    found = re.fullmatch(r"v0\.(\d+)\.(\d+)", module_version)
    if found is None:
        raise BadInputError(f"{module_version} is not a version of a Knative module (v0.<minor>.<patch>)")
    return f"knative-v1.{int(found[1]) - 27}.{found[2]}"


def released() -> dict[str, str]:
    """The manifests to apply, in order, of the versions that the test bed builds."""
    known = versions().components
    serving, kourier = (knative_release(known[name].version) for name in ("serving", "kourier"))
    download = "https://github.com/{}/releases/download/{}/{}"
    return {
        "types": download.format("knative/serving", serving, "serving-crds.yaml"),
        "Serving": download.format("knative/serving", serving, "serving-core.yaml"),
        "Kourier": download.format("knative-extensions/net-kourier", kourier, "kourier.yaml"),
    }


class Run(Protocol):
    """Runs a command that must succeed; its standard output."""

    def __call__(self, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> str: ...


def _run(argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> str:
    return run(argv, env=env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What the suite's driver needs of it."""

    kubectl: Path
    kubeconfig: Path
    kn: Path
    gateway: str
    domain: str
    host: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    run: Run = field(default=_run)
    overlay: Path = OVERLAY
    state: Path = _STATE

    @property
    def kubeconfig(self) -> Path:
        return self.state.absolute() / "kubeconfig"

    def _kubectl(self, *words: str) -> str:
        return self.run(["kubectl", *words], env={"KUBECONFIG": str(self.kubeconfig)})

    def up(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        if NAME not in self.run(["kind", "get", "clusters"]).split():
            settings: list[str | Path] = [
                "--config",
                self.overlay / "cluster.yaml",
                "--kubeconfig",
                self.kubeconfig,
                "--wait",
                "120s",
            ]
            self.run(["kind", "create", "cluster", "--name", NAME, *settings])
        image: list[str | Path] = ["--build-arg", f"GO={versions().go}", "--file", self.overlay / "function.Dockerfile"]
        self.run(["docker", "build", "--tag", FUNCTION_IMAGE, *image, SOURCES / "modules/own"])
        self.run(["kind", "load", "docker-image", "--name", NAME, FUNCTION_IMAGE])
        for what, manifest in released().items():
            self._kubectl("apply", "--filename", manifest)
            if what == "types":  # an object of a type that is not established yet is refused
                self._kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self._available("knative-serving")
        self._available("kourier-system")
        # On the server's side: of these ConfigMaps and the Service only the keys that stand in the overlay are ours.
        self._kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(self.overlay))

    def _available(self, namespace: str) -> None:
        place = f"--namespace={namespace}"
        self._kubectl("wait", "--for=condition=Available", "deployment", "--all", place, "--timeout=300s")

    def down(self) -> None:
        self.run(["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", self.kubeconfig])

    def attach(self) -> Attached:
        if not self.kubeconfig.exists():
            raise BadInputError("no kind cluster is up: run `make e2e KIND=1 KEEP=1`")
        nodes = json.loads(self._kubectl("get", "nodes", "--output=json"))["items"]
        addresses = {
            node["metadata"]["name"]: next(
                a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"
            )
            for node in nodes
        }
        gateway = addresses[f"{NAME}-control-plane"]
        # Docker's bridge: the first address of the nodes' network is the machine itself.
        bridge = json.loads(self.run(["docker", "network", "inspect", "kind"]))[0]["IPAM"]["Config"]
        host = next(entry["Gateway"] for entry in bridge if "." in entry.get("Gateway", ""))
        return Attached(
            kubectl=Path(shutil.which("kubectl") or "kubectl"),
            kubeconfig=self.kubeconfig,
            kn=Path(shutil.which("kn") or "kn"),
            gateway=f"{gateway}:{_GATEWAY_PORT}",
            domain=_DOMAIN,
            host=host,
            versions=tuple(f"{what} {manifest.split('/')[-2]}" for what, manifest in released().items()),
        )


def require_tools() -> None:
    missing = [f"{tool} ({where})" for tool, where in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise BadInputError(f"KIND=1 needs {', '.join(missing)}: install it, or run `make e2e` without KIND=1")
