"""Installs Knative Serving with Kourier from the released manifests.

The order is what a boot waits for: types first (an informer of a missing type ends its process), webhook
configurations only when the webhook answers, the gateway only when its control plane does.
"""

import http.client
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import manifests
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.kubectl import Kubectl, retry
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.manifests import Document
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.topology import Topology

NAMESPACE = "knative-serving"
GATEWAY_NAMESPACE = "kourier-system"
GATEWAY = "3scale-kourier-gateway"
DEPLOYMENTS = ("activator", "autoscaler", "autoscaler-hpa", "controller", "net-kourier-controller", "webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The applies, in order."""

    types: Path
    core: Path
    gateway: Path
    webhooks: Path
    last: Path


def render(builds: dict[str, Build], state: State, topology: Topology) -> Rendered:
    build = builds["serving"]
    serving = build.manifests("knative.dev/serving") / "config"
    networking = build.manifests("knative.dev/networking") / "config"
    caching = build.manifests("knative.dev/caching") / "config"
    kourier = builds["kourier"].manifests("knative.dev/net-kourier") / "config"
    core = serving / "core"

    def adapted(*patterns: tuple[Path, str]) -> list[Document]:
        paths = [path for folder, pattern in patterns for path in sorted(folder.glob(pattern))]
        return manifests.adapt(manifests.read(paths), topology)

    # certificate, domain-claim, ingress, serverlessservice: symlinks in serving's repository.
    types = adapted((core / "300-resources", "*.yaml"), (networking, "[!c]*.yaml"), (networking, "certificate.yaml"))
    types += adapted((caching, "image.yaml"))
    everything = adapted(
        (core, "100-*.yaml"),
        (core, "200-*.yaml"),
        (core / "200-roles", "*.yaml"),
        (core / "configmaps", "*.yaml"),
        (networking, "config-network.yaml"),
        (core / "deployments", "*.yaml"),
        (core / "webhooks", "*.yaml"),
        (serving / "hpa-autoscaling", "*.yaml"),
        (kourier, "*.yaml"),
    )
    ordinary, webhooks = manifests.split_webhooks(everything)
    gateway = [document for document in ordinary if document["metadata"]["name"] == GATEWAY]
    ordinary = [document for document in ordinary if document not in gateway]
    folder = state.manifests
    return Rendered(
        types=manifests.write(types, folder / "serving-types.json"),
        core=manifests.write(ordinary, folder / "serving.json"),
        gateway=manifests.write(gateway, folder / "kourier-gateway.json"),
        webhooks=manifests.write(webhooks, folder / "serving-webhooks.json"),
        # Objects of Knative's own types, which its webhook must admit.
        last=manifests.write(
            adapted((core, "300-knativecertificate.yaml"), (core, "999-*.yaml")), folder / "serving-last.json"
        ),
    )


def apply_types(kubectl: Kubectl, rendered: Rendered, progress: Progress) -> None:
    with progress.step("Knative's types established"):
        kubectl.apply(rendered.types)
        kubectl.wait("condition=Established", "--filename", str(rendered.types), seconds=60)


def apply_core(kubectl: Kubectl, rendered: Rendered, topology: Topology, progress: Progress) -> None:
    with progress.step("Knative Serving and Kourier applied"):
        kubectl.apply(rendered.core)
        # We are the load balancer: kube-proxy of the system node takes what arrives at this address for the gateway.
        status = f'{{"status": {{"loadBalancer": {{"ingress": [{{"ip": "{topology.gateway}"}}]}}}}}}'
        place = f"--namespace={GATEWAY_NAMESPACE}"
        kubectl("patch", "service", "kourier", place, "--subresource=status", "--type=merge", "--patch", status)


def gateway_trouble(topology: Topology) -> str | None:
    """None where Envoy answers the host; to a name that no function has it says 404."""
    connection = http.client.HTTPConnection(str(topology.gateway), 80, timeout=3)
    try:
        connection.request("GET", "/", headers={"Host": "nobody.invalid"})
        answer = connection.getresponse()
    except OSError as error:
        return str(error)
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.NOT_FOUND else f"answers {answer.status} to an unknown host"


def wait_gateway(topology: Topology, seconds: float = 30) -> None:
    """kube-proxy learns of the gateway's pod a moment after the Deployment is available."""
    deadline = time.monotonic() + seconds
    while (trouble := gateway_trouble(topology)) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(f"the gateway at {topology.gateway}:80 is not reached after {seconds:.0f} s: {trouble}")
        time.sleep(0.1)


def wait_available(kubectl: Kubectl, rendered: Rendered, progress: Progress) -> None:
    with progress.step("Kourier's control plane available"):
        kubectl.wait_available(NAMESPACE, "net-kourier-controller")
    kubectl.apply(rendered.gateway)
    with progress.step("Serving's webhook available"):
        kubectl.wait_available(NAMESPACE, "webhook")
    kubectl.apply(rendered.webhooks)
    # The webhook fills in its certificate a moment after the configurations are there.
    retry(lambda: kubectl.apply(rendered.last), seconds=60)
    with progress.step("Knative Serving and the gateway available"):
        kubectl.wait_available(NAMESPACE, *DEPLOYMENTS)
        kubectl.wait_available(GATEWAY_NAMESPACE, GATEWAY)
