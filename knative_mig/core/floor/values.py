"""What the floor knows: Revisions with the values it may write, requests for them, and what it has written.

Built by `adapters.kube`, decided on by `rule`. A value is kept as the text that stands in the annotation, so that what
is restored is what was there; absent is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.inventory import Function
from knative_mig.core.kpa.settings import LEAST_TARGET
from knative_mig.core.profile import ProfileName

SHORTEST_WINDOW_S: Final = 6  # that Knative takes
LONGEST_WINDOW_S: Final = 3600.0
_MOST_PODS: Final = 2.0**31 - 1
# Field manager of every write of ours on a Revision: by it our values are told from other people's.
MANAGER: Final = "knative-mig-floor"


class Setting(StrEnum):
    """Below autoscaling.knative.dev/, on the Revision."""

    MIN = "min-scale"
    MAX = "max-scale"
    TARGET = "target"
    INITIAL = "initial-scale"  # so many pods are enough for a new Revision to be Ready
    WINDOW = "window"  # over so many seconds its autoscaler averages, and so long it waits before it goes to zero


# As Knative has them: a value that it refuses would stand in the way of all others.
_LEGAL: Final = {
    Setting.MIN: (0.0, _MOST_PODS),
    Setting.MAX: (1.0, _MOST_PODS),
    Setting.TARGET: (LEAST_TARGET, _MOST_PODS),
    Setting.INITIAL: (0.0, _MOST_PODS),
    Setting.WINDOW: (float(SHORTEST_WINDOW_S), LONGEST_WINDOW_S),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A quota's no to the pods that a Revision lacks, as it stands in its status. Floor and mover pass it over."""

    profile: ProfileName
    why: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    service: str = ""
    generation: int = 0  # its Configuration's: the highest is the newest
    ready: bool = True
    ending: bool = False
    routed: bool = True  # requests may come to it: its Service's traffic has not left it
    values: Mapping[Setting, str] = field(default_factory=dict)
    owners: Mapping[Setting, frozenset[str]] | None = field(default_factory=dict)  # field managers; None: not told
    burst: str = ""  # target-burst-capacity
    desired: int | None = None  # what the autoscaler wants; None: it does not know yet (its -1)
    denied: Denied | None = None

    @property
    def function(self) -> Function:
        return Function(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A component's, for one Revision, or for whichever Revision of a Service is the newest that is Ready."""

    component: str
    name: str
    namespace: str
    revision: str = ""
    service: str = ""
    setting: Setting = Setting.MIN
    value: float
    until: float
    reason: str

    def __post_init__(self) -> None:
        where = f"{self.component}/{self.name}"
        if bool(self.revision) == bool(self.service):
            raise BadInput(
                f"{where}: names {'both' if self.service else 'neither'} of function and service: one is legal"
            )
        if not isfinite(self.value) or (self.setting is not Setting.TARGET and self.value != int(self.value)):
            raise BadInput(f"{where}: {self.setting} is {self.value}: legal is a whole number")
        least, most = _LEGAL[self.setting]
        if not least <= self.value <= most:
            raise BadInput(f"{where}: {self.setting} is {self.value:g}: legal is {least:g} to {most:.0f}")

    @property
    def id(self) -> str:
        """Another value is another request."""
        return f"{self.component}/{self.name} {self.setting}={self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One value of a Revision that is, or was, not the user's. Stored before it is written.

    `done`: it has been seen to stand. `overruled`: requests that stood when somebody else wrote the value.
    """

    users: str | None
    wrote: str | None
    done: bool = False
    overruled: frozenset[str] = frozenset()


# Of one Revision; nothing is kept of a value that is the user's own.
Record = Mapping[Setting, Held]
