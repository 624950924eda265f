"""Composes a node agent: which adapters stand behind the ports, and which threads run what.

    GPUs       a worker process and a loop a GPU        kubelet    plugins, node loop, slice sockets
    API        node status, publisher, heartbeat, pods, the mirrors of its GpuNode and its pods, events

`run` is called by `__main__`, `Agent` by tests, with ports of their own. The subtle thing is the order of a start:
every GPU is read before the first device is served, or the kubelet would forget the devices of running pods. One that
is lost or hangs is waited for until its deadline; it is asked again and again, and served from when it answers.
Whatever needs the API server comes by itself when that does. A thread that fails ends the process: its DaemonSet starts
it anew, and a start is the one way to recover.
"""

import fcntl
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from knative_mig.adapters.cdi import CdiFiles, DeviceNodes, NoFiles, cdi_device
from knative_mig.adapters.device_nodes import device_nodes
from knative_mig.adapters.driver_edits import DriverEdits
from knative_mig.adapters.gpu_worker import Deadlines, GpuWorker, Nvml, Simulated
from knative_mig.adapters.journal_file import JournalFile
from knative_mig.adapters.kubelet.pod_resources import KubeletPodResources
from knative_mig.adapters.kubelet.registration import KubeletDevicePlugins
from knative_mig.adapters.marked_pods import MarkedPods
from knative_mig.adapters.ops_server import OpsServer
from knative_mig.adapters.proc_pods import ProcPods
from knative_mig.adapters.program import when_told
from knative_mig.adapters.sim_gpu import Call, SimulationControls, open_store
from knative_mig.adapters.simulated_processes import SimulatedProcesses
from knative_mig.adapters.slice_socket import SliceSockets
from knative_mig.adapters.threads import Threads
from knative_mig.core.agent.health import health_of
from knative_mig.core.agent.readings import Unnamed
from knative_mig.core.errors import GpuError, GpuLost, GpuNotFound, GpuTimeout, KnativeMigError
from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus, JournalState, Layout, SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.gpu import NO_GPU, GpuDriver, MigUuid, OneGpu
from knative_mig.ports.injection import SliceInjection
from knative_mig.ports.journal import Journal, Opened
from knative_mig.ports.kube import EventType, Key, Subject
from knative_mig.ports.processes import PodProcesses
from reconfigurer.agent.board import Board, Journalled, Snapshot
from reconfigurer.agent.counted_gpus import CountedGpus
from reconfigurer.agent.desk import Desk, Injection
from reconfigurer.agent.gpu_loop import GpuLoop
from reconfigurer.agent.happenings import Happenings
from reconfigurer.agent.heartbeat import Heartbeat
from reconfigurer.agent.ill_book import IllBook
from reconfigurer.agent.kube_side import KubeSide
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.node_loop import NodeLoop
from reconfigurer.agent.node_status import NodeStatusLoop
from reconfigurer.agent.pod_loop import PodLoop
from reconfigurer.agent.publisher import Identity, Publisher
from reconfigurer.agent.release import ReleaseDesk
from reconfigurer.agent.retry import Retry
from reconfigurer.agent.settings import Inject, PodsBy, Settings
from reconfigurer.agent.simulated_holders import SimulatedHolders
from reconfigurer.agent.slice_doors import SliceDoors
from reconfigurer.agent.slice_uuids import SliceUuids
from reconfigurer.agent.surroundings import Surroundings

_log = logging.getLogger(__name__)
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PREDECESSOR_ENDS_WITHIN_S: Final = 3.0
ENDS_WITHIN_S: Final = 1.5
TRY_GPUS_EACH_S: Final = 5.0
NOTICE_STOP_WITHIN_S: Final = 0.5
PODS_LOOKED_AT_EACH_S: Final = 0.05  # while slices change
STUCK_S: Final = 60.0  # far beyond the deadlines of what the node loop calls


class AnotherAgent(KnativeMigError):
    """A node's GPUs have one owner."""

    reason = "AnotherAgent"


