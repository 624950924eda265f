"""The stand-ins of a cluster, put together in this process: API, Serving, gateway, scheduler and kubelets.

Made by `process`, which imports this late: it takes half of the time until all is ready.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.credentials import Plain
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.gpu_nodes import mirror as gpu_nodes_mirror
from knative_mig.adapters.kube.kinds import CONFIG_MAP, REVISION
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.adapters.kubelet.allocations import CheckpointFile
from knative_mig.adapters.threads import Threads
from knative_mig.adapters.webhook_call import WebhookCaller
from knative_mig.core.relays import FUNCTION_GATEWAY_VARIABLE
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.api.store import Store
from knative_mig.dev.eventing.eventing import Eventing
from knative_mig.dev.eventing.ports import Place
from knative_mig.dev.eventing.post import undelivered
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.dev.gateway.mirrors import Mirrors
from knative_mig.dev.gateway.server import GatewayServer
from knative_mig.dev.gateway.share import share_of
from knative_mig.dev.loop import Loop
from knative_mig.dev.node.images import installed
from knative_mig.dev.node.kubelet import Kubelet
from knative_mig.dev.node.log_reader import LogReader
from knative_mig.dev.node.logs import PodLogs
from knative_mig.dev.node.ports import EVENT_PAUSE_S, NodeSettings
from knative_mig.dev.node.scheduling import Scheduling
from knative_mig.dev.serving.controllers import Name, Neighbours
from knative_mig.dev.serving.loop import Loop as ServingLoop
from knative_mig.dev.serving.loop import mirrors_of
from knative_mig.dev.serving.objects import SERVICE
from knative_mig.dev.serving.webhook.admission import Webhooks
from knative_mig.dev.whole import objects
from knative_mig.dev.whole.admission import Admission
from knative_mig.dev.whole.autoscaling import Kpa
from knative_mig.dev.whole.ending import waits_for
from knative_mig.dev.whole.fleet import SimulatedNode
from knative_mig.dev.whole.folders import Folders
from knative_mig.dev.whole.identities import account
from knative_mig.dev.whole.neighbours import Door, Names, PodRequests, Shelf
from knative_mig.dev.whole.parts import SYSTEM, Ports, kept_of, sockets_of
from knative_mig.dev.whole.readiness import why_not_planned_on
from knative_mig.dev.whole.room import disk_of
from knative_mig.dev.whole.settings import HOST
from knative_mig.ports.kube import Key

_ENDS_WITHIN_S: Final = 1.0
_EVENTS_END_WITHIN_S: Final = 2.0
_PODS_END_WITHIN_S: Final = 5.0
_LOOKS_EACH_S: Final = 0.05  # whether it is to hurry
_SILENT_S: Final = 0.5  # of the end, before it is said whom it waits for
_WEBHOOK: Final = "webhook"  # its Service


class Cluster:
    def __init__(
        self,
        nodes: Sequence[SimulatedNode],
        folders: Folders,
        kept: Store | None,
        *,
        api_socket: socket.socket,
        gateway_socket: socket.socket,
        ports: Ports,
        files: int,
        stop: threading.Event,
    ) -> None:
        """`files`: that requests may have open."""
        self._nodes, self._api_socket = nodes, api_socket
        self._threads = Threads(stop)
        self._loop = Loop()
        pod_logs = LogReader(PodLogs(folders.pod_logs), self._is_running, clock=time.time)
        store = kept or Store()
        self._callers = {f"{SYSTEM}/{_WEBHOOK}": WebhookCaller((HOST, ports.webhook), f"{_WEBHOOK}.{SYSTEM}.svc")}
        admission = Admission(store, self._callers, Webhooks(lambda: self.serving.settings()))  # noqa: PLW0108  it is below
        self.api = ApiServer(logs=pod_logs, hooks=admission.hooks, store=store)
        url = f"http://{HOST}:{api_socket.getsockname()[1]}"
        client = KubeClient.of_url(url)
        controller = KubeClient(lambda: Plain(url, account(objects.KNATIVE, "controller")))
        images = installed()

        port = gateway_socket.getsockname()[1]
        self.kpa = Kpa(
            maps=self._scaling_maps,
            requests=lambda: self.gateway,
            wake=lambda revision: self.serving.poke(Name.AUTOSCALER, revision),
        )
        share = share_of(files)
        self.gateway = Gateway(
            self.kpa,
            most_kept=share.kept,
            is_function=lambda key: self._serving_mirrors[SERVICE].get(key) is not None,
        )
        self.gateway_server = GatewayServer(gateway_socket, self.gateway, at_most=share.connections, waits=share.waits)
        self._gateway_mirrors = Mirrors(client, self.gateway)

        self._serving_mirrors = mirrors_of(client)
        self._events = KubeEvents(controller, component="knative-serving", pause_s=EVENT_PAUSE_S)
        neighbours = Neighbours(autoscaler=self.kpa, gateway=Door(self.gateway), images=Shelf(images))
        self.serving = ServingLoop(
            controller, self._serving_mirrors, neighbours, self._events, port=port, domain=objects.DOMAIN
        )
        self._gateway_mirrors.on_route(lambda key: self.serving.poke(Name.ROUTE, key))

        at_gateway = Place(HOST, port)
        services = {"planner": ports.events, "dead-letters": ports.dead_letters}
        names = Names({f"{SYSTEM}/{name}": Place(HOST, at) for name, at in services.items()}, at_gateway)
        self.eventing = Eventing(client, names, port=ports.brokers)

        self.scheduling = Scheduling(client)
        traffic = PodRequests(self.gateway)
        self.kubelets = tuple(
            Kubelet(
                _node_settings(node, folders, gateway=f"{HOST}:{port}"),
                client,
                traffic=traffic,
                images=images,
                checkpoint=CheckpointFile(kept_of(node, folders) / "allocations"),
            )
            for node in nodes
        )
        self._gpus = gpu_nodes_mirror(client)

    def start(self) -> None:
        self._loop.__enter__()
        for body in objects.initial(each.name for each in self._nodes):
            self.api.put(body)
        self._loop.run(self.api.start(bound=self._api_socket))
        run = self._threads.run
        for kind, mirror in self._serving_mirrors.items():
            run(f"serving-{kind.plural}", mirror.run)
        for name, mirrors in self._gateway_mirrors.bodies().items():
            run(f"gateway-{name}", mirrors)
        run("gpunodes", self._gpus.run)
        run("serving", self.serving.run)
        run("serving-events", self._events.run)
        run("kpa", self.kpa.run)
        run("gateway-tells", self.gateway.tell)
        run("gateway", lambda _: self.gateway_server.serve())
        self.eventing.start()
        self.scheduling.start()
        for kubelet in self.kubelets:
            kubelet.start()

    def waits_for(self) -> Iterator[str]:
        if not self.eventing.wait_synced(0.0):
            yield "the Brokers: their mirrors"
        if not self._gateway_mirrors.wait_synced(0.0):
            yield "the gateway: its mirrors"
        for kind, mirror in self._serving_mirrors.items():
            if not mirror.synced:
                yield f"the controllers: {kind.plural}"
        for node in self._nodes:
            if why := why_not_planned_on(self._gpus.get(Key("", str(node.name)))):
                yield f"{node.name}: {why}"

    def is_function(self, name: str) -> bool:
        """In the namespace that is a user's by default. Once it waits for nothing."""
        return self._serving_mirrors[SERVICE].get(Key("default", name)) is not None

    @property
    def failed(self) -> str:
        """Which thread did; empty: none."""
        return "".join((self._threads.failed, *(each.failed for each in self._others)))

    @property
    def _others(self) -> tuple[Eventing | Scheduling | Kubelet, ...]:
        return (self.eventing, self.scheduling, *self.kubelets)

    def may_be_killed(self) -> Mapping[str, int]:
        """Of replicas: process ids, by NAMESPACE/POD/CONTAINER."""
        return {name: pid for each in self.kubelets for name, pid in each.may_be_killed().items()}

    def drain(self, within_s: float, hurries: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Events first, for functions take them; who is served gets the rest; then the pods end.

        `hurries`: whether nobody is waited for any more.
        """
        telling = threading.Timer(_SILENT_S, self._tell_of_requests, (within_s, tell))
        telling.daemon = True
        telling.start()
        left = self.eventing.stop(0.0 if hurries() else min(within_s, _EVENTS_END_WITHIN_S))
        for line in undelivered(left):
            tell(line)
        draining = threading.Thread(target=self.gateway_server.stop, args=(within_s,), daemon=True)
        draining.start()
        _wait(draining, hurries)
        telling.cancel()
        ending = [
            threading.Thread(target=each.end, args=(0.0 if hurries() else _PODS_END_WITHIN_S,), daemon=True)
            for each in self.kubelets
        ]
        for each in ending:
            each.start()
        for each in ending:
            _wait(each, hurries)
        for kubelet in self.kubelets:
            kubelet.hurry()
        for each in ending:
            each.join()

    def _tell_of_requests(self, within_s: float, tell: Callable[[str], None]) -> None:
        if told := waits_for(self.gateway.loads(), self._function_of):
            tell(f"waits for {told}, {within_s:g} s at most; Ctrl-C again ends at once")

    def _function_of(self, revision: Key) -> str:
        """Its own name, where there is none."""
        body: Any = self._serving_mirrors[REVISION].get(revision) or {"metadata": {}}
        return str((body["metadata"].get("labels") or {}).get(SERVICE_LABEL) or revision.name)

    def end(self) -> None:
        """After `stop` was set."""
        self.scheduling.end()
        mirrors = [each.interrupt for each in self._serving_mirrors.values()]
        interrupts = (*mirrors, self._gpus.interrupt, self._gateway_mirrors.interrupt, self.serving.interrupt)
        self._threads.end(interrupts, time.monotonic() + _ENDS_WITHIN_S)
        self.gateway.connections.close()
        self._loop.run(self.api.stop(drain_s=0.2))
        for each in self._callers.values():
            each.close()
        self._loop.__exit__(None, None, None)

    def _is_running(self, uid: str, container: str, life: int) -> bool:
        return any(each.is_running(uid, container, life) for each in self.kubelets)

    def _scaling_maps(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        maps: Any = self._serving_mirrors[CONFIG_MAP]
        bodies = [maps.get(Key(objects.KNATIVE, name)) or {} for name in ("config-autoscaler", "config-deployment")]
        autoscaler, deployment = (each.get("data") or {} for each in bodies)
        return autoscaler, deployment


def _wait(thread: threading.Thread, hurries: Callable[[], bool]) -> None:
    while thread.is_alive() and not hurries():
        thread.join(_LOOKS_EACH_S)


def _node_settings(node: SimulatedNode, folders: Folders, *, gateway: str) -> NodeSettings:
    return NodeSettings(
        name=node.name,
        number=node.number,
        folder=folders.run / f"n{node.number}" / "kubelet",
        sockets=sockets_of(node, folders),
        logs=folders.pod_logs,
        storage=disk_of(folders.run),
        variables={FUNCTION_GATEWAY_VARIABLE: gateway},  # http://NAME.NAMESPACE.svc is no name of this machine
        labels={"nvidia.com/gpu.present": "true"},
    )
