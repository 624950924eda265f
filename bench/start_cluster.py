"""Functions at zero on the test cluster, and one cold start of one of them: what `bench.coldstart` measures with.

The slices are laid out so that one kind of function finds an idle slice and the other none: before each request the
simulated GPUs' own state is read, and a start whose slice need not be merged, or need be, is not the one that was asked
for. Watches run for the whole time, so that a start costs this process no more than reading what they bring.
"""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from bench.start_notes import Before, Notes, moments, offered, told_in_logs, wall_of
from bench.start_spans import PHASES, Kind, Start
from tests.cluster.api import AUTOSCALER, NAMESPACE, NODE, POD, SERVICE, Api, RefusedError
from tests.cluster.driver import Cluster
from tests.cluster.function import Function, manifest
from tests.cluster.simulation import layouts
from tests.cluster.slices import GPU_NODE, GpuNodeView, slices_of
from tests.cluster.system import AGENT_NAMESPACE, PLANNER_NAMESPACE
from tests.cluster.testbed.topology import POOL_LABEL
from tests.cluster.waits import NotSeenError, eventually, recorded, until_all

# Nowhere is room for one more, and only the two small ones may go: 4g.20gb is what functions of the other kind ask for.
FRAGMENTED: Final = frozenset({"4g.20gb@0", "2g.10gb@4", "1g.5gb@6"})
MERGED: Final = frozenset({"4g.20gb@0", "3g.20gb@4"})
PROFILES: Final = {Kind.UNINSTALLED: "", Kind.PLAIN: "", Kind.IDLE_SLICE: "4g.20gb", Kind.MERGE: "3g.20gb"}
_TIMEOUT_S: Final = 10  # no pod drains for longer
_AT_ONCE: Final = 4  # functions that are deployed side by side
_PHASES_SECONDS: Final = 20.0
_READY_SECONDS: Final = 2.0  # the kubelet may tell of Ready ten seconds late; those that are kept awake do not wait


class UnfitError(Exception):
    """What was asked for would not be, or was not, a start of its kind."""


