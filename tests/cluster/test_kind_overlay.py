"""kind cannot run here, but what its overlay changes can be put before the real API server and Knative's webhook."""

from tests.cluster.kind import OVERLAY
from tests.cluster.testbed.kubectl import Kubectl


def test_the_kind_overlay_renders_and_is_admitted(kubectl: Kubectl) -> None:
    rendered = kubectl("kustomize", str(OVERLAY))
    options = ["--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", "--output=name"]
    applied = kubectl("apply", *options, stdin=rendered).split()
    assert "service/kourier" in applied
    assert {"configmap/config-network", "configmap/config-deployment", "configmap/config-domain"} <= set(applied)
