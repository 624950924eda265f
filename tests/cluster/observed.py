"""A cold start by the phases of the walk, from what is written down: by watches as objects change, by the log of the
pending source, by the client for its own request.

Kubernetes writes its times in whole seconds, so a phase ends when its change arrives at a watch, a few milliseconds
after it was written. A log's times are the container runtime's; all nodes and this process share one clock.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from tests.cluster.api import POD, Api, Object, RefusedError
from tests.cluster.function import Function
from tests.cluster.slices import GATE, GPU_NODE, GpuNodeView, slices_of
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.waits import is_true, recorded
from tests.scenarios.stage import Timeline

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
    specs: dict[str, object] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        if self.began and at >= self.began:
            self.timeline.reached.setdefault(phase, at - self.began)

    def pod(self, arrived: float, event: str, pod: Object) -> None:
        labels = pod["metadata"].get("labels", {})
        if labels.get("serving.knative.dev/service") != self.function.name or event == "DELETED":
            return
        if pod["metadata"]["uid"] in self.known_pods or "deletionTimestamp" in pod["metadata"]:
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
        if any(each.profile == self.profile and each.uuid not in self.known_slices for each in slices_of(item)):
            self.reach("slice", arrived)

    def read_log(self, api: Api) -> None:
        """Of the pending source's pods, whichever there are now."""
        subject = f"{self.function.namespace}/{self.function.revision}"
        events = self.timeline.events
        for at, told, event in _events_sent(api, int(time.time() - self.wall) + 2):
            if told == subject and at >= self.wall:
                events[event] = min(at - self.wall, events.get(event, at - self.wall))
        if events:
            self.timeline.reached["pending event"] = min(events.values())


@contextmanager
def observed(function: Function, profile: str, nodes: Sequence[GpuNodeView], api: Api) -> Iterator[Observation]:
    seen = Observation(function, profile, Timeline(what=function.name))
    seen.known_pods = frozenset(pod["metadata"]["uid"] for pod in api.items(POD, function.namespace))
    seen.known_slices = frozenset(each.uuid for node in nodes for each in node.slices())
    seen.specs = {node.name: node.object["spec"].get("gpus") for node in nodes}
    with ExitStack() as stack:
        stack.enter_context(recorded(api, POD, function.namespace, seen.pod))
        stack.enter_context(recorded(api, GPU_NODE, None, seen.gpu_node))
        seen.began, seen.wall = time.monotonic(), time.time()
        seen.timeline.reached["request"] = 0.0
        yield seen
    seen.read_log(api)


def _events_sent(api: Api, seconds: int) -> Iterator[tuple[float, str, str]]:
    """(when the sink had taken it, subject, id) of the last seconds, as far as the pods that are there now tell."""
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
