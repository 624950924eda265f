"""A GPU node whose status a test patches, as the node agent will: slices that appear and go."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster.api import JSON_PATCH, NODE, Api, Object


@dataclass(frozen=True, slots=True)
class GpuNode:
    name: str
    api: Api

    @property
    def status(self) -> Object:
        found: Object = self.api.get(NODE, self.name)["status"]
        return found

    def offer(self, resource: str, count: int) -> None:
        """Capacity and allocatable in one write. Capacity alone would wait for the kubelet's next status push."""
        self._patch("add", resource, str(count))

    def withdraw(self, resource: str) -> None:
        if resource in self.status["capacity"]:
            self._patch("remove", resource, None)

    @contextmanager
    def offering(self, resource: str, count: int = 1) -> Iterator[None]:
        self.offer(resource, count)
        try:
            yield
        finally:
            self.withdraw(resource)

    def _patch(self, operation: str, resource: str, value: str | None) -> None:
        pointer = resource.replace("/", "~1")
        entry = {"op": operation} | ({"value": value} if value is not None else {})
        patch = [{**entry, "path": f"/status/{place}/{pointer}"} for place in ("capacity", "allocatable")]
        self.api.call("PATCH", f"{NODE.path(name=self.name)}/status", patch, content_type=JSON_PATCH)
