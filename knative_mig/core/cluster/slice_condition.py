"""What a pod's status says of the slice that it waits for: a condition of our own, `knative-mig.dev/Slice`.

Chosen by `reconfigurer.planner.conditions`, read again by the mirrors of pods. A pod that is served at once has none.
While it waits the condition is False, with the reason of the Event on it; once it was given its slice it is True, with
one reason whichever way that was.
"""

from typing import Final

from knative_mig.core.gpu_node import Condition

TYPE: Final = "knative-mig.dev/Slice"
GIVEN: Final = "SliceGiven"
_MOST_CHARACTERS: Final = 1024  # as many as an Event has


def condition(was: Condition | None, reason: str, message: str, now: float) -> Condition:
    """`was`: the one before it, which knows since when it is so. `now`: seconds since the epoch."""
    status = reason == GIVEN
    # A pod's times are whole seconds: what was written is to be found again.
    since = was.since if was is not None and was.status is status else float(int(now))
    return Condition(type=TYPE, status=status, reason=reason, message=message[:_MOST_CHARACTERS], since=since)


def says(shown: Condition | None, said: Condition) -> bool:
    """Whether what a pod shows is that: since when is not looked at."""
    return shown is not None and (shown.status, shown.reason, shown.message) == (
        said.status,
        said.reason,
        said.message,
    )