@dataclass(slots=True)
class Functions:
    """Those of one run, in a namespace of their own, on the GPU nodes whatever they ask for."""

    cluster: Cluster
    api: Api
    namespace: str
    of: dict[Kind, list[Function]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def deploy(self, kind: Kind, count: int) -> None:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            self.of[kind] = list(pool.map(lambda number: self._deployed(kind, number), range(count)))

    def _deployed(self, kind: Kind, number: int) -> Function:
        name = f"{kind.replace(' ', '-')}-{number}"
        limits = {f"nvidia.com/mig-{PROFILES[kind]}": "1"} if PROFILES[kind] else {}
        written = manifest(name, limits=limits, timeoutSeconds=_TIMEOUT_S, nodeSelector={POOL_LABEL: "gpu"})
        self.api.create(SERVICE, written, self.namespace)
        function = Function(
            name=name, namespace=self.namespace, api=self.api, gateway=self.cluster.gateway, domain=self.cluster.domain
        )
        return function.wait_ready()

    def keep_awake(self, kind: Kind) -> None:
        """Those of this kind that are."""
        for function in self.of[kind]:
            if function.pods():
                function.ask()

    def forget(self, *kinds: Kind) -> None:
        """Nobody waits for them any more."""
        for kind in kinds:
            del self.of[kind]

    def rest(self) -> None:
        """All at zero, and nobody drains: a pod that answers no more is let go at once."""
        for some in self.of.values():
            for function in some:
                function.wait_zero()
        for pod in self.api.items(POD, self.namespace):
            with suppress(RefusedError):
                self.api.call("DELETE", POD.path(self.namespace, pod["metadata"]["name"]), {"gracePeriodSeconds": 1})
        until_all(self.api, POD, self.namespace, "no pod is left", lambda world: not world)

    # ------------------------------------------------------------ slices

    @property
    def gpu_nodes(self) -> list[GpuNodeView]:
        found = self.api.items(NODE, labelSelector=f"{POOL_LABEL}=gpu")
        return [GpuNodeView(node["metadata"]["name"], self.api) for node in found]

    def lay_out(self) -> None:
        for node in self.gpu_nodes:
            node.wait("has only idle slices", lambda slices: all(each.state == "Idle" for each in slices))
            node.want(*[" ".join(sorted(FRAGMENTED, key=lambda word: word[-1]))] * len(node.gpus))

    def _check(self, kind: Kind) -> None:
        """UnfitError: this request would not be what it is to be."""
        profile = PROFILES[kind]
        if not profile:
            return
        cut = [layout for node in self.gpu_nodes for layout in layouts(self.cluster, node.name).values()]
        idle = sum(
            each.profile == profile and each.state == "Idle" for node in self.gpu_nodes for each in node.slices()
        )
        if kind is Kind.IDLE_SLICE and not idle:
            raise UnfitError(f"no {profile} is idle")
        if kind is Kind.MERGE and (idle or FRAGMENTED not in cut or any(each not in _EITHER for each in cut)):
            raise UnfitError(f"{idle} idle {profile}, and the GPUs hold {'; '.join(map(_shown, cut))}")

    # ------------------------------------------------------------ a start

    def start(self, kind: Kind, function: Function) -> Start:
        before = self._before(kind, function)
        self._check(kind)
        self.notes.all.clear()
        answer = function.ask()
        if answer.status != 200:
            raise UnfitError(f"{function.name} answered {answer.status} {answer.text[:100]}")
        wanted = {"wanted", "pod created", "schedulable", "scheduled", "started"}
        if kind is Kind.MERGE:
            wanted |= {"plan", "slice", "offered"}

        def seen() -> dict[str, float]:
            return moments(list(self.notes.all), before, answer.asked)

        reached = eventually(
            f"every phase of {function.name} was seen", seen, lambda found: found.keys() >= wanted,
            seconds=_PHASES_SECONDS,
        )  # fmt: skip
        with suppress(NotSeenError):
            reached = eventually("it is Ready", seen, lambda found: "ready" in found, seconds=_READY_SECONDS)
        if kind is Kind.IDLE_SLICE and "plan" in reached:
            raise UnfitError("a slice was made, though one was idle")
        if before.profile:
            told = told_in_logs(self._log_lines(), before, wall_of(answer.asked))
            reached |= told if kind is Kind.MERGE else {"pending event": told["pending event"]}
        reached["first byte"] = answer.first_byte - answer.asked
        return Start(kind=kind, reached={phase: reached[phase] for phase in PHASES if phase in reached})

    def _before(self, kind: Kind, function: Function) -> Before:
        profile = PROFILES[kind]
        gpu_nodes = self.api.items(GPU_NODE) if profile else []
        nodes = self.api.items(NODE) if profile else []
        return Before(
            namespace=self.namespace,
            service=function.name,
            revision=function.revision,
            profile=profile,
            pods=frozenset(pod["metadata"]["uid"] for pod in self.api.items(POD, self.namespace)),
            slices=frozenset(each.uuid for item in gpu_nodes for each in slices_of(item)),
            specs={item["metadata"]["name"]: item["spec"].get("gpus") for item in gpu_nodes},
            offered={node["metadata"]["name"]: offered(node, profile) for node in nodes},
        )

    def _log_lines(self) -> Iterator[str]:
        for place, component in ((PLANNER_NAMESPACE, "source"), (AGENT_NAMESPACE, "agent")):
            for pod in self.api.items(POD, place, labelSelector=f"app.kubernetes.io/component={component}"):
                path = f"{POD.path(place, pod['metadata']['name'])}/log?timestamps=true&sinceSeconds=30"
                yield from self.api.text(path).splitlines()


_EITHER: Final = (FRAGMENTED, MERGED)


def _shown(layout: frozenset[str]) -> str:
    return " ".join(sorted(layout, key=lambda word: word[-1]))


@contextmanager
def functions(cluster: Cluster) -> Iterator[Functions]:
    """In a namespace that goes with the context."""
    api, namespace = cluster.connect(), f"coldstart-{uuid.uuid4().hex[:5]}"
    api.create(NAMESPACE, {"metadata": {"name": namespace}})
    made = Functions(cluster, api, namespace)
    try:
        yield made
    finally:
        api.delete(NAMESPACE, namespace)


@contextmanager
def watched(made: Functions, *, installed: bool) -> Iterator[None]:
    """Takes down what its starts are read from, for up to ten minutes."""
    kinds = [(POD, made.namespace), (AUTOSCALER, made.namespace)]
    with ExitStack() as stack:
        for kind, place in [*kinds, *([(GPU_NODE, None), (NODE, None)] if installed else [])]:
            stack.enter_context(recorded(made.api, kind, place, made.notes.taker(kind.plural)))
        yield
