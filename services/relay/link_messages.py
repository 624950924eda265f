"""What the two relays of a move say to each other: one JSON object a line, one connection for each generation.

Written and read by the thread that keeps the link; the two sides see values only. The peer has shown the namespace's
secret by then, and may still be another version, or broken: what is not understood ends the link, and nothing else.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.core.errors import KnativeMigError

VERSION: Final = 3
LONGEST_LINE: Final = 8 * 1024 * 1024  # bytes; a request is half of that at most
_MOST_TOKENS: Final = 1 << 20
_TOKEN: Final = 1 << 32


class Misunderstood(KnativeMigError):
    """The peer said what this side does not know, or what cannot be at this point."""

    reason = "Misunderstood"


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Source: this is what was asked, and what its engine says of the model that it was asked of."""

    path: str
    body: dict[str, Any]
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Either: the tokens of what was asked, for an engine that goes on from a prompt."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Source: these were said, from the place `at` on."""

    at: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Source: go on behind these, which are the last; not warmed up to before, as that would take its time.

    A second one has it begin anew, further back: the own engine has died, and nothing else was compared with it.
    """

    at: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Source: it is not wanted any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """Source: no other relay goes on with it, so this one is to."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """Target: the keys and values of so many tokens have been computed."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Target: the next tokens, and what the client gets for them. Not `whole`: half a character is still to come."""

    at: int
    ids: tuple[int, ...]
    chunks: tuple[str, ...]
    last: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Target: what it says is of a kind that nobody could go on with."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """Target: this replica is wanted, and there is another relay that could go on."""

    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Target: not here, or no further."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Either: there is nothing to say, and this end is there."""


FromSource = Open | Prompt | Tokens | Go | Leave | Stays
FromTarget = Warm | Prompt | Stuck | Said | Onward | Refuse
Message = FromSource | FromTarget | Alive


def line_of(message: Message) -> bytes:
    fields = {name: getattr(message, name) for name in message.__slots__}
    if isinstance(message, Open):
        fields["version"] = VERSION
    return json.dumps({type(message).__name__.lower(): fields}, separators=(",", ":")).encode() + b"\n"


def message_of(line: bytes) -> Message:
    """Misunderstood."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        raise Misunderstood("a message is one line of JSON") from None
    if not (isinstance(read, dict) and len(read) == 1):
        raise Misunderstood("a message is an object with one name")
    name, fields = next(iter(read.items()))
    if not isinstance(fields, dict):
        raise Misunderstood(f"{name[:32]} has no fields")
    known = _KINDS.get(name)
    if known is None:
        raise Misunderstood(f"{name[:32]} is no message")
    if name == "open" and fields.pop("version", None) != VERSION:
        raise Misunderstood(f"the peer speaks another version than {VERSION}")
    kind, readers = known
    if fields.keys() != readers.keys():
        raise Misunderstood(f"{name} has other fields than {', '.join(readers) or 'none'}")
    message: Message = kind(**{field: reader(fields[field]) for field, reader in readers.items()})
    return message


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        raise Misunderstood("a place is no count of tokens")
    return value


def _ids(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MOST_TOKENS:
        raise Misunderstood("tokens are no list")
    for each in value:
        if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < _TOKEN:
            raise Misunderstood("a token is no number")
    return tuple(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Misunderstood("a text is none")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Misunderstood("chunks are no list")
    return tuple(map(_text, value))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misunderstood("a request is no object")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Misunderstood("a flag is none")
    return value


_KINDS: Final[dict[str, tuple[Any, dict[str, Any]]]] = {
    "open": (Open, {"path": _text, "body": _object, "model": _text}),
    "prompt": (Prompt, {"ids": _ids}),
    "tokens": (Tokens, {"at": _count, "ids": _ids}),
    "go": (Go, {"at": _count, "ids": _ids}),
    "leave": (Leave, {}),
    "stays": (Stays, {"why": _text}),
    "warm": (Warm, {"count": _count}),
    "said": (Said, {"at": _count, "ids": _ids, "chunks": _texts, "last": _flag, "whole": _flag}),
    "stuck": (Stuck, {"why": _text}),
    "onward": (Onward, {"to": _text}),
    "refuse": (Refuse, {"why": _text}),
    "alive": (Alive, {}),
}
