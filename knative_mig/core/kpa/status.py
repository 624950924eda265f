"""What a revision's PodAutoscaler says of it, as far as the next pass of `reconcile` builds on it.

The subtle thing is `since`: the API server keeps whole seconds, so that a wait by it ends up to a second early.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import floor
from typing import Final


class Activity(StrEnum):
    """The condition Active, by its status."""

    ACTIVE = "True"
    ACTIVATING = "Unknown"
    INACTIVE = "False"


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    activity: Activity
    reason: str = ""
    message: str = ""
    since: float  # of this status and this reason

    def now_said(self, activity: Activity, reason: str, message: str, now: float) -> "Active":
        if (activity, reason, message) == (self.activity, self.reason, self.message):
            return self
        return Active(activity=activity, reason=reason, message=message, since=floor(now))


QUEUED: Final = (
    Activity.ACTIVATING,
    "Queued",
    "Requests to the target are being buffered as resources are provisioned.",
)
NO_TRAFFIC: Final = (Activity.INACTIVE, "NoTraffic", "The target is not receiving traffic.")
TIMED_OUT: Final = (Activity.INACTIVE, "TimedOut", "The target could not be activated.")
SERVING: Final = (Activity.ACTIVE, "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    active: Active
    initialized: bool = False  # it once had as many pods as it is to begin with
    routed: bool = False  # its route said that it is ready
    desired: int | None = None
    actual: int | None = None

    @classmethod
    def fresh(cls, now: float) -> "Status":
        return cls(active=Active(activity=Activity.ACTIVATING, since=floor(now)))
