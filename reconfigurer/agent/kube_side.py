"""The agent's side of the API server: the mirrors and the writers that it needs, as one value.

Made in `process`, or by tests from their own ports. The subtle thing is the node's layout label, which says whether
this agent may change anything: it is needed before anything else, so it is remembered on the disk for a start while
the API server is away, and looked at again while the agent runs. When it changes the agent ends, to start as the other.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from knative_mig.adapters.kube import gpu_nodes, parse
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.leases import KubeLeases
from knative_mig.adapters.kube.node_statuses import KubeNodeStatuses
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import LAYOUT_LABEL, GpuNode, Layout
from knative_mig.ports.kube import ClusterError, EventRecorder, GpuNodes, Key, Leases, Mirror, NodeStatuses, Pods
from reconfigurer.agent.settings import Settings

_log = logging.getLogger(__name__)
LOOK_AT_LABEL_EACH_S: Final = 60.0
ASK_AGAIN_S: Final = 1.0
Body = Callable[[threading.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeSide:
    gpu_nodes: GpuNodes
    node_statuses: NodeStatuses
    pods: Pods
    leases: Leases
    events: EventRecorder
    spec_mirror: Mirror[GpuNode]
    pod_mirror: Mirror[PodFacts]
    read_layout: Callable[[], Layout]
    bodies: Mapping[str, Body] = field(default_factory=dict)  # what runs on threads, by their names
    interrupt: Callable[[], None] = lambda: None  # mirrors that wait for the server end now

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        return cls.of(KubeClient.of(settings.kubeconfig, user_agent="knative-mig-agent"), settings)

    @classmethod
    def of(cls, client: KubeClient, settings: Settings) -> Self:
        node = settings.node
        specs = gpu_nodes.mirror(client, node)
        pods = KubeMirror(client, POD, parse.pod, field_selector=f"spec.nodeName={node}")
        events = KubeEvents(client, component="knative-mig-agent", instance=node)

        def read_layout() -> Layout:
            label = parse.node(client.get(NODE, Key("", node))).labels.get(LAYOUT_LABEL)
            return Layout.STATIC if label == Layout.STATIC else Layout.DYNAMIC

        def interrupt() -> None:
            specs.interrupt()
            pods.interrupt()

        return cls(
            gpu_nodes=gpu_nodes.KubeGpuNodes(client),
            node_statuses=KubeNodeStatuses(client),
            pods=KubePods(client),
            leases=KubeLeases(client),
            events=events,
            spec_mirror=specs,
            pod_mirror=pods,
            read_layout=read_layout,
            bodies={"mirror-spec": specs.run, "mirror-pods": pods.run, "events": events.run},
            interrupt=interrupt,
        )

    def layout(self, remembered: Path, sleep: Callable[[float], None] = time.sleep) -> Layout:
        """Waits for the API server where nobody has said it before."""
        while True:
            try:
                layout = self.read_layout()
            except ClusterError as error:
                if (before := _remembered(remembered)) is not None:
                    _log.warning("the layout of the node is %s as remembered: %s", before, error)
                    return before
                _log.warning("the layout of the node is not known yet: %s", error)
                sleep(ASK_AGAIN_S)
            else:
                _remember(remembered, layout)
                return layout

    def layout_changed(self, layout: Layout, remembered: Path, stop: threading.Event) -> bool:
        """Returns when the label says another layout, with True, or at a stop."""
        while not stop.wait(LOOK_AT_LABEL_EACH_S):
            try:
                now = self.read_layout()
            except ClusterError:
                continue
            if now is not layout:
                _log.warning("the layout of the node is %s now: the agent ends, to start anew", now)
                _remember(remembered, now)
                return True
        return False


def _remembered(path: Path) -> Layout | None:
    try:
        return Layout(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None


def _remember(path: Path, layout: Layout) -> None:
    if _remembered(path) is layout:
        return
    try:
        new = path.with_name(f"{path.name}.new")
        new.write_text(f"{layout}\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        _log.warning("the node's layout cannot be remembered: %s", error)
