"""Composes the pending source's process: its adapters behind the ports, and which threads run what.

    mirrors    revisions, PodAutoscalers, their pods     a thread each
    send       a few of them, that send what is due      ops       /healthz, /readyz, /metrics
    begin      waits for the mirrors' first lists        letters   takes what a Broker gave up on

`run` is called by `__main__`, `Source` by tests. Any number of copies may run: they send the same events, which whoever
takes them knows by their ids. A thread that fails ends the process: its Deployment starts it anew.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from activator_hooks.source.desk import Desk, Watched
from activator_hooks.source.metrics import SourceMetrics
from activator_hooks.source.settings import SourceSettings
from knative_mig.adapters.event_sender import EventSender, Sink
from knative_mig.adapters.event_server import EventServer
from knative_mig.adapters.kube import parse_serving
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import POD, POD_AUTOSCALER, REVISION
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.adapters.ops_server import OpsServer
from knative_mig.adapters.program import run_until_told
from knative_mig.adapters.threads import Threads
from knative_mig.core.events import Event, RawEvent, Rejected, shown

_log = logging.getLogger(__name__)
ENDS_WITHIN_S: Final = 1.5
_LOOKS_AGAIN_S: Final = 0.05  # whether the mirrors have been listed


def run(settings: SourceSettings, client: KubeClient, sink: Sink, *, host: str = "0.0.0.0") -> int:  # noqa: S104 - probes come from the node
    """Until SIGTERM or SIGINT; the exit code."""
    return run_until_told(Source(settings, client, sink, host=host))


class Source:
    def __init__(self, settings: SourceSettings, client: KubeClient, sink: Sink, *, host: str = "127.0.0.1") -> None:
        """OSError: one of its ports is taken."""
        self.stop = threading.Event()
        self._settings = settings
        self._goes_to = sink.shown
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._metrics = SourceMetrics(registry)
        revisions = KubeMirror(client, REVISION, parse_serving.revision)
        scales = KubeMirror(client, POD_AUTOSCALER, parse_serving.scale)
        pods = KubeMirror(client, POD, parse_serving.replica, label_selector=parse_serving.OF_REVISIONS)
        self._mirrors: tuple[KubeMirror[Any], ...] = (revisions, scales, pods)
        self._watched = Watched(revisions=revisions, scales=scales, pods=pods)
        sender = EventSender(sink, connections=settings.senders)
        self._desk = Desk(self._watched, sender, self._metrics, clock=time.monotonic, rhythm=settings.rhythm)
        self._threads = Threads(self.stop)
        unhealthy = self._threads.why_unhealthy
        self.ops = OpsServer(host, settings.ops_port, registry, unhealthy=unhealthy, unready=self._unready)
        self.letters = EventServer(host, settings.dead_letters_port, self._take_dead_letter)
        for name, mirror in self._watched.each().items():
            self._metrics.mirror_age.labels(name).set_function(_age(mirror.age_s))

    @property
    def failed(self) -> str:
        """Which thread did, and so ended the process."""
        return self._threads.failed

    def start(self) -> None:
        self._threads.run("ops", lambda _: self.ops.serve())
        self._threads.run("letters", lambda _: self.letters.serve())
        for name, mirror in zip(self._watched.each(), self._mirrors, strict=True):
            self._threads.run(f"mirror-{name}", mirror.run)
        self._threads.run("begin", self._begin)
        for number in range(self._settings.senders):
            self._threads.run(f"send-{number}", self._desk.run_sender)
        _log.info("Events go to %s", self._goes_to)

    def end(self) -> None:
        """Within two seconds. What was on its way may arrive or not, and is told again by whoever comes next."""
        self.stop.set()
        interrupts = (mirror.interrupt for mirror in self._mirrors)
        self._threads.end((*interrupts, self.ops.stop, self.letters.stop), time.monotonic() + ENDS_WITHIN_S)

    def _begin(self, stop: threading.Event) -> None:
        while self._watched.unsynced:
            if stop.wait(_LOOKS_AGAIN_S):
                return
        self._desk.begin()

    def _take_dead_letter(self, event: Event | Rejected, _: RawEvent) -> None:
        self._metrics.dead_letters.inc()
        if isinstance(event, Rejected):
            _log.warning("A dead letter that is no event came: %s", event.reason)
        else:
            code = shown(event.extensions.get("knativeerrorcode", "no code"))
            _log.warning("A dead letter: %s %s, refused with %s", shown(event.subject), shown(event.id), code)

    def _unready(self) -> str:
        unsynced = self._watched.unsynced
        return self._threads.why_unhealthy() or (f"not listed yet: {', '.join(unsynced)}" if unsynced else "")


def _age(age_s: Callable[[float], float]) -> Callable[[], float]:
    return lambda: age_s(time.monotonic())
