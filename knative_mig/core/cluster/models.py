"""One object for each GPU model, however many agents report it.

Models are compared by identity, and each reading of a GpuNode makes its own: without this every node would be a model
of its own to the planner. Called by `node_view`.
"""

from knative_mig.core.geometry import GpuModel, Profile

_Content = tuple[str, int, int, tuple[Profile, ...]]


class Models:
    def __init__(self) -> None:
        self._known: dict[_Content, GpuModel] = {}
        self._by_identity: dict[int, tuple[GpuModel, GpuModel]] = {}

    def shared(self, model: GpuModel) -> GpuModel:
        """The first that was like it; two drivers' readings that differ are two models."""
        seen = self._by_identity.get(id(model))
        if seen and seen[0] is model:
            return seen[1]
        content = (model.name, model.memory_units, model.compute_slices, model.profiles)
        shared = self._known.setdefault(content, model)
        if len(self._by_identity) > 4 * len(self._known) + 64:
            self._by_identity.clear()
        self._by_identity[id(model)] = (model, shared)
        return shared
