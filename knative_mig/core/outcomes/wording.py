"""What a pod that waits is told, what of it is news, and when it is told so though the reason is still the same.

Called by `reconfigurer.planner.telling` and `conditions` in each of the leader's rounds. That somebody else holds the
place now, or that something else would help, is news; a figure that has changed is none, for on a busy cluster figures
change all the time. The subtle thing is how often: the more pods wait the longer each waits for news, so that all of
them together cost the API server two writes a second, whatever happens on the GPUs. For more than 600 that would take
longer than all is told again by.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.planner.decisions import Reason

_EACH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wording:
    message: str
    gist: str  # the same without its figures: another one is news


def worded(reason: Reason, helps: Iterable[str] = ()) -> Wording:
    listed = ", or ".join(helps)
    message = f"{reason.text}; what would help: {listed}" if listed else reason.text
    gist = message
    for figure in reason.figures:
        gist = gist.replace(figure, "…")
    return Wording(message, gist)


@dataclass(frozen=True, slots=True)
class Pace:
    """`least_s`: between two words to one pod, however few wait."""

    least_s: float

    def is_due(self, since_s: float, *, news: bool, waiting: int, again_s: float) -> bool:
        """`since_s`: since the last word to that pod. `waiting`: pods. `again_s`: after so long all is told again."""
        return since_s >= (min(again_s, max(self.least_s, _EACH_S * waiting)) if news else again_s)


CONDITION: Final = Pace(10.0)
# A condition is overwritten, but an Event is one object more, for an hour.
EVENT: Final = Pace(60.0)
