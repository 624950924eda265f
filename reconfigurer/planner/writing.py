"""Writes specs under the leader's fencing token, many at once, and keeps what the mirror has not shown yet.

Called by the loop. After a write the mirror goes on showing the old object for a moment; planning on it would ask for
the same slice twice, so the answer to each write stands in until the mirror is as new.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ClusterError, Conflict, GpuNodes, Key, ObjectNotFound, Refused

_log = logging.getLogger(__name__)
_ATTEMPTS = 5

# Runs all of them, perhaps side by side, and returns when all are done.
InParallel = Callable[[Iterable[Callable[[], None]]], None]


def one_by_one(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    names: frozenset[NodeName] = frozenset()
    failed: Mapping[NodeName, ClusterError] | None = None
    overtaken_by: int | None = None  # a token above ours stands on a GpuNode


class SpecWriter:
    def __init__(self, gpu_nodes: GpuNodes, in_parallel: InParallel = one_by_one) -> None:
        self._gpu_nodes = gpu_nodes
        self._in_parallel = in_parallel
        self._newer: dict[NodeName, GpuNode] = {}

    def newest(self, mirror: Mapping[Key, GpuNode]) -> dict[NodeName, GpuNode]:
        """The mirror's, but for those that we have newer."""
        nodes = {node.name: node for node in mirror.values()}
        for name, ours in [*self._newer.items()]:
            theirs = nodes.get(name)
            if theirs is None or theirs.uid != ours.uid or theirs.generation >= ours.generation:
                del self._newer[name]
            else:
                nodes[name] = replace(ours, status=theirs.status, planned=theirs.planned)
        return nodes

    def write(self, nodes: Mapping[NodeName, GpuNode], specs: Mapping[NodeName, GpuNodeSpec]) -> Written:
        """A conflict is left to the next round: what was planned was planned on what is not so any more."""
        results: dict[NodeName, GpuNode | ClusterError] = {}

        def one(name: NodeName) -> None:
            try:
                results[name] = self._gpu_nodes.write_spec(nodes[name], specs[name])
            except ClusterError as error:
                results[name] = error

        self._in_parallel([lambda name=name: one(name) for name in specs])  # type: ignore[misc]
        return self._taken(results, specs)

    def stamp(self, nodes: Mapping[NodeName, GpuNode], token: int) -> Written:
        """The token on every GpuNode that has an older one; nothing else of the spec changes."""
        older = [name for name, node in nodes.items() if node.spec.fencing_token < token]
        results: dict[NodeName, GpuNode | ClusterError] = {}

        def one(name: NodeName) -> None:
            try:
                results[name] = self._stamped(nodes[name], token)
            except ClusterError as error:
                results[name] = error

        self._in_parallel([lambda name=name: one(name) for name in older])  # type: ignore[misc]
        gone = [name for name, result in results.items() if isinstance(result, ObjectNotFound)]
        for name in gone:
            del results[name]
        return self._taken(results, {name: GpuNodeSpec(fencing_token=token) for name in results})

    def _stamped(self, node: GpuNode, token: int) -> GpuNode:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._gpu_nodes.write_spec(node, replace(node.spec, fencing_token=token))
            except Conflict:
                node = self._gpu_nodes.read(node.name)
                if node.spec.fencing_token >= token:
                    return node
        return self._gpu_nodes.write_spec(node, replace(node.spec, fencing_token=token))

    def _taken(
        self, results: Mapping[NodeName, GpuNode | ClusterError], specs: Mapping[NodeName, GpuNodeSpec]
    ) -> Written:
        written, failed = set(), {}
        overtaken: int | None = None
        for name, result in results.items():
            if isinstance(result, GpuNode):
                written.add(name)
                self._newer[name] = result
                if result.spec.fencing_token > specs[name].fencing_token:
                    overtaken = max(overtaken or 0, result.spec.fencing_token)
                continue
            failed[name] = result
            if isinstance(result, Refused):
                overtaken = max(overtaken or 0, self._token_on(name)) or None
                if overtaken is not None and overtaken <= specs[name].fencing_token:
                    overtaken = None
            if not isinstance(result, Conflict):
                _log.warning("The spec of %s is not written: %s", name, result)
        return Written(names=frozenset(written), failed=failed, overtaken_by=overtaken)

    def _token_on(self, name: NodeName) -> int:
        try:
            return self._gpu_nodes.read(name).spec.fencing_token
        except ClusterError:
            return 0
