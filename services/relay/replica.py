"""When the engine may end, and its slice be given back, before the pod does.

Called under the relay's lock whenever something changes; it answers with what is to be done. Two things make a replica
leave: the mover, which has another replica ready, and the pod's deletion. From then on the engine takes no request that
could go elsewhere, and it ends as soon as nobody needs it. The subtle thing is a request that is late, or was sent on
by a relay that leaves too: it is served here while there is an engine, for else two that leave could send it in a
circle. But not for long, as anybody can write that header, and would keep the engine for ever.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

TAKES_LATE_FOR_S: Final = 15.0  # more than all who route to it need to know that it leaves


class Stage(Enum):
    SERVES = "serves"
    LEAVES = "leaves"  # what has begun is finished, or moved
    ENDS = "ends"  # the engine was told to
    GIVES_BACK = "gives back"  # the engine has ended, the agent was asked to take the slice
    IS_GONE = "is gone"  # only the relay is left


class Where(Enum):
    """An incoming request is served by the engine, sent to the function's URL, or refused until later."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """By a move, or the pod's deletion. `at_once`: by SIGTERM, of which all who route have known for long."""

    now: float
    at_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """So many requests need the engine now."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEnded:
    """By itself, or as it was told; nothing of its process group is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """By the agent. Refused: to be asked again, for a process may be seen a moment longer than it lives."""

    released: bool


Event = Leave | InFlight | EngineEnded | Answered


class Do(Enum):
    END_ENGINE = "end the engine"
    ASK_RELEASE = "ask the agent for the slice's release"
    ASK_RELEASE_LATER = "ask it again, after a moment"
    EXIT = "exit: the engine died, and the kubelet starts both anew"


class Replica:
    def __init__(self) -> None:
        self.stage = Stage.SERVES
        self._in_flight = 0
        self._takes_late_until = math.inf

    def where(self, now: float, *, was_sent_on: bool) -> Where:
        is_taken = was_sent_on and now < self._takes_late_until
        if self.stage is Stage.SERVES or (self.stage is Stage.LEAVES and is_taken):
            return Where.HERE
        return Where.NOWHERE if was_sent_on else Where.ELSEWHERE

    def take(self, event: Event) -> Do | None:
        match event:
            case InFlight(count=count):
                self._in_flight = count
            case Leave(now=now, at_once=at_once):
                until = now if at_once else now + TAKES_LATE_FOR_S
                self._takes_late_until = min(self._takes_late_until, until)
                if self.stage is Stage.SERVES:
                    self.stage = Stage.LEAVES
            case EngineEnded() if self.stage is Stage.SERVES:
                return Do.EXIT
            case EngineEnded() if self.stage in {Stage.LEAVES, Stage.ENDS}:
                self.stage = Stage.GIVES_BACK
                return Do.ASK_RELEASE
            case Answered(released=True) if self.stage is Stage.GIVES_BACK:
                self.stage = Stage.IS_GONE
            case Answered(released=False) if self.stage is Stage.GIVES_BACK:
                return Do.ASK_RELEASE_LATER
        if self.stage is Stage.LEAVES and not self._in_flight:
            self.stage = Stage.ENDS
            return Do.END_ENGINE
        return None
