"""A Knative Service as admission sees it: what its user asks for, and the settings of its revision template.

Built from the API's JSON by `adapters.kube.parse_function`, and by tests by hand. A setting is an annotation of the
template or one of its timeouts, addressed by its place, so that choosing, recording and carrying need not know which.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from knative_mig.core.profile import RESOURCE_PREFIX

_ONE: Final = re.compile(r"\+?0*1(?:\.0*)?(?:[eE][+-]?0+)?|0*1000(?:\.0*)?m", re.ASCII)  # as a quantity
Setting = str | int  # the text of an annotation, the seconds of a timeout


def is_one(amount: str) -> bool:
    """However it is written; Kubernetes stores all of these as 1."""
    return len(amount) <= 16 and bool(_ONE.fullmatch(amount))


class Part(StrEnum):
    """Of a revision template."""

    ANNOTATIONS = "annotations"
    SPEC = "spec"


class Place(NamedTuple):
    part: Part
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """A container's resources, as they were written."""

    name: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)

    @property
    def slices(self) -> dict[str, str]:
        """A request without a limit is no legal one, but it is meant."""
        return {
            name: amount
            for name, amount in {**self.requests, **self.limits}.items()
            if name.startswith(RESOURCE_PREFIX)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the Service itself
    settings: Mapping[Place, Setting] = field(default_factory=dict)  # of its template: all that is there
    containers: tuple[Asks, ...] = ()
    init_containers: tuple[Asks, ...] = ()  # which are given a slice only to hand it on to a container
    idle_s: int = 0  # idleTimeoutSeconds; no setting of ours, but no timeout may be shorter
    service_links: bool | None = None  # enableServiceLinks of its template; None: it says nothing
    deleting: bool = False

    @property
    def slices(self) -> list[tuple[str, str]]:
        """Resource and amount, of all containers that stay."""
        return sorted(each for asks in self.containers for each in asks.slices.items())

    def template_annotations(self) -> dict[str, str]:
        return {place.name: str(value) for place, value in self.settings.items() if place.part is Part.ANNOTATIONS}
