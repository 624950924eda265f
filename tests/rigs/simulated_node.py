"""One node around a simulated GPU: its agent's board and loop, a little kubelet, and pods that hold slices.

Nothing here runs by itself: a test says when the agent steps, when the kubelet believes what it was told, when it is
asked, and when its node's status is read. `settle` lets all of it happen, fairly, until nothing changes any more.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, StateStore
from knative_mig.core.agent.devices import devices_to_serve
from knative_mig.core.agent.health import BrokenSlice, Quarantine
from knative_mig.core.agent.readings import DeviceId, KubeletView
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec, Holder, SliceId, WantedGpu, WantedSlice
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.injection import InjectionFailed
from reconfigurer.agent.board import Board, NotToBeGiven
from reconfigurer.agent.gpu_loop import GpuLoop, Happened, Kind
from tests.rigs.memory_journal import MemoryDisk, MemoryJournal


class Killed(BaseException):
    """Instead of SIGKILL: no `except Exception` holds it up, and no `finally` of the agent may matter."""


def die() -> NoReturn:
    raise Killed


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001  # no two moments are the same
        return self.now


class MemoryInjection:
    def __init__(self) -> None:
        self.published: dict[SliceId, str] = {}
        self.full = False

    def publish(self, slice_id: SliceId, place: Place, mig_uuid: str, gi_id: int, ci_id: int) -> None:  # noqa: ARG002
        if self.full:
            raise InjectionFailed("no space left on device")
        self.published[slice_id] = mig_uuid

    def withdraw(self, slice_id: SliceId) -> None:
        self.published.pop(slice_id, None)

    def sweep(self, gpu: GpuUuid, live: object) -> None:
        assert isinstance(live, frozenset)
        self.published = {each: uuid for each, uuid in self.published.items() if each.gpu != gpu or each in live}


class MemoryReleases:
    """A `board.ReleaseBook`. `at` is called before and after each write, and may end the agent there."""

    def __init__(self) -> None:
        self.uuids: dict[SliceId, str] = {}
        self.full = False
        self.at: Callable[[str], None] = lambda _: None

    def all(self) -> Mapping[SliceId, str]:
        return dict(self.uuids)

    def remember(self, uuids: Mapping[SliceId, str]) -> None:
        self._write("remember", {**self.uuids, **uuids})

    def forget(self, slice_id: SliceId) -> None:
        self._write("forget", {each: uuid for each, uuid in self.uuids.items() if each != slice_id})

    def _write(self, what: str, after: dict[SliceId, str]) -> None:
        self.at(f"before {what}")
        if self.full:
            raise OSError("no space left on device")
        self.uuids = after
        self.at(f"after {what}")


@dataclass
class MemoryIll:
    """A `board.BrokenBook` and a `gpu_loop.QuarantineBook`. `at` is told of each write, and may end the agent there."""

    slices: dict[SliceId, BrokenSlice] = field(default_factory=dict)
    gpus: dict[GpuUuid, Quarantine] = field(default_factory=dict)
    boot: int = 1
    writes: int = 0
    at: Callable[[str], None] = lambda _: None

    def of_boot(self, boot: int) -> "MemoryIll":
        if boot != self.boot:
            self.slices, self.gpus, self.boot = {}, {}, boot
        return self

    def broken(self) -> Mapping[SliceId, BrokenSlice]:
        return dict(self.slices)

    def broke(self, slice_id: SliceId, broken: BrokenSlice) -> None:
        self.slices[slice_id] = broken
        self._written("broke")

    def mended(self, slice_id: SliceId) -> None:
        if self.slices.pop(slice_id, None):
            self._written("mended")

    def quarantine(self, gpu: GpuUuid) -> Quarantine | None:
        return self.gpus.get(gpu)

    def quarantined(self, gpu: GpuUuid, quarantine: Quarantine) -> None:
        kept = Quarantine(why=quarantine.why, since=0.0, mig_uuids=quarantine.mig_uuids)
        if self.gpus.get(gpu) != kept:
            self.gpus[gpu] = kept
            self._written("quarantined")

    def over(self, gpu: GpuUuid) -> None:
        if self.gpus.pop(gpu, None):
            self._written("over")

    def try_again(self) -> None:
        pass

    def _written(self, what: str) -> None:
        self.writes += 1
        self.at(what)


@dataclass
class Pod:
    name: str
    slice_id: SliceId
    mig_uuid: str
    namespace: str = "default"
    listed: bool = False  # PodResources shows it
    running: bool = False  # its process is on the slice
    released: bool = False


class Node:
    def __init__(self, store: StateStore, clock: Clock | None = None) -> None:
        self.store, self.clock, self.disk = store, clock or Clock(), MemoryDisk()
        self.controls = SimulationControls(store)
        self.uuid = GpuUuid(store.read().gpus[0].uuid)
        self.injection, self.releases, self.ill = MemoryInjection(), MemoryReleases(), MemoryIll()
        self.happened: list[Happened] = []
        self.boot = 1
        self.spec: GpuNode | None = None
        self.believed: Mapping[DeviceId, bool] = {}
        self.pods: dict[str, Pod] = {}
        self.offered: Mapping[ProfileName, int] = {}
        self._pod_number = 0
        self.restart_agent()

    # The agent

    def restart_agent(self) -> None:
        """What it knew is gone; what was being handed out has arrived, or never will."""
        for pod in self.pods.values():
            pod.listed = True
        self.board = Board(releases=self.releases, ill=self.ill.of_boot(self.boot), now_s=self.clock())
        self.board.put_processes_verified(verified=True)
        journal, opened = self.disk.open(f"boot-{self.boot}")
        self.loop = self.new_loop(journal, opened.intents)
        self.board.put_spec(self.spec)

    def new_loop(self, journal: MemoryJournal, intents: tuple[object, ...]) -> GpuLoop:
        return GpuLoop(
            self.uuid,
            driver=SimulatedGpus(self.store, sleep=lambda _: None, die=die),
            journal=journal,
            board=self.board,
            injection=self.injection,
            ill=self.ill,
            boot_id=f"boot-{self.boot}",
            clock=self.clock,
            intents=intents,  # type: ignore[arg-type]
            happened=self.happened.append,
        )

    @property
    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.happened]

    def step(self) -> float:
        return self.loop.step(self.clock())

    def want(self, *slices: str) -> None:
        """`3g.20gb@4`, each with the size that the model says."""
        model = self.store.read().gpus[0].model
        wanted = []
        for each in slices:
            name, _, start = each.partition("@")
            profile = ProfileName.parse(name)
            size = model.profile(profile).memory_units if model.has(profile) else 1
            wanted.append(WantedSlice(profile=profile, start=int(start), size=size))
        self.want_gpus(WantedGpu(uuid=self.uuid, slices=tuple(wanted)))

    def want_gpus(self, *gpus: WantedGpu) -> None:
        generation = self.spec.generation + 1 if self.spec else 1
        self.spec = GpuNode(name=NodeName("n1"), generation=generation, spec=GpuNodeSpec(gpus=gpus))
        self.board.put_spec(self.spec)

    # The kubelet and the node's status

    def kubelet_believes(self) -> None:
        now = self.board.snapshot()
        devices = devices_to_serve(now.readings.values(), now.marks, now.models)
        self.believed = {each.id: each.healthy for of_one in devices.values() for each in of_one}

    def ask_kubelet(self) -> None:
        asked_at = self.clock()
        holders = {
            DeviceId(str(pod.slice_id)): (Holder(namespace=pod.namespace, pod=pod.name, container="user"),)
            for pod in self.pods.values()
            if pod.listed
        }
        healthy = frozenset(each for each, is_healthy in self.believed.items() if is_healthy)
        self.board.put_kubelet(KubeletView(holders=holders, allocatable=healthy), asked_at)

    def write_node(self) -> None:
        kubelet = self.board.snapshot().kubelet
        if kubelet is not None:
            at = self.clock()
            self.offered = Counter(SliceId.parse(each).profile for each in kubelet.view.allocatable)
            self.board.put_node(self.offered, at)

    def round(self) -> None:
        self.step()
        self.kubelet_believes()
        self.ask_kubelet()
        self.write_node()
        self.clock.now += 1.0

    def settle(self, rounds: int) -> None:
        for _ in range(rounds):
            self.round()

    def settle_down(self, most: int = 150) -> None:
        """Until nothing was left to do for some rounds; back-offs take a minute."""
        quiet = 0
        while most and quiet < 4:
            self.round()
            now = self.board.snapshot()
            quiet = quiet + 1 if now.progress[self.uuid].settled and not self.disk.intents else 0
            most -= 1

    # Pods

    def admit(self, profile: str, name: str = "", namespace: str = "default") -> Pod | None:
        """The kubelet takes any device that it holds for healthy and free; None: there is none, or it was refused."""
        taken = {pod.slice_id for pod in self.pods.values()}
        for device, healthy in sorted(self.believed.items()):
            slice_id = SliceId.parse(device)
            if not healthy or slice_id in taken or str(slice_id.profile) != profile:
                continue
            try:
                mig_uuid = self.board.hand_out(slice_id, self.clock())
            except NotToBeGiven:
                return None
            self._pod_number += 1
            pod = Pod(name or f"pod-{self._pod_number}", slice_id, mig_uuid, namespace)
            self.pods[pod.name] = pod
            return pod
        return None

    def run(self, profile: str) -> Pod:
        pod = self.admit(profile)
        assert pod is not None
        pod.listed = True
        self.start(pod)
        return pod

    def start(self, pod: Pod) -> None:
        """Its process, which is this one, is on the slice."""
        pod.listed = pod.running = True
        self.controls.attach(MigUuid(pod.mig_uuid), pid=os.getpid())

    def stop(self, pod: Pod) -> None:
        if pod.running:
            self.controls.detach(MigUuid(pod.mig_uuid), pid=os.getpid())
            pod.running = False

    def release(self, pod: Pod) -> bool:
        self.stop(pod)
        pod.released = self.board.release(pod.slice_id, pod.mig_uuid, self.clock())
        return pod.released

    def end(self, pod: Pod) -> None:
        self.stop(pod)
        del self.pods[pod.name]

    # What there is

    def slices(self) -> list[str]:
        gpu = self.store.read().gpus[0]
        return [f"{each.place}{'' if each.mig_uuid else ' half made'}" for each in gpu.instances]

    def mig_uuids(self) -> set[str]:
        return {each.mig_uuid for each in self.store.read().gpus[0].instances if each.mig_uuid}

    def id(self, text: str) -> SliceId:
        name, _, start = text.partition("@")
        return SliceId(gpu=self.uuid, profile=ProfileName.parse(name), start=int(start))
