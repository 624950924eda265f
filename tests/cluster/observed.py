"""Cold starts by the phases of the walk, from what is written down: by watches as objects change, by the log of the
pending source, by the client for its own request.

Kubernetes writes its times in whole seconds, so a phase ends when its change arrives at a watch, a few milliseconds
after it was written. A log's times are the container runtime's; all nodes and this process share one clock.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tests.cluster.api import POD, Api, Object, RefusedError
from tests.cluster.function import Function
from tests.cluster.slices import GATE, GPU_NODE, GpuNodeView, slices_of
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.waits import NotSeenError, eventually, is_true, recorded
from tests.scenarios.stage import Timeline

Sent = tuple[float, str, str]  # when the sink had taken it, the event's subject, its id
_LATE_S: Final = 2.0  # well before a function that nobody asks any more is at zero
_SENT = re.compile(r"^(\S+) .*: Sent: '(\S+) (\S+)'$")


@dataclass(slots=True)
class Observation:
    """What is taken down while one function starts."""

    function: Function
    profile: str
    timeline: Timeline
    began: float = 0.0
    wall: float = 0.0
    known_pods: frozenset[str] = frozenset()
    known_slices: frozenset[str] = frozenset()
    busy_slices: set[str] = field(default_factory=set)  # those of them that were seen so
    specs: dict[str, object] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        if self.began and at >= self.began:
            self.timeline.reached.setdefault(phase, at - self.began)

    def pod(self, arrived: float, event: str, pod: Object) -> None:
        labels = pod["metadata"].get("labels", {})
        if labels.get("serving.knative.dev/service") != self.function.name:
            return
        if event == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            if event == "DELETED" or has_ended(pod):
                self.reach("drain", arrived)
            return
        if pod["metadata"]["uid"] in self.known_pods:
            return
        if not any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates", [])):
            self.reach("schedulable", arrived)
        containers = pod["status"].get("containerStatuses", [])
        if containers and all("running" in each["state"] for each in containers):
            self.reach("started", arrived)
        if is_true(pod):
            self.reach("ready", arrived)

    def gpu_node(self, arrived: float, _event: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if name not in self.specs:
            return
        if item["spec"].get("gpus") != self.specs[name]:
            self.reach("plan", arrived)
        for each in slices_of(item):
            if any(pod.startswith(f"{self.function.name}-0") for pod in each.holders):
                self.timeline.places.add((each.gpu, f"{each.profile}@{each.start}"))
            if each.profile != self.profile:
                continue
            if each.uuid not in self.known_slices:
                self.reach("slice", arrived)
            elif each.state == "Busy":
                self.busy_slices.add(each.uuid)
            elif each.state == "Idle" and each.uuid in self.busy_slices:
                self.reach("freed", arrived)

    def sent(self, sent: Sequence[Sent]) -> None:
        subject = f"{self.function.namespace}/{self.function.revision}"
        events = self.timeline.events
        for at, of, event in sent:
            if of == subject and at >= self.wall:
                events[event] = min(at - self.wall, events.get(event, at - self.wall))
        if events:
            self.timeline.reached["pending event"] = min(events.values())


@contextmanager
def observed(
    seen: Sequence[Observation], nodes: Sequence[GpuNodeView], api: Api, sent: Callable[[int], Iterable[Sent]]
) -> Iterator[None]:
    """All of them by the same two watches, however many functions of a namespace start at once.

    `sent`: what the pending source has sent in the last seconds.
    """
    [namespace] = {each.function.namespace for each in seen}
    pods = frozenset(pod["metadata"]["uid"] for pod in api.items(POD, namespace))
    items = {node.name: node.object for node in nodes}
    slices = [each for item in items.values() for each in slices_of(item)]

    def note_pod(arrived: float, event: str, pod: Object) -> None:
        for each in seen:
            each.pod(arrived, event, pod)

    def note_gpu_node(arrived: float, event: str, item: Object) -> None:
        for each in seen:
            each.gpu_node(arrived, event, item)

    for each in seen:
        each.known_pods = pods
        each.known_slices = frozenset(one.uuid for one in slices)
        each.busy_slices = {one.uuid for one in slices if one.profile == each.profile and one.state == "Busy"}
        each.specs = {name: item["spec"].get("gpus") for name, item in items.items()}
    with ExitStack() as stack:
        stack.enter_context(recorded(api, POD, namespace, note_pod))
        stack.enter_context(recorded(api, GPU_NODE, None, note_gpu_node))
        began, wall = time.monotonic(), time.time()
        for each in seen:
            each.began, each.wall = began, wall
            each.timeline.reached["request"] = 0.0
        yield
        _see_who_started(seen)
    events = [*sent(int(time.time() - wall) + 2)]
    for each in seen:
        each.sent(events)


def _see_who_started(seen: Sequence[Observation]) -> None:
    """A request is often answered before the kubelet's word that its pod is Ready is here."""
    starting = [each for each in seen if "schedulable" in each.timeline.reached]
    with suppress(NotSeenError):  # the story is over all the same
        eventually(
            "they are Ready", lambda: all("ready" in each.timeline.reached for each in starting), seconds=_LATE_S
        )


@dataclass(slots=True)
class Presence:
    """Whether at each change of a function's pods one was Ready that had not been told to go."""

    serving: dict[str, bool]  # by the pod's name
    bare: list[str] = field(default_factory=list)  # after which changes none was

    @classmethod
    def of(cls, pods: Sequence[Object]) -> "Presence":
        return cls({pod["metadata"]["name"]: _serves(pod) for pod in pods})

    @property
    def ready(self) -> set[str]:
        return {name for name, serves in self.serving.items() if serves}

    def pod(self, _arrived: float, event: str, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self.serving[name] = event != "DELETED" and _serves(pod)
        if not self.ready:
            self.bare.append(f"{event} of {name}")


def _serves(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and is_true(pod)


def has_ended(pod: Object) -> bool:
    """Each of its containers, by the kubelet's own word; taking down what was around them takes it longer."""
    containers = pod["status"].get("containerStatuses", [])
    return bool(containers) and all("terminated" in each["state"] for each in containers)


def events_sent(api: Api, seconds: int) -> Iterator[Sent]:
    """As far as the pods that are there now tell."""
    for pod in api.items(POD, PLANNER_NAMESPACE, labelSelector="app.kubernetes.io/component=source"):
        with suppress(RefusedError):  # it has not started, or is gone
            path = f"{POD.path(PLANNER_NAMESPACE, pod['metadata']['name'])}/log?timestamps=true&sinceSeconds={seconds}"
            for line in api.text(path).splitlines():
                if match := _SENT.match(line):
                    yield _seconds(match[1]), match[2], match[3]


def _seconds(stamp: str) -> float:
    """Of a time with nanoseconds, which are more digits than Python reads."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