def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT; the exit code."""
    stop, started = threading.Event(), threading.Event()

    def told_to_end() -> None:
        """Before the start is over it may hang in a call, and there is nothing to be put in order."""
        if not started.is_set():
            os._exit(0)
        stop.set()

    when_told(told_to_end)
    locks = only_agent(settings.state_dir)
    kube = KubeSide.connect(settings)
    processes = MarkedPods() if settings.pods_by is PodsBy.ENVIRONMENT else ProcPods()
    agent = Agent(settings, kube, processes, layout=kube.layout(settings.state_dir / "layout"), stop=stop)
    agent.start()
    started.set()
    _log.info("the agent of node %s runs", settings.node)
    stop.wait()
    agent.end()
    for lock in locks:
        os.close(lock)
    return 1 if agent.failed else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is put around the ports through which the agent changes its node; tests look on, and strike, from there."""

    driver: Callable[[GpuDriver], GpuDriver] = lambda driver: driver
    journal: Callable[[Journal], Journal] = lambda journal: journal
    injection: Callable[[SliceInjection], SliceInjection] = lambda injection: injection


NOTHING_AROUND: Final = Around()
DEADLINES: Final = Deadlines()


class Agent:
    def __init__(
        self,
        settings: Settings,
        kube: KubeSide,
        processes: PodProcesses,
        *,
        layout: Layout = Layout.DYNAMIC,
        stop: threading.Event | None = None,
        around: Around = NOTHING_AROUND,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """OSError: its ops port is taken, or its state folder cannot be used. JournalUnwritable: another has it."""
        self.settings, self.kube, self.stop = settings, kube, stop or threading.Event()
        self._layout, self._processes, self._clock = layout, processes, time.monotonic
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        released = SliceUuids(settings.state_dir / "released")
        self._boot_id = BOOT_ID.read_text(encoding="ascii").strip()
        self._ill = IllBook(settings.state_dir / "ill", self._boot_id)
        self.board = Board(releases=released, ill=self._ill, now_s=self._clock())
        self._around = around
        self._threads = Threads(self.stop)
        self._deadlines = deadlines
        self._workers: tuple[GpuWorker, ...] = ()
        self._naming = threading.Lock()
        self._named: dict[int, GpuUuid] = {}  # those that have said who they are, by the driver's index
        self._drivers: dict[GpuUuid, CountedGpus] = {}
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._metrics = AgentMetrics(registry)
        journal, self._opened = JournalFile.open(settings.state_dir / "journal", self._boot_id)
        self._journal = around.journal(journal)
        self.board.put_journal(_journal_at_start(self._opened))
        self.board.put_processes_verified(verified=processes.sees_the_host())
        self._driver = _driver(settings)
        self._injection = around.injection(injection_of(settings, layout, nodes_of=device_nodes))
        self.surroundings = Surroundings(self.board, static=layout is Layout.STATIC)
        self._compose_kubelet_side()
        self._compose_kube_side()
        self.ops = OpsServer(
            settings.ops_host, settings.ops_port, registry, unhealthy=self._unhealthy, unready=self._unready
        )

    def _compose_kubelet_side(self) -> None:
        settings = self.settings
        self._simulated: SimulatedProcesses | None = None
        if settings.simulated:
            store = open_store(settings.simulated, settings.gpu_state_file)
            marks = self.board.snapshot().marks.values()
            released = frozenset(MigUuid(mark.release.mig_uuid) for mark in marks if mark.release)
            self._simulated = SimulatedProcesses(SimulationControls(store), self._processes, released=released)
        release = ReleaseDesk(
            self.board,
            self.kube.pod_mirror,
            self._processes,
            self._processes_on,
            clock=self._clock,
            leaves=self._simulated.leaves if self._simulated else _nothing,
        )
        self._sockets = SliceSockets(release.release, settings.sockets_dir)
        self._doors = SliceDoors(self.board, self._sockets.keep)
        pod_resources = KubeletPodResources(settings.kubelet_dir / "pod-resources" / "kubelet.sock")
        self._desk = Desk(
            self.board,
            SliceUuids(settings.state_dir / "handed-out"),
            Injection(
                cdi_name=cdi_device if settings.inject is Inject.CDI else None,
                socket_dir=self._sockets.open_for_new_pod,
            ),
            clock=self._clock,
            wake=self._wake_pods,
            before_giving=pod_resources.let_it_end,
            answered=lambda answer: self._metrics.handouts.labels(answer).inc(),
        )
        self._plugins: KubeletDevicePlugins | None = None
        if self._layout is Layout.DYNAMIC:
            self._plugins = KubeletDevicePlugins(
                self._desk,
                on_connection=self.surroundings.connection_seen,
                on_owners=self.surroundings.owners_seen,
                folder=settings.kubelet_dir / "device-plugins",
            )
        self._node_loop = NodeLoop(
            self.board,
            pod_resources,
            self._plugins,
            self._metrics,
            clock=self._clock,
            pods=lambda: self.kube.pod_mirror.snapshot().values() if self.kube.pod_mirror.synced else None,
        )

    def _compose_kube_side(self) -> None:
        settings, kube = self.settings, self.kube
        self._happenings = Happenings(settings.node, kube.events, self._metrics)
        self._pod_loop = PodLoop(
            node=settings.node,
            board=self.board,
            desk=self._desk,
            surroundings=self.surroundings,
            mirror=kube.pod_mirror,
            pods=kube.pods,
            events=kube.events,
            metrics=self._metrics,
            clock=self._clock,
            static=self._layout is Layout.STATIC,
            all_read=self._are_all_read,
            tell_deleted=self._sockets.tell_deleted,
        )
        self._node_status = NodeStatusLoop(
            settings.node,
            self.board,
            kube.node_statuses,
            self._metrics,
            Retry(random.random),
            clock=self._clock,
            may_write=lambda: self.surroundings.alone,
        )
        self._publisher = Publisher(
            Identity(
                node=settings.node, layout=self._layout, agent_version=version("knative-mig"), boot_id=self._boot_id
            ),
            self.board,
            kube.gpu_nodes,
            self._metrics,
            Retry(random.random),
            clock=self._clock,
            wall=time.time,
            surroundings=self.surroundings,
            all_read=self._are_all_read,
            found=self._found_reported,
        )
        self._heartbeat = Heartbeat(
            Key(settings.namespace, settings.node),
            settings.holder or settings.node,
            kube.leases,
            self._metrics,
            wall=time.time,
        )
        kube.spec_mirror.on_change(lambda _: self._gpu_node_seen(kube.spec_mirror.snapshot()))
        kube.pod_mirror.on_change(lambda _: self._pod_loop.wake())

    def _gpu_node_seen(self, nodes: Mapping[Key, GpuNode]) -> None:
        own = nodes.get(Key("", self.settings.node))
        if own is not None:
            self._node_loop.reported(own.status)  # before its spec: by that a slice may be destroyed
        self.surroundings.spec_seen(own)
        self._publisher.shown(own)

    def _found_reported(self, last: GpuNodeStatus | None) -> None:
        self._node_loop.reported(last)
        self.surroundings.reported(last)

    @property
    def failed(self) -> str:
        """Which thread did, and so ended the process."""
        return self._threads.failed

    def start(self) -> None:
        if self._opened.damaged:
            subject = Subject(
                api_version="knative-mig.dev/v1alpha1", kind="GpuNode", namespace="", name=self.settings.node
            )
            self.kube.events.record(subject, EventType.WARNING, "JournalRebuilt", self._opened.damaged)
        self._threads.run("ops", lambda _: self.ops.serve())
        for name, body in self.kube.bodies.items():
            self._threads.run(name, body)
        self._threads.run("heartbeat", self._heartbeat.run)
        self._threads.run("publisher", self._publisher.run)
        self._threads.run("pods", self._pod_loop.run)
        self._threads.run("broken-slices", self._watch_slices)
        self._threads.run("node", self._node_loop.run)
        if self._plugins is not None:
            plugins = self._plugins
            self._threads.run("plugins", lambda _: plugins.run())
            self._threads.run("node-status", self._node_status.run)
        self._threads.run("slice-sockets", lambda _: self._sockets.run())
        self._threads.run("slice-doors", self._doors.run)
        if self._simulated is not None:
            holders = SimulatedHolders(self.board, self.kube.pod_mirror, self._simulated.step)
            self._threads.run("simulated-processes", holders.run)
        self._threads.run("layout", self._watch_layout)
        self._threads.run("gpus", self._find_gpus)

    def end(self) -> None:
        """Within two seconds, whatever hangs: threads that do not come back are left to the end of the process."""
        self.stop.set()
        deadline = time.monotonic() + ENDS_WITHIN_S
        enders: list[Callable[[], None]] = [worker.close for worker in self._workers]
        enders += [self.kube.interrupt, self._sockets.stop, self.ops.stop, self._pod_loop.wake]
        if self._plugins is not None:
            enders.append(self._plugins.stop)
        self._threads.end(enders, deadline)
        self._journal.close()

    def _watch_layout(self, stop: threading.Event) -> None:
        if self.kube.layout_changed(self._layout, self.settings.state_dir / "layout", stop):
            stop.set()

    def _watch_slices(self, stop: threading.Event) -> None:
        """A slice that broke costs its pod its place at once, not when its pods are next looked at."""
        seen = self.board.snapshot()
        while not stop.is_set():
            now = self.board.wait(seen, NOTICE_STOP_WITHIN_S, _slices_changed)
            if _slices_changed(seen, now):
                self._pod_loop.wake()
                stop.wait(PODS_LOOKED_AT_EACH_S)
            seen = now

    def _wake_pods(self) -> None:
        self._pod_loop.wake()

    # GPUs

    def _find_gpus(self, stop: threading.Event) -> None:
        count = self._count_gpus(stop)
        if count is None:
            return
        self._workers = tuple(GpuWorker(self._driver, OneGpu(index=index), self._deadlines) for index in range(count))
        for index, worker in enumerate(self._workers):
            self._threads.run(f"gpu-{index}", lambda stop, at=index, by=worker: self._run_gpu(at, by, stop))  # type: ignore[misc]
        seen = self.board.snapshot()
        while not stop.is_set() and not all(self._was_looked_at(index, seen) for index in range(count)):
            seen = self.board.wait(seen, NOTICE_STOP_WITHIN_S)
        self._desk.adopt()
        self.board.put_all_read()
        self.board.put_processes_verified(verified=self._processes.sees_the_host())

    def _was_looked_at(self, index: int, seen: Snapshot) -> bool:
        return index in seen.unnamed or self._named.get(index) in seen.readings

    def _count_gpus(self, stop: threading.Event) -> int | None:
        """A driver that is not there yet, at a machine's start, is waited for. None: the agent ends."""
        said = ""
        worker = GpuWorker(self._driver, NO_GPU, self._deadlines)
        self._workers = (worker,)
        try:
            while not stop.is_set():
                try:
                    if isinstance(self._driver, Simulated):  # a file, which does not hang: it needs no worker
                        return self._driver.open(NO_GPU).count()
                    return worker.count()
                except GpuError as error:
                    if str(error) != said:
                        said = str(error)
                        _log.warning("the GPUs cannot be counted: %s; tried again", error)
                    stop.wait(TRY_GPUS_EACH_S)
            return None
        finally:
            worker.close()

    def _run_gpu(self, index: int, worker: GpuWorker, stop: threading.Event) -> None:
        driver = self._around.driver(worker)
        uuid = self._name_gpu(index, worker, driver, stop)
        if uuid is None:
            return
        worker.keep_to(uuid)
        counted = self._drivers[uuid] = CountedGpus(driver, self._metrics)
        loop = GpuLoop(
            uuid,
            driver=counted,
            journal=self._journal,
            board=self.board,
            injection=self._injection,
            ill=self._ill,
            boot_id=self._boot_id,
            clock=self._clock,
            layout=self._layout,
            intents=self._opened.intents,
            happened=self._happenings.happened,
        )
        while not stop.is_set():
            known = self.board.snapshot()
            wait_s = loop.step(self._clock())
            if index in known.unnamed:
                self.board.put_named(index)
                self._desk.adopt()
            self.board.wait(known, min(wait_s, NOTICE_STOP_WITHIN_S), loop.matters)

    def _name_gpu(self, index: int, worker: GpuWorker, driver: GpuDriver, stop: threading.Event) -> GpuUuid | None:
        """Who it is, asked until it answers: one that is lost or hangs may have been reset since. After any other
        failure it is asked once more before the others are served without it. One that is gone may be found again by a
        driver that is opened anew; by one that was opened meanwhile another may have its index.
        """
        said = ""
        while not stop.is_set():
            try:
                found = driver.inventory()
                names = [gpu.uuid for gpu in found.gpus]
                names += [each.uuid for each in found.unusable if each.uuid is not None]
                if names and self._is_its_name(index, names[0]):
                    return names[0]
                if names or not found.unusable:
                    raise GpuNotFound(f"GPU {index} is gone")
                raise found.unusable[0].error
            except GpuError as error:
                ill = bool(said) or isinstance(error, GpuLost | GpuTimeout)
                if str(error) != said and not stop.is_set():
                    said = str(error)
                    _log.warning("GPU %d cannot be used: %s; tried again", index, error)
                if ill:
                    self.board.put_unnamed(index, Unnamed(health=health_of(error), why=str(error)))
                if isinstance(error, GpuNotFound):
                    worker.begin_anew()
            stop.wait(TRY_GPUS_EACH_S)
        return None

    def _is_its_name(self, index: int, uuid: GpuUuid) -> bool:
        """One GPU has one loop: two would cut it against each other."""
        with self._naming:
            if uuid in self._named.values():
                return False
            self._named[index] = uuid
            return True

    def _processes_on(self, slice_id: SliceId, mig_uuid: MigUuid) -> tuple[int, ...]:
        """On a thread of the slice sockets; the worker takes one call at a time."""
        driver = self._drivers.get(slice_id.gpu)
        if driver is None:
            raise GpuError(f"{slice_id.gpu} has not been found yet")
        for instance in driver.gpu(slice_id.gpu).instances:
            if instance.compute_instance is not None and instance.compute_instance.mig_uuid == mig_uuid:
                return tuple(process.pid for process in driver.processes(instance))
        raise GpuError(f"{mig_uuid} is not there any more")

    # Probes

    def _are_all_read(self) -> bool:
        return self.board.snapshot().all_read

    def _unhealthy(self) -> str:
        if why := self._threads.why_unhealthy():
            return why
        silent_s = self._clock() - self._node_loop.stepped_at
        return f"the kubelet has not been looked after for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    def _unready(self) -> str:
        if self._unhealthy():
            return self._unhealthy()
        if not self._are_all_read():
            return "the GPUs have not been read yet"
        if self.board.snapshot().kubelet is None:
            return "the kubelet does not answer"
        if self._plugins is not None and not self.surroundings.registered:
            return "the profiles are not registered with the kubelet"
        return ""


def _slices_changed(known: Snapshot, now: Snapshot) -> bool:
    return now.marks is not known.marks or now.readings is not known.readings


def _nothing(_mig_uuid: MigUuid, _pid: int) -> None:
    """On hardware the driver knows by itself."""


def _driver(settings: Settings) -> Nvml | Simulated:
    if settings.simulated is None:
        return Nvml()
    changes = (
        Call.CREATE_GPU_INSTANCE,
        Call.CREATE_COMPUTE_INSTANCE,
        Call.DESTROY_COMPUTE_INSTANCE,
        Call.DESTROY_GPU_INSTANCE,
    )
    latency_s = dict.fromkeys(changes, settings.simulated_latency_s) if settings.simulated_latency_s else {}
    return Simulated(spec=settings.simulated, state=settings.gpu_state_file, latency_s=latency_s)


def injection_of(settings: Settings, layout: Layout, *, nodes_of: DeviceNodes) -> SliceInjection:
    """On hardware a container is also given the driver's libraries, where NVIDIA's own file says what they are."""
    if settings.inject is not Inject.CDI or layout is not Layout.DYNAMIC:
        return NoFiles()
    if settings.simulated:
        return CdiFiles(settings.cdi_dir)
    return CdiFiles(settings.cdi_dir, device_nodes=nodes_of, for_all=DriverEdits(settings.cdi_dir))


def _journal_at_start(opened: Opened) -> Journalled:
    """Said in the log too: conditions and events need an API server."""
    state = JournalState.REBUILT if opened.damaged else JournalState.RECOVERING
    if opened.damaged:
        _log.error("The journal is begun anew, from the GPUs and the kubelet: %s", opened.damaged)
    if opened.unwritable:
        state = JournalState.UNWRITABLE
        _log.error("Nothing is made or destroyed: %s", opened.unwritable)
    why = "; ".join(each for each in (opened.unwritable, opened.damaged) if each)
    return Journalled(state=state, open_intents=len(opened.intents), why=why)


def only_agent(state_dir: Path) -> tuple[int, ...]:
    """Locks for as long as these are open. Its predecessor, which was told to end, is waited for.

    The folder is locked as well as the file: where there is no room or no right for a file, pods run on and are given
    idle slices, so the agent has to start, and there may be two of it all the same.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    locks = [os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        locks.append(os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        _log.error("%s cannot be written, and is locked as a folder: %s", state_dir, error)
    deadline = time.monotonic() + PREDECESSOR_ENDS_WITHIN_S
    for lock in locks:
        _take(lock, deadline, f"another agent runs on this node: it holds {state_dir}/agent.lock", locks)
    return tuple(locks)


def _take(lock: int, deadline: float, refusal: str, opened: list[int]) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                for each in opened:
                    os.close(each)
                raise AnotherAgent(refusal) from None
            time.sleep(0.1)
        else:
            return
