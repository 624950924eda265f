"""Everything a person needs to see why a test failed, in one folder that the test's output names.

Called while the test's namespace is still there. Each part is collected on its own: a dead API server leaves the logs
of its end, and no part's failure hides another's.
"""

import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from tests.cluster.driver import Cluster, attach
from tests.cluster.testbed import status
from tests.cluster.testbed.errors import ClusterError

ROOT: Final = Path("build/e2e/evidence")
_SYSTEM: Final = ("knative-serving", "kourier-system", "knative-eventing", "knative-mig", "knative-mig-agent")
_OBJECTS: Final = (
    "services.serving.knative.dev,configurations,routes,revisions,podautoscalers.autoscaling.internal.knative.dev,"
    "serverlessservices,ingresses.networking.internal.knative.dev,deployments,replicasets,pods,services,endpointslices"
)
_LOG_BYTES: Final = 2 * 2**20  # of each component's log, from the end
_COLLECT_SECONDS: Final = 30
_PANICS: Final = (" panic serving ", " panic: ")  # of a Go program: at one request, or at all


def collect(test: str, namespace: str | None, failure: str) -> Path:
    name = re.sub(r"[^\w.-]+", "-", test)
    folder = ROOT.absolute() / f"{time.strftime('%H%M%S')}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure.txt").write_text(failure)
    try:
        cluster = attach()
    except ClusterError as error:
        (folder / "no-cluster.txt").write_text(str(error))
        return folder
    with ThreadPoolExecutor(max_workers=4) as pool:
        for file, ask in _parts(cluster, namespace).items():
            pool.submit(_write, folder / file, ask)
        if cluster.processes:
            pool.submit(_component_logs, cluster.processes.state.logs, folder / "components")
    return folder


def panics(folder: Path) -> list[str]:
    """Whoever was asked then has answered nobody: these lines are to stand beside the failure."""
    lines = (line for log in sorted(folder.glob("logs*.txt")) for line in log.read_text().splitlines())
    return [line for line in lines if any(words in line for words in _PANICS)]


def _parts(cluster: Cluster, namespace: str | None) -> dict[str, Callable[[], str]]:
    kubectl = cluster.kubectl

    def asked(*words: str) -> Callable[[], str]:
        return lambda: kubectl(*words, timeout=_COLLECT_SECONDS)

    parts: dict[str, Callable[[], str]] = {
        "about.txt": lambda: "\n".join(cluster.about),
        "nodes.yaml": asked("get", "nodes", "--output=yaml"),
        "pods.txt": asked("get", "pods", "--all-namespaces", "--output=wide"),
        "gpunodes.yaml": asked("get", "gpunodes", "--output=yaml"),
        "node-events.txt": asked("get", "events", "--namespace=default", "--sort-by=.lastTimestamp"),
    }
    if cluster.processes:
        parts["status.txt"] = lambda: "\n".join(str(finding) for finding in status.look())
    if namespace:
        place = f"--namespace={namespace}"
        parts["events.txt"] = asked("get", "events", place, "--sort-by=.lastTimestamp", "--output=wide")
        parts["objects.txt"] = asked("get", _OBJECTS, place, "--output=wide")
        parts["objects.yaml"] = asked("get", _OBJECTS, place, "--output=yaml")
        parts["logs.txt"] = partial(_pod_logs, cluster, namespace)
    for system in _SYSTEM:
        parts[f"logs-{system}.txt"] = partial(_pod_logs, cluster, system)
    return parts


def _pod_logs(cluster: Cluster, namespace: str) -> str:
    pods = cluster.kubectl("get", "pods", f"--namespace={namespace}", "--output=name", timeout=_COLLECT_SECONDS).split()
    texts = []
    for pod in pods:
        options = ["--all-containers", "--prefix", "--tail=2000", "--timestamps", "--ignore-errors"]
        texts.append(cluster.kubectl("logs", pod, f"--namespace={namespace}", *options, timeout=_COLLECT_SECONDS))
    return "\n".join(texts)


def _component_logs(logs: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for log in logs.glob("*.log"):
        with log.open("rb") as source, (folder / log.name).open("wb") as target:
            source.seek(max(0, log.stat().st_size - _LOG_BYTES))
            shutil.copyfileobj(source, target)


def _write(file: Path, ask: Callable[[], str]) -> None:
    try:
        text = ask()
    except (ClusterError, OSError) as error:
        text = f"could not be collected: {error}\n"
    file.write_text(text)
