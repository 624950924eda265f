"""A scenario: what must be there for it, and how it is played."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.scenarios.stage import Stage


class Needs(Enum):
    """What a scenario has to itself while it is played."""

    ONE_NODE = auto()  # two GPUs; others are played beside it
    EVERYTHING = auto()  # it changes the system itself, or fills it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str  # a sentence, with - for blanks
    play: Callable[[Stage], None]
    needs: Needs = Needs.ONE_NODE
    seconds: int  # about, so that the longest start first
    fleet: str = ""  # the GPUs of each node, where they are not two A100-40GB
    eventing: bool = False
