"""Composes the planner process: its adapters behind the ports, and which threads run what.

    mirrors    GpuNodes, pods, nodes, quotas, the agents' heartbeats, Revisions, requests: a thread each
    lease      takes and renews it                                       tell      writes Events
    floor      autoscaling values on Revisions                           conditions  of pods that wait
    planner    the rounds, and a pool that writes specs side by side     ops       /healthz, /readyz, /metrics
    door       takes CloudEvents, a thread for each connection           forward   sends a standby's to the leader
    announce   sends outcomes, where there is a sink                     hand-over  asks relays, a thread for each move

`run` is called by `__main__`, `Planner` by tests. Leader and standby are the same but for the lease: both keep their
mirrors whole, so that a new leader plans at once. A thread that fails ends the process: its Deployment starts it anew.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, disable_created_metrics

from knative_mig.adapters.event_sender import EventSender, Sink
from knative_mig.adapters.event_server import EventServer, send_on
from knative_mig.adapters.kube import floor_objects, gpu_nodes, leases, parse
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.floor_objects import KubeFloorRequests, KubeFloorStore, KubeRevisions
from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import NODE, POD, RESOURCE_QUOTA
from knative_mig.adapters.kube.leases import KubeLeases
from knative_mig.adapters.kube.meter_store import KubeMeterStore
from knative_mig.adapters.kube.move_objects import KubeMoveStore
from knative_mig.adapters.kube.pods import KubePods, Seen
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.adapters.ops_server import OpsServer
from knative_mig.adapters.program import run_until_told
from knative_mig.adapters.relay_calls import RelayCalls
from knative_mig.adapters.threads import Threads
from knative_mig.core.cluster.leadership import highest_token
from knative_mig.ports.kube import Key
from reconfigurer.planner import memory
from reconfigurer.planner.announcing import Announcer
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.condition_writer import ConditionWriter
from reconfigurer.planner.conditions import Conditions
from reconfigurer.planner.door import Door
from reconfigurer.planner.floor import Floor
from reconfigurer.planner.hand_overs import HandOvers
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.loop import Mirrors, PlannerLoop
from reconfigurer.planner.metering import Metering
from reconfigurer.planner.metrics import FloorMetrics, MoverMetrics, PlannerMetrics
from reconfigurer.planner.mover import COMPONENT, Mover
from reconfigurer.planner.outbox import Outbox
from reconfigurer.planner.settings import PlannerSettings
from reconfigurer.planner.telling import Teller

LEASE_NAME: Final = "knative-mig-planner"
ENDS_WITHIN_S: Final = 1.5
STANDS_STILL_AFTER_S: Final = 60.0  # a round of ten thousand GPUs takes seconds at its worst, and one is due every ten


def run(
    settings: PlannerSettings,
    client: KubeClient,
    *,
    sink: Sink | None = None,
    advertise: str = "",
    host: str = "0.0.0.0",  # noqa: S104 - probes come from the node
) -> int:
    """Until SIGTERM or SIGINT; the exit code."""
    me = os.environ.get("POD_NAME") or socket.gethostname()
    return run_until_told(Planner(settings, client, sink, me=me, host=host, advertise=advertise))


class _Runs(Protocol):
    def run(self, stop: threading.Event) -> None: ...


class Planner:
    def __init__(
        self,
        settings: PlannerSettings,
        client: KubeClient,
        sink: Sink | None = None,
        *,
        me: str,
        host: str = "127.0.0.1",
        advertise: str = "",
    ) -> None:
        """OSError: one of its ports is taken. `sink`: of outcomes; None: they are told in the cluster alone.
        `advertise`: where others reach this host, empty if they cannot.
        """
        self.settings, self.stop = settings, threading.Event()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        metrics = PlannerMetrics(registry)
        self._gpu_nodes = gpu_nodes.mirror(client)
        pods = KubeMirror(client, POD, parse.pod)
        nodes = KubeMirror(client, NODE, parse.node)
        quotas = KubeMirror(client, RESOURCE_QUOTA, parse.quota)
        heartbeats = leases.mirror(client, settings.agent_namespace)
        self._mirrors = Mirrors(gpu_nodes=self._gpu_nodes, pods=pods, nodes=nodes, quotas=quotas, heartbeats=heartbeats)
        revisions = floor_objects.revisions_mirror(client)
        requests = floor_objects.requests_mirror(client, settings.namespace)
        # Without Knative there are no Revisions: that keeps nobody from a slice, so the last two are not waited for.
        names = (*self._mirrors.each(), "revisions", "requests")
        mirrors = (self._gpu_nodes, pods, nodes, quotas, heartbeats, revisions, requests)
        self._running: Mapping[str, _Runs] = dict(zip(names, mirrors, strict=True))
        self._interrupts: list[Callable[[], None]] = [each.interrupt for each in mirrors]
        self._events = KubeEvents(client, component="knative-mig-planner", instance=me)
        self._door = Door(
            leads=lambda: self.leader.token() is not None,
            leader=lambda: self.leader.elsewhere,
            wake=lambda pending: self.loop.hear(pending),  # noqa: PLW0108 - the loop is made after its door
            send_on=send_on,
            count=lambda outcome: metrics.events.labels(str(outcome)).inc(),
            clock=time.monotonic,
            settings=settings.door,
        )
        self.events = EventServer(host, settings.events_port, self._door.take)
        self.leader = Leader(
            KubeLeases(client),
            Key(settings.namespace, LEASE_NAME),
            me,
            settings.lease,
            clock=time.monotonic,
            wall=time.time,
            highest=self._highest,
            changed=self._wake,
            address=_address(advertise, self.events.port),
        )
        self._pool = ThreadPoolExecutor(settings.writers, thread_name_prefix="write")
        self.floor = Floor(
            requests=requests,
            revisions=revisions,
            store=KubeFloorStore(client, settings.namespace),
            writes=KubeRevisions(client),
            leader=self.leader,
            events=self._events,
            metrics=FloorMetrics(registry),
            clock=_now,
            resync_s=settings.resync_s,
            mirror_age_limit_s=settings.mirror_age_limit_s,
        )
        self._outbox = None
        if sink is not None:
            self._outbox = Outbox(
                EventSender(sink, connections=1),
                count=lambda outcome: metrics.outcome_events.labels(outcome).inc(),
                clock=time.monotonic,
                settings=settings.outbox,
            )
        kube_pods = KubePods(client, Seen(pods=pods, nodes=nodes))
        self._conditions = ConditionWriter(
            kube_pods,
            leads=lambda: self.leader.token() is not None,
            count=lambda result: metrics.conditions.labels(result).inc(),
        )
        relays = RelayCalls(client, within_s=settings.mover.patience.hand_over_s)
        self._hand_overs = HandOvers(relays, wake=lambda: self.loop.wake())  # noqa: PLW0108 - the loop is made after it
        mover = Mover(
            store=KubeMoveStore(client, settings.namespace),
            requests=KubeFloorRequests(client, settings.namespace, COMPONENT),
            requested=requests,
            pods=kube_pods,
            revisions=revisions,
            records=lambda: self.floor.records,
            leader=self.leader,
            hand_overs=self._hand_overs,
            events=self._events,
            metrics=MoverMetrics(registry),
            settings=settings.mover,
            mirror_age_limit_s=settings.mirror_age_limit_s,
        )
        self.loop = PlannerLoop(
            mirrors=self._mirrors,
            gpu_nodes=KubeGpuNodes(client),
            pods=kube_pods,
            leader=self.leader,
            teller=Teller(
                self._events,
                Conditions(self._conditions.put, settings.tell_again_s),
                metrics,
                settings.tell_again_s,
            ),
            metering=Metering(
                KubeMeterStore(client, settings.namespace), metrics, settings.store_meters_s, self._pool.submit
            ),
            mover=mover,
            announcer=Announcer(
                revisions=revisions,
                events=self._events,
                metrics=metrics,
                send=None if self._outbox is None else self._outbox.put,
            ),
            metrics=metrics,
            settings=settings,
            clock=_now,
            in_parallel=self._in_parallel,
            after_first_plan=memory.settle,
        )
        self.loop.wake_on_changes()
        self.floor.wake_on_changes()
        self.ops = OpsServer(host, settings.ops_port, registry, unhealthy=self._unhealthy, unready=self._unready)
        self._threads = Threads(self.stop)
        self._started = time.monotonic()

    @property
    def failed(self) -> str:
        """Which thread did, and so ended the process."""
        return self._threads.failed

    def start(self) -> None:
        self._threads.run("ops", lambda _: self.ops.serve())
        self._threads.run("tell", self._events.run)
        self._threads.run("conditions", self._conditions.run)
        for name, mirror in self._running.items():
            self._threads.run(f"mirror-{name}", mirror.run)
        self._threads.run("lease", self._hold_lease)
        self._threads.run("planner", self.loop.run)
        self._threads.run("floor", self.floor.run)
        self._threads.run("forward", self._door.run)
        self._threads.run("door", lambda _: self.events.serve())
        for number in range(self.settings.mover.at_once):
            self._threads.run(f"hand-over-{number}", self._hand_overs.run)
        if self._outbox is not None:
            self._threads.run("announce", self._outbox.run)

    def end(self) -> None:
        """Within two seconds; the lease is given back once no round can write any more."""
        self.stop.set()
        deadline = time.monotonic() + ENDS_WITHIN_S
        self._wake()
        ending = threading.Thread(target=self._give_lease_back, args=(deadline,), name="release", daemon=True)
        ending.start()
        self._threads.end((*self._interrupts, self.events.stop, self.ops.stop), deadline)
        ending.join(max(0.1, deadline - time.monotonic()))
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _give_lease_back(self, deadline: float) -> None:
        if self._threads.join("planner", deadline) and self._threads.join("floor", deadline):
            self.leader.release()

    def _wake(self) -> None:
        self.loop.wake()
        self.floor.wake()

    def _hold_lease(self, stop: threading.Event) -> None:
        while not stop.is_set():
            stop.wait(self.leader.step())

    def _highest(self) -> int | None:
        """None until all GpuNodes have been seen: their tokens are what a new leader has to be above."""
        return highest_token(self._gpu_nodes.snapshot().values()) if self._gpu_nodes.synced else None

    def _in_parallel(self, calls: Iterable[Callable[[], None]]) -> None:
        for future in [self._pool.submit(call) for call in calls]:
            future.result()

    def _unhealthy(self) -> str:
        if why := self._threads.why_unhealthy():
            return why
        since = self.loop.last_round_at or self._started
        still = time.monotonic() - since
        return f"no round for {still:.0f} s" if still > STANDS_STILL_AFTER_S else ""

    def _unready(self) -> str:
        unsynced = self._mirrors.unsynced
        return self._unhealthy() or (f"not listed yet: {', '.join(unsynced)}" if unsynced else self.leader.stuck)


def _address(host: str, port: int) -> str:
    if not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _now() -> Now:
    return Now(monotonic=time.monotonic(), wall=time.time())
