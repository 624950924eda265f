"""An image made of Debian packages, wheels and the project's own wheel runs on a node, as the user it must run as."""

from pathlib import Path

import pytest

from tests.cluster.api import NAMESPACE, POD, Api, Object
from tests.cluster.driver import Cluster
from tests.cluster.gpu_node import GpuNode
from tests.cluster.testbed import images, python_images
from tests.cluster.waits import until

_CHECKOUT = Path(__file__).parents[2]
_RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.testbed_only
@pytest.mark.slow(60)
@pytest.mark.timeout(900, func_only=True)  # from empty caches it downloads and compiles all that the image holds
def test_the_projects_own_command_runs_in_a_pod_at_the_restricted_level(
    cluster: Cluster, api: Api, namespace: str, gpu_node: GpuNode
) -> None:
    cache = cluster.testbed.cache
    base = python_images.base(_CHECKOUT / "requirements" / "runtime.txt", cache)
    image = python_images.project(f"{images.REGISTRY}/cli:test", base, _CHECKOUT, cache, module="knative_mig.cli.main")
    cluster.testbed.load(image, gpu_node.name)

    api.merge(NAMESPACE, namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    container = {
        "name": "cli",
        "image": image.name,
        "args": ["profiles", "A100-40GB"],
        "securityContext": _RESTRICTED,
    }
    here = {"kubernetes.io/hostname": gpu_node.name}
    spec = {"containers": [container], "restartPolicy": "Never", "nodeSelector": here}
    api.create(POD, {"metadata": {"name": "cli"}, "spec": spec}, namespace)
    until(api, POD.named("cli", namespace), "ended well", lambda pod: pod["status"].get("phase") == "Succeeded")
    assert "3g.20gb" in api.text(f"{POD.path(namespace, 'cli')}/log")
