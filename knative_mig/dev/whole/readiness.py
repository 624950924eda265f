"""Says what `dev` still waits for before it is ready: its processes, and that its nodes are planned on.

Asked by `process` until it is empty, of nodes by way of `cluster`. A process says at its own /readyz what it lacks, as
a kubelet would be told. The subtle thing is an agent that is ready there: its node is planned on only when its GpuNode
says so too, and a function that came before that would be placed on what is left.
"""

import http.client
from collections.abc import Iterable
from typing import Final

from knative_mig.core.gpu_node import Condition, ConditionType, GpuNode
from knative_mig.dev.whole.supervision import Part

_ANSWERS_WITHIN_S: Final = 1.0  # it is asked again, and meanwhile nobody hears that `dev` is to end


class Waiting:
    """For each until it said once that it is ready: what fails after that is started anew, and is no start."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = tuple(parts)

    def look(self) -> tuple[str, ...]:
        """What is still waited for, and why."""
        why = {part: _why_not(part.ready_at) for part in self._parts}
        self._parts = tuple(part for part in self._parts if why[part])
        return tuple(f"{part.name}: {why[part]}" for part in self._parts)


def _why_not(address: tuple[str, int]) -> str:
    connection = http.client.HTTPConnection(*address, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return "it has not begun to answer"
    finally:
        connection.close()
    return "" if answer.status == 200 else said


def why_not_planned_on(node: GpuNode | None) -> str:
    """What a node of the fleet is waited for. Empty: nothing, or what comes by no wait: its agent registers with the
    kubelet last, and what it lacks after that, somebody has to mend.
    """
    if node is None or node.status is None or not node.status.gpus:
        return "its GPUs"
    ready, connected = map(node.status.condition, (ConditionType.READY, ConditionType.KUBELET_CONNECTED))
    if ready is None or connected is None:
        return "its agent's word on it"
    if ready.status is False and connected.status:
        return ""
    if not ready.status:
        return _said(ready)
    if node.status.observed_generation < node.generation:
        return "its agent's answer to the planner"
    if node.planned is None:
        return "the planner's word on it"
    return "" if node.planned.status else _said(node.planned)


def _said(condition: Condition) -> str:
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
