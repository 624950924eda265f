"""The real kubectl against the test cluster, and what the boot asks of it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.shell import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    binary: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        return run([self.binary, *arguments], env={"KUBECONFIG": str(self.kubeconfig)}, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found

    def apply(self, manifest: Path) -> None:
        self("apply", "--filename", str(manifest))

    def wait(self, condition: str, *targets: str, namespace: str | None = None, seconds: float = 120) -> None:
        place = [f"--namespace={namespace}"] if namespace else []
        self("wait", f"--for={condition}", f"--timeout={seconds:.0f}s", *place, *targets, timeout=seconds + 10)

    def wait_available(self, namespace: str, *deployments: str, seconds: float = 120) -> None:
        """Waits for Deployments; on failure says which pod is in the way and why."""
        try:
            self.wait(
                "condition=Available", "deployment", *(deployments or ("--all",)), namespace=namespace, seconds=seconds
            )
        except ClusterError as error:
            reasons = self.unready_pods(namespace)
            raise ClusterError(f"in {namespace} after {seconds:.0f} s: {'; '.join(reasons) or error}") from None

    def unready_pods(self, namespace: str) -> list[str]:
        return [
            f"pod {pod['metadata']['name']}: {reason}"
            for pod in self.get("pods", f"--namespace={namespace}")["items"]
            if (reason := why_unready(pod))
        ]


def why_unready(pod: dict[str, Any]) -> str | None:
    """None for a pod that is Ready or done; else the most telling line of its status."""
    status = pod.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", [])}
    if status.get("phase") == "Succeeded" or conditions.get("Ready", {}).get("status") == "True":
        return None
    for container in status.get("containerStatuses", []):
        for state in ("waiting", "terminated"):
            if found := container.get("state", {}).get(state):
                return f"{container['name']} {found.get('reason', state)} {found.get('message', '')}".strip()
    if (scheduled := conditions.get("PodScheduled", {})).get("status") == "False":
        return f"{scheduled.get('reason')}: {scheduled.get('message', '')}"
    return f"phase {status.get('phase', 'unknown')}, not Ready"


def retry(action: Callable[[], None], seconds: float) -> None:
    """Repeats what may fail while a webhook or a type is just coming up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except ClusterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
