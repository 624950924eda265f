"""What a campaign plays: who is killed, amid what, in which steps, and how each of them must end.

`scenario` and `moves` are the two plays; `campaign` plays them. The deadline of a step counts from the last kill; where
nobody was killed there is much time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Protocol, Self, TypeVar

from tests.crash_campaign.hosts import ForkHost
from tests.crash_campaign.killable import LOOK_EACH_S, Killable

FIRST_TIME_S: Final = 60.0  # a pod's start, or a state that nobody was killed on the way to: on a busy machine
STAYS_S: Final = 0.1
RECOVERS_WITHIN_S: Final = 10.0


class Amid(Protocol):
    """All that surrounds the process that is killed."""

    @property
    def victim(self) -> Killable: ...

    def harm(self) -> str:
        """What must never be and has been, whoever may put it right again; empty: nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *of_error: object) -> None: ...


W = TypeVar("W", bound=Amid)
W_contra = TypeVar("W_contra", bound=Amid, contravariant=True)


class Step(Protocol[W_contra]):
    @property
    def name(self) -> str: ...

    @property
    def act(self) -> Callable[[W_contra], None]:
        """What is wanted of the process, and perhaps of others."""

    def problems(self, world: W_contra) -> list[str]:
        """What is not yet as it should be at the step's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play(Generic[W]):
    name: str
    steps: Sequence[Step[W]]
    host: Callable[[], ForkHost]
    world: Callable[[Path, ForkHost], W]
    harm: str  # what is counted where there was some
    recovers_within_s: float = RECOVERS_WITHIN_S
    stays_s: float = STAYS_S  # so long a step's end must hold

    def wait_until_done(self, world: W, step: Step[W], *, recovers_within_s: float) -> "Outcome":
        began, right_since, last = time.monotonic(), None, ""
        while True:
            wrong = step.problems(world)
            now, killed_at = time.monotonic(), world.victim.killed_at
            if wrong:
                right_since, last = None, wrong[-1]
                if now > (began + FIRST_TIME_S if killed_at is None else killed_at + recovers_within_s):
                    return Outcome(wrong=tuple(wrong), at=now)
            elif right_since is None or (killed_at is not None and killed_at > right_since):
                right_since = now
            elif now >= right_since + self.stays_s:
                return Outcome(wrong=(), at=right_since, last=last)
            time.sleep(LOOK_EACH_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    wrong: tuple[str, ...]  # still, at the deadline; empty: all came right and stayed so for a moment
    at: float  # monotonic, when it had come right, or the deadline was passed
    last: str = ""  # what was wrong just before it came right
