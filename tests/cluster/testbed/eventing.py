"""Installs Knative Eventing with the in-memory channel and the multi-tenant channel broker."""

from tests.cluster.testbed import manifests
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.kubectl import Kubectl, retry
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.topology import Topology

NAMESPACE = "knative-eventing"
# Parts of Eventing that nothing here uses and that would only cost memory.
_LEFT_OUT = frozenset({"job-sink", "pingsource-mt-adapter", "request-reply"})


def install(kubectl: Kubectl, builds: dict[str, Build], state: State, topology: Topology, progress: Progress) -> None:
    release = builds["eventing"].manifests("knative.dev/eventing")
    core = release / "config" / "core"
    channel = release / "config" / "channels" / "in-memory-channel"
    broker = release / "config" / "brokers" / "mt-channel-broker"

    types = manifests.adapt(
        manifests.read([*core.glob("resources/*.yaml"), *channel.glob("resources/*.yaml")]), topology
    )
    paths = [
        *sorted(core.glob("*.yaml")),
        *sorted(core.glob("[!r]*/*.yaml")),  # all but resources and roles
        *sorted(core.glob("roles/*.yaml")),
        # The controller does not start without these two ConfigMaps of image names.
        *sorted(release.glob("third_party/eventing-integrations-latest/*.yaml")),
        *sorted(channel.glob("*.yaml")),
        *sorted(channel.glob("[!r]*/*.yaml")),
        *sorted(channel.glob("roles/*.yaml")),
        *sorted(broker.glob("roles/*.yaml")),
        *sorted(broker.glob("deployments/*.yaml")),
    ]
    everything = [
        document
        for document in manifests.adapt(manifests.read(paths), topology)
        if not (document["kind"] in ("Deployment", "StatefulSet") and document["metadata"]["name"] in _LEFT_OUT)
    ]
    ordinary, webhooks = manifests.split_webhooks(everything)
    folder = state.manifests
    with progress.step("Eventing's types established"):
        path = manifests.write(types, folder / "eventing-types.json")
        kubectl.apply(path)
        kubectl.wait("condition=Established", "--filename", str(path), seconds=60)
    with progress.step("Eventing applied"):
        kubectl.apply(manifests.write(ordinary, folder / "eventing.json"))
    with progress.step("Eventing's webhooks available"):
        kubectl.wait_available(NAMESPACE, "eventing-webhook")
    retry(lambda: kubectl.apply(manifests.write(webhooks, folder / "eventing-webhooks.json")), seconds=30)
    with progress.step("Knative Eventing available"):
        kubectl.wait_available(NAMESPACE)
