"""A whole node for `bench.reconfigure`: the agent, simulated GPUs, a kubelet and an API server over real sockets.

The agent is this process, with a worker process a GPU; kubelet and API server are one of their own, whose time is in
the figures where the agent waits for it. The subtle thing is where times are taken: at the ports, by what the agent
lets be put around them, and where the API server stores an object; nothing in the agent knows that it is measured.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, cast

from bench.outside import Outside
from knative_mig.adapters.kube import kinds
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.core.gpu_node import GpuNodeSpec, WantedGpu, WantedSlice
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuDriver
from knative_mig.ports.kube import Conflict
from reconfigurer.agent.kube_side import KubeSide
from reconfigurer.agent.process import Agent, Around
from reconfigurer.agent.settings import Settings
from tests.crash_campaign.watched import WatchedClient, WatchedGpus, WatchedJournal
from tests.fake_api.store import Body
from tests.rigs.agent_worlds import FakeProcesses

T = TypeVar("T")
NODE: Final = NodeName("n1")
GIVE_UP_AFTER_S: Final = 60.0
AT_REST_AFTER_S: Final = 0.1  # twice what the agent waits for changes that it reports together
CHANGES_A_GPU: Final = ("gpu create_", "gpu destroy_")
NODE_WRITE: Final = "api patch nodes/status"
Layout = Mapping[int, tuple[str, ...]]  # of the GPUs that are named, by their number


@dataclass(frozen=True, slots=True)
class Span:
    call: str
    began: float
    ended: float


@dataclass(slots=True)
class Spans:
    """Of one driver, or of one client. Any thread adds, an append being one step."""

    all: list[Span] = field(default_factory=list)

    def around(self, call: str, do: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return do()
        finally:
            self.all.append(Span(call, began, time.monotonic()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The moments of one change, monotonic."""

    stored: float  # the spec, by the API server
    seen: float  # by the agent's mirror
    begun: float  # the first intent was written down
    cut: float  # the last call of the driver that changes something had come back
    pushed: float  # the kubelet had the last list of devices
    patching: float  # the agent began to write the Node's status
    visible: float  # it was stored: the scheduler knows
    driver_s: float  # in those calls of the driver, of the GPU where they took longest

    @property
    def phases_s(self) -> tuple[float, ...]:
        """One after another, from the spec's being stored to the Node's; named in `PHASES`."""
        cutting = self.cut - self.begun
        return (
            self.seen - self.stored,
            self.begun - self.seen,
            self.driver_s,
            cutting - self.driver_s,
            self.pushed - self.cut,
            self.patching - self.pushed,
            self.visible - self.patching,
        )

    @property
    def total_s(self) -> float:
        return self.visible - self.stored

    @property
    def own_s(self) -> float:
        """All that is not the driver's. The fakes' own time is in it."""
        return self.total_s - self.driver_s


PHASES: Final = (
    "watch",
    "decide, take back",  # also: the kubelet and the Node have let go of what is destroyed
    "NVML",
    "between its calls",
    "plugin push",
    "kubelet believes",
    "Node patch",
)


