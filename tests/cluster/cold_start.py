"""One cold start, taken apart by phase: the words of the walk, as far as plain Knative goes.

Kubernetes writes its times in whole seconds, so a phase ends when its change arrives at a watch (a few milliseconds
after it was written). Request and first byte are the client's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.cluster.api import POD, Api, Object
from tests.cluster.function import Function
from tests.cluster.waits import eventually, is_true, recorded

PHASES: Final = ("pod created", "scheduled", "containers started", "pod ready", "first byte")


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from the request to the end of each phase.

    The first byte may come before the kubelet's Ready: the activator probes the pod itself.
    """

    reached: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.reached["first byte"]


def measure(function: Function, api: Api) -> ColdStart:
    """Asks a function that is at zero and takes down when what happened."""
    seen: dict[str, float] = {}

    def note(arrived: float, event: str, pod: Object) -> None:
        if event == "ADDED":
            seen.setdefault("pod created", arrived)
        if pod["spec"].get("nodeName"):
            seen.setdefault("scheduled", arrived)
        containers = pod["status"].get("containerStatuses", [])
        if containers and all("running" in entry["state"] for entry in containers):
            seen.setdefault("containers started", arrived)
        if is_true(pod):
            seen.setdefault("pod ready", arrived)

    # Only the pod of this start: an earlier one may still be draining.
    earlier = {pod["metadata"]["uid"] for pod in api.items(POD, function.namespace)}

    def note_new(arrived: float, event: str, pod: Object) -> None:
        if pod["metadata"]["uid"] not in earlier and pod["metadata"]["name"].startswith(f"{function.name}-"):
            note(arrived, event, pod)

    with recorded(api, POD, function.namespace, note_new):
        answer = function.ask()
        assert answer.status == 200, answer
        # The kubelet may report Ready after the answer.
        eventually("every phase was seen", lambda: seen.keys() >= set(PHASES) - {"first byte"})
    seen["first byte"] = answer.first_byte
    return ColdStart({phase: seen[phase] - answer.asked for phase in PHASES if phase in seen})


def by_phase(starts: Sequence[ColdStart]) -> dict[str, list[float]]:
    return {phase: [start.reached[phase] for start in starts if phase in start.reached] for phase in PHASES}
