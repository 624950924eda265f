"""On which nodes are holders that cannot be named yet, found by what may name them: their pod, or its Revision.

Kept by `watch`, so that of thousands of them only those are tried again of which something came.
"""

from collections.abc import Iterable

from knative_mig.core.inventory import Function, NodeName

PodName = tuple[str, str]  # namespace and name
Sign = PodName | Function  # of a function its Revision


class Nameless:
    def __init__(self) -> None:
        self._nodes: dict[Sign, set[NodeName]] = {}
        self._signs: dict[NodeName, frozenset[Sign]] = {}

    def __bool__(self) -> bool:
        return bool(self._signs)

    def put(self, node: NodeName, signs: Iterable[Sign] = ()) -> None:
        """All that the node waits for, in place of what it waited for before."""
        for sign in self._signs.pop(node, ()):
            self._nodes[sign].discard(node)
            if not self._nodes[sign]:
                del self._nodes[sign]
        if found := frozenset(signs):
            self._signs[node] = found
            for sign in found:
                self._nodes.setdefault(sign, set()).add(node)

    def nodes_of(self, signs: Iterable[Sign]) -> set[NodeName]:
        """Those that wait for one of them."""
        return {node for sign in signs for node in self._nodes.get(sign, ())}