class OneNode:
    """`with OneNode(folder, gpus=8, latency_s=0.0) as node: node.change({0: ("3g.20gb@4",)})`."""

    def __init__(self, folder: Path, *, gpus: int, latency_s: float) -> None:
        self._outside = Outside(folder / "kubelet", NODE)
        self._settings = Settings(
            node=NODE,
            gpus=f"simulated:{gpus}xA100-40GB",
            simulated_latency_s=latency_s,
            state_dir=folder / "state",
            sockets_dir=folder / "s",
            cdi_dir=folder / "cdi",
            kubelet_dir=folder / "kubelet",
            ops_host="127.0.0.1",
            ops_port=0,
        )
        self._drivers: list[Spans] = []
        self._journal, self._writes = Spans(), Spans()
        self._seen_at = 0.0
        self._layout: dict[int, tuple[str, ...]] = {}

    def __enter__(self) -> Self:
        self._outside.__enter__()
        self._client = self._outside.client()
        client = cast("KubeClient", WatchedClient(self._outside.client(), self._writes))
        around = Around(driver=self._timed, journal=lambda journal: WatchedJournal(journal, self._journal))
        kube = KubeSide.of(client, self._settings)
        self._agent = Agent(self._settings, kube, FakeProcesses(), around=around)
        kube.spec_mirror.on_change(lambda _: self._note_seen())
        self._agent.start()
        self._wait(lambda: len(self._agent.board.snapshot().readings) > 0 and self._agent.surroundings.registered)
        self._uuids = sorted(self._agent.board.snapshot().readings)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._agent.end()
        self._outside.__exit__(kind, error, at)

    def change(self, layout: Layout) -> Change:
        """Asks for these slices on these GPUs, and waits until the Node offers what all GPUs together have."""
        self._forget()
        self._layout |= layout
        wanted: dict[str, int] = {}
        for slices in self._layout.values():
            for words in slices:
                wanted[_profile(words).resource] = wanted.get(_profile(words).resource, 0) + 1
        stored = self._write_spec()
        visible = 0.0

        def offered() -> bool:
            nonlocal visible
            if not visible:
                offers = [each.at for each in self._outside.stored(kinds.NODE) if _offers(each.body, wanted)]
                visible = min((at for at in offers if at > stored), default=0.0)
            return bool(visible) and self._answered(visible) and self._settled()

        self._wait(offered)
        return self._measured(layout, stored, visible)

    def _measured(self, layout: Layout, stored: float, visible: float) -> Change:
        changes = [
            [each for each in spans.all if each.call.startswith(CHANGES_A_GPU)] for spans in self._drivers if spans.all
        ]
        cut = max(span.ended for each in changes for span in each)
        profiles = {_profile(words) for slices in layout.values() for words in slices}
        pushed = max(self._outside.pushed_at(profile) for profile in profiles)
        patching = max(each.began for each in self._writes.all if each.call == NODE_WRITE and each.began <= visible)
        return Change(
            stored=stored,
            seen=self._seen_at,
            begun=min(each.began for each in self._journal.all),
            cut=cut,
            pushed=min(pushed, patching),
            patching=patching,
            visible=visible,
            driver_s=max(sum(span.ended - span.began for span in each) for each in changes),
        )

    def _write_spec(self) -> float:
        """When it was stored."""
        gpus = tuple(
            WantedGpu(
                uuid=GpuUuid(self._uuids[number]), slices=tuple(self._wanted(words) for words in self._layout[number])
            )
            for number in sorted(self._layout)
        )
        gpu_nodes = KubeGpuNodes(self._client)
        while True:
            try:
                answer = gpu_nodes.write_spec(gpu_nodes.read(NODE), GpuNodeSpec(gpus=gpus))
            except Conflict:
                continue
            return next(
                each.at
                for each in self._outside.stored(kinds.GPU_NODE)
                if each.body["metadata"]["resourceVersion"] == answer.resource_version
            )

    def _wanted(self, words: str) -> WantedSlice:
        (model,) = self._agent.board.snapshot().models
        profile = model.profile(_profile(words))
        return WantedSlice(profile=profile.name, start=int(words.partition("@")[2]), size=profile.memory_units)

    def _settled(self) -> bool:
        """So that the next change finds nobody at work."""
        now = self._agent.board.snapshot()
        return (
            now.spec is not None
            and all(
                now.progress[uuid].settled and now.progress[uuid].spec_generation == now.spec.generation
                for uuid in self._uuids
            )
            and time.monotonic() > self._outside.last_stored_at() + AT_REST_AFTER_S
        )

    def _answered(self, visible: float) -> bool:
        """The agent has the answer to the write that made it visible, so the write's times are known."""
        return any(each.call == NODE_WRITE and each.ended >= visible for each in self._writes.all)

    def _timed(self, driver: GpuDriver) -> GpuDriver:
        spans = Spans()
        self._drivers.append(spans)
        return WatchedGpus(driver, spans)

    def _note_seen(self) -> None:
        """The first time after a spec was written; the agent's own status comes back by the same watch."""
        self._seen_at = self._seen_at or time.monotonic()

    def _forget(self) -> None:
        for spans in (*self._drivers, self._journal, self._writes):
            spans.all.clear()
        self._outside.forget()
        self._seen_at = 0.0

    def _wait(self, what: Callable[[], object]) -> None:
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while not what():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing came of it in {GIVE_UP_AFTER_S:g} s: {self._layout}")
            time.sleep(0.05)


def _profile(words: str) -> ProfileName:
    return ProfileName.parse(words.partition("@")[0])


def _offers(node: Body, wanted: Mapping[str, int]) -> bool:
    offered = {name: int(count) for name, count in node["status"].get("allocatable", {}).items() if int(count)}
    return offered == wanted
