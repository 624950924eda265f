"""Our system in the test cluster: the planner, and agents on simulated GPUs, made from this checkout.

    python -m tests.cluster.system up|down

`deployed` is what tests call (the `deployed` fixture). Whoever asks first builds the image, loads it into the nodes and
applies config/overlays/simulated; the others wait for that and find it done. It stays until the cluster goes, and comes
anew where the checkout has changed: the image's tag is a hash of what is in it.
"""

import argparse
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from tests.cluster.testbed import cluster as testbed
from tests.cluster.testbed import python_images
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.images import REGISTRY, Image
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.topology import POOL_LABEL

CHECKOUT: Final = Path(__file__).parents[2]
REQUIREMENTS: Final = CHECKOUT / "requirements" / "runtime.txt"
PLANNER_NAMESPACE: Final = "knative-mig"
AGENT_NAMESPACE: Final = "knative-mig-agent"
STATE: Final = Path("/var/lib/knative-mig/simulated-gpus")  # on each node; the overlay says so
_OVERLAY: Final = CHECKOUT / "config" / "overlays" / "simulated"
_READY_SECONDS: Final = 120.0
# All workers of one run of pytest know it: the second to ask need not even look whether the checkout has changed.
_RUN_VARIABLE: Final = "PYTEST_XDIST_TESTRUNUID"


def image(cache: Cache) -> Image:
    """One for the planner and the agent; its tag says what is in it."""
    base = python_images.base(REQUIREMENTS, cache)
    built = python_images.project(f"{REGISTRY}/knative-mig:dev", base, CHECKOUT, cache)
    inside = " ".join(str(tree.name) for part in (base, built) for _, tree in part.trees)
    tag = hashlib.sha256(inside.encode()).hexdigest()[:12]
    return replace(built, name=f"{REGISTRY}/knative-mig:{tag}")


def deployed(cluster: testbed.Cluster) -> None:
    """Deploys what this checkout is, unless that is there."""
    with _alone(cluster):
        stamp = _stamp(cluster)
        run = os.environ.get(_RUN_VARIABLE, f"process {os.getpid()}")
        known, _, by = stamp.read_text().partition(" ") if stamp.exists() else ("", "", "")
        if by == run:
            return
        built = image(cluster.cache)
        manifests = rendered(cluster.kubectl, built)
        fingerprint = hashlib.sha256(manifests.encode()).hexdigest()
        if known != fingerprint:
            stamp.unlink(missing_ok=True)
            cluster.load(built)
            _drop_older(cluster.cache, built)
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=manifests)
            wait_ready(cluster.kubectl)
        stamp.write_text(f"{fingerprint} {run}")


def rendered(kubectl: Kubectl, built: Image) -> str:
    """The overlay with this image. The planner keeps off the nodes that tests break and fill, and the pending source
    writes down what it sends.
    """
    documents = list(yaml.safe_load_all(kubectl("kustomize", str(_OVERLAY))))
    for document in documents:
        if document["kind"] in ("Deployment", "DaemonSet"):
            pod = document["spec"]["template"]["spec"]
            for container in pod["containers"]:
                container["image"] = built.name
            if document["metadata"]["name"] == "source":
                pod["containers"][0]["env"] = [{"name": "KNATIVE_MIG_LOG_LEVEL", "value": "debug"}]
            if document["kind"] == "Deployment":
                pod["nodeSelector"] = {POOL_LABEL: "system"}
    return str(yaml.safe_dump_all(documents))


def _drop_older(cache: Cache, built: Image) -> None:
    """An archive has 300 MB, and each change of the checkout makes another."""
    name, _, tag = built.name.rpartition(":")
    for path in cache.images.glob(f"{name.replace('/', '_')}_*.tar"):
        if f"_{tag}-" not in path.name:
            path.unlink(missing_ok=True)


def wait_ready(kubectl: Kubectl, *, seconds: float = _READY_SECONDS) -> None:
    deployments = ("planner", "source", "knative-mig-webhook")
    places = (
        (AGENT_NAMESPACE, "daemonset/agent"),
        *((PLANNER_NAMESPACE, f"deployment/{name}") for name in deployments),
    )
    for namespace, name in places:
        try:
            kubectl(
                "rollout", "status", name, f"--namespace={namespace}", f"--timeout={seconds:.0f}s",
                timeout=seconds + 10,
            )  # fmt: skip
        except ClusterError as error:
            reasons = kubectl.unready_pods(namespace)
            raise ClusterError(f"{name} is not ready after {seconds:.0f} s: {'; '.join(reasons) or error}") from None


def remove(cluster: testbed.Cluster) -> None:
    with _alone(cluster):
        _stamp(cluster).unlink(missing_ok=True)
        cluster.kubectl(
            "delete", "--kustomize", str(_OVERLAY), "--ignore-not-found", "--wait", "--timeout=60s", timeout=70
        )


def is_deployed(cluster: testbed.Cluster) -> bool:
    return _stamp(cluster).exists()


def _stamp(cluster: testbed.Cluster) -> Path:
    """The fingerprint of what is there, and who looked at it last."""
    return cluster.state.root / "knative-mig-deployed"


@contextmanager
def _alone(cluster: testbed.Cluster) -> Iterator[None]:
    with (cluster.state.root / "knative-mig.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.system", description=__doc__)
    parser.add_argument("what", choices=("up", "down"))
    what = parser.parse_args().what
    try:
        (deployed if what == "up" else remove)(testbed.Cluster.attach())
    except ClusterError as error:
        sys.stderr.write(f"system: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
