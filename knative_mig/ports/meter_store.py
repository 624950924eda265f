"""Where the planner's meters outlive it: one document, replaced whole, guarded against a second writer.

Called by the planner's leader and by `knative-mig usage`; answered by a ConfigMap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMeters:
    data: Mapping[str, str]
    resource_version: str


class MeterStore(Protocol):
    def load(self) -> StoredMeters | None:
        """None: nothing has been stored yet."""

    def save(self, data: Mapping[str, str], *, replaces: StoredMeters | None) -> StoredMeters:
        """Conflict (or AlreadyExists, where `replaces` is None) if somebody else stored in between."""
