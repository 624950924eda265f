"""Composes the webhook process: its adapters behind the ports, and which threads run what.

    serve      takes reviews over TLS, a thread for each connection     mirrors   GpuNodes, Knative's defaults
    keep       certificates and bundles                                 ops       /healthz, /readyz, /metrics

`run` is called by `__main__`, `Webhook` by tests. Replicas are alike and nobody leads. A thread that fails ends the
process: its Deployment starts it anew.
"""

import threading
import time
from typing import Any, Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from activator_hooks.webhook.desk import Desk
from activator_hooks.webhook.keeper import Keeper
from activator_hooks.webhook.metrics import WebhookMetrics
from activator_hooks.webhook.settings import WebhookSettings
from knative_mig.adapters.admission import Admission
from knative_mig.adapters.admission import Webhook as Path
from knative_mig.adapters.kube import gpu_nodes, parse_admitted
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import CONFIG_MAP
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.adapters.kube.relay_secrets import KubeRelaySecrets
from knative_mig.adapters.kube.webhooks import KubeCertificateStore, KubeWebhookConfigurations
from knative_mig.adapters.ops_server import OpsServer
from knative_mig.adapters.program import run_until_told
from knative_mig.adapters.threads import Threads
from knative_mig.adapters.webhook_server import WebhookServer

ENDS_WITHIN_S: Final = 1.5
DEFAULTS: Final = "config-defaults"


def run(settings: WebhookSettings, client: KubeClient, *, host: str = "0.0.0.0") -> int:  # noqa: S104 - API servers come from anywhere
    """Until SIGTERM or SIGINT; the exit code."""
    return run_until_told(Webhook(settings, client, host=host))


class Webhook:
    def __init__(self, settings: WebhookSettings, client: KubeClient, *, host: str = "127.0.0.1") -> None:
        """OSError: one of its ports is taken."""
        self.settings, self.stop = settings, threading.Event()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._metrics = WebhookMetrics(registry)
        fleet = gpu_nodes.mirror(client)
        defaults = KubeMirror(
            client,
            CONFIG_MAP,
            parse_admitted.knative_defaults,
            namespace=settings.knative_namespace,
            field_selector=f"metadata.name={DEFAULTS}",
        )
        self._mirrors: dict[str, KubeMirror[Any]] = {"gpunodes": fleet, DEFAULTS: defaults}
        desk = Desk(fleet, defaults, KubeRelaySecrets(client), self._metrics, clock=time.monotonic)
        self._admission = Admission(desk, self._count)
        self.server = WebhookServer(host, settings.port, self._answer)
        self.keeper = Keeper(
            store=KubeCertificateStore(client, settings.namespace),
            configurations=KubeWebhookConfigurations(client),
            identify=self.server.identify,
            names=settings.names,
            wall=time.time,
            metrics=self._metrics,
            every_s=settings.look_every_s,
        )
        self._threads = Threads(self.stop)
        unhealthy = self._threads.why_unhealthy
        self.ops = OpsServer(host, settings.ops_port, registry, unhealthy=unhealthy, unready=self._unready)
        self._started = time.monotonic()

    @property
    def failed(self) -> str:
        """Which thread did, and so ended the process."""
        return self._threads.failed

    def start(self) -> None:
        self._threads.run("ops", lambda _: self.ops.serve())
        for name, mirror in self._mirrors.items():
            self._threads.run(f"mirror-{name}", mirror.run)
        self._threads.run("keep", self.keeper.run)
        self._threads.run("serve", lambda _: self.server.serve())

    def end(self) -> None:
        """Within two seconds. Reviews that have been read are answered."""
        self.stop.set()
        interrupts = (mirror.interrupt for mirror in self._mirrors.values())
        self._threads.end((*interrupts, self.server.stop, self.ops.stop), time.monotonic() + ENDS_WITHIN_S)

    def _answer(self, path: Path, body: bytes) -> bytes:
        with self._metrics.seconds.time():
            return self._admission.answer(path, body)

    def _count(self, path: Path, outcome: str) -> None:
        self._metrics.reviews.labels(path.name.lower(), str(outcome)).inc()

    def _unready(self) -> str:
        unsynced = [name for name, mirror in self._mirrors.items() if not mirror.synced]
        waits = unsynced and time.monotonic() - self._started < self.settings.waits_for_mirrors_s
        why = self._threads.why_unhealthy() or self.keeper.unready
        return why or (f"not listed yet: {', '.join(unsynced)}" if waits else "")
