"""Says on each GpuNode whether it is planned on: the leader's own condition in its status.

Called by the loop after what is written for pods. A word that could not be written is written in a later round, and one
that the mirror has not shown yet is not written again meanwhile.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from knative_mig.core.cluster.planned import word
from knative_mig.core.cluster.staleness import Verdict
from knative_mig.core.gpu_node import Condition, GpuNode
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ClusterError, GpuNodes, ObjectNotFound
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.writing import InParallel, one_by_one

_log = logging.getLogger(__name__)
# One that the mirror has not shown for so long has been lost, or undone by somebody.
_SEEN_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    uid: str
    word: tuple[bool | None, str, str]
    at: float


class Sayer:
    def __init__(self, gpu_nodes: GpuNodes, in_parallel: InParallel = one_by_one) -> None:
        self._gpu_nodes = gpu_nodes
        self._in_parallel = in_parallel
        self._said: dict[NodeName, _Said] = {}
        self._failing = False

    def say(self, nodes: Mapping[NodeName, GpuNode], verdicts: Mapping[NodeName, Verdict], now: Now) -> None:
        new = {name: found for name in nodes if (found := word(nodes[name], verdicts[name], now.wall))}
        self._said = {name: each for name, each in self._said.items() if name in new}
        due = {name: found for name, found in new.items() if self._is_due(nodes[name], found, now)}
        errors: list[ClusterError] = []

        def one(name: NodeName) -> Callable[[], None]:
            def write() -> None:
                said = _Said(uid=nodes[name].uid, word=_of(due[name]), at=now.monotonic)
                try:
                    self._gpu_nodes.write_planned(nodes[name], due[name])
                    self._said[name] = said
                except ObjectNotFound:
                    pass
                except ClusterError as error:
                    errors.append(error)

            return write

        self._in_parallel([one(name) for name in due])
        if errors and not self._failing:
            _log.warning("%d GpuNodes cannot be told whether they are planned on: %s", len(errors), errors[0])
        self._failing = bool(errors)

    def _is_due(self, node: GpuNode, found: Condition, now: Now) -> bool:
        said = self._said.get(node.name)
        return (
            said is None or (said.uid, said.word) != (node.uid, _of(found)) or now.monotonic - said.at >= _SEEN_WITHIN_S
        )


def _of(condition: Condition) -> tuple[bool | None, str, str]:
    return condition.status, condition.reason, condition.message
