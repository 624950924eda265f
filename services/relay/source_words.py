"""What happens to a generation at the relay that has its client, and what is to be done about it.

`conversation` says the first to `source_side` and does the second; a mover is told of `Moved` and `NotMoved`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from services.relay.link_messages import FromSource, FromTarget


class Kind(Enum):
    OWN = "the own engine"
    FORMER = "the target before"  # of a move on: it speaks until the next one does
    TARGET = "the target"
    ELSEWHERE = "another replica"


# -- what happens ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Somebody wants the engine's slice, and another relay is there to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOff:
    """It takes too long: the own engine goes on, and another target may be tried."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """The own engine has said nothing for long, though the target does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoke:
    """The next tokens of the own engine, or of another replica. `last`: with all that follows them, up to the end."""

    voice: int
    ids: tuple[int, ...]
    chunks: tuple[str, ...]
    last: bool = False
    whole: bool = True  # no half of a character is held back behind these


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenized:
    """The engine has told the tokens of what it was asked, and wants them to go on with."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """What the engine says is of a kind that nobody could go on with."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """From the target."""

    voice: int
    message: FromTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The relay that this target has asked to go on with."""

    voice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreached:
    voice: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A voice says no more: it died, refused, or its connection broke or was silent for too long."""

    voice: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLeft:
    pass


Event = Move | CallOff | Quiet | Spoke | Tokenized | Stuck | Heard | Reached | Unreached | Failed | ClientLeft


# -- what is to be done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Connect to the target; what comes of it is said by this voice."""

    voice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Reach the relay that this voice's replica is to be left for; no token waits for that."""

    voice: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    voice: int
    message: FromSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Ask the own engine, or any replica, to go on from these tokens."""

    voice: int
    kind: Kind
    path: str
    body: dict[str, Any]
    prompt: tuple[int, ...] | None
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """End what this voice is asked by: a request, or a link."""

    voice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    chunks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The client has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The client is told that this is not all of it, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The own engine is not needed for this one any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMoved:
    """It stays with the own engine: until another move, or its end."""

    why: str


Action = Link | Dial | Send | Resume | Silence | Emit | Finish | Break | Moved | NotMoved
