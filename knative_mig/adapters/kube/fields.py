"""Reads one JSON object of the API: absent, null and empty are the same, as they are to Kubernetes; what is there must
be of its type, or BadInput says where it stands.

Called by the codec and the parsers of this package. Fields that nobody asks for are not looked at: an API server may be
newer than this code.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Self, TypeVar

from knative_mig.core.cluster.leadership import MOST_TOKEN
from knative_mig.core.errors import BadInput

T = TypeVar("T")

_NOTHING: Final[Mapping[str, object]] = {}


class Fields:
    __slots__ = ("_where", "values")

    def __init__(self, value: object, where: str = "") -> None:
        if value is None:
            value = _NOTHING
        if not isinstance(value, Mapping):
            raise BadInput(f"{where}: is {_shown(value)}, legal is an object")
        self.values: Mapping[str, object] = value
        self._where = where

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a ConfigMap's entry, which anybody may have written."""
        try:
            return cls(json.loads(text))
        except (ValueError, RecursionError):
            raise BadInput("is not JSON") from None

    def where(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def bad(self, key: str, legal: str) -> BadInput:
        return BadInput(f"{self.where(key)}: is {_shown(self.values.get(key))}, legal is {legal}")

    def has(self, key: str) -> bool:
        return bool(self.values.get(key))

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(key, "text")
        return value

    def name(self, key: str) -> str:
        """A text that must be there."""
        if not (value := self.text(key)):
            raise self.bad(key, "text, not empty")
        return value

    def optional_integer(self, key: str, least: int = 0) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.bad(key, f"a whole number from {least}")
        return value

    def integer(self, key: str, least: int = 0) -> int:
        """One that must be there."""
        value = self.optional_integer(key, least)
        if value is None:
            raise self.bad(key, f"a whole number from {least}")
        return value

    def optional_flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if not isinstance(value, bool | None):
            raise self.bad(key, "true or false")
        return value

    def flag(self, key: str) -> bool:
        return bool(self.optional_flag(key))

    def child(self, key: str) -> "Fields":
        return Fields(self.values.get(key), self.where(key))

    def children(self, key: str) -> "list[Fields]":
        return [Fields(each, f"{self.where(key)}[{at}]") for at, each in enumerate(self._list(key))]

    def integers(self, key: str) -> tuple[int, ...]:
        found = self._list(key)
        if any(isinstance(each, bool) or not isinstance(each, int) for each in found):
            raise self.bad(key, "a list of whole numbers")
        return tuple(found)  # type: ignore[arg-type]

    def texts(self, key: str) -> tuple[str, ...]:
        found = self._list(key)
        if any(not isinstance(each, str) for each in found):
            raise self.bad(key, "a list of texts")
        return tuple(found)  # type: ignore[arg-type]

    def labels(self, key: str) -> dict[str, str]:
        return {name: str(value) for name, value in self.child(key).values.items()}

    def time(self, key: str) -> float | None:
        """Seconds since the epoch."""
        if not (text := self.text(key)):
            return None
        try:
            return seconds_of(text)
        except ValueError:
            raise self.bad(key, "a time like 2026-01-31T12:00:00Z") from None

    def parsed(self, key: str, meaning: Callable[[str], T], legal: str) -> T:
        """What `meaning` makes of the text; ValueError and BadInput are told with the place."""
        text = self.text(key)
        try:
            return meaning(text)
        except BadInput as bad:
            raise type(bad)(f"{self.where(key)}: {bad}") from None
        except ValueError:
            raise self.bad(key, legal) from None

    def _list(self, key: str) -> list[object]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.bad(key, "a list")
        return value


def seconds_of(text: str) -> float:
    """Of an RFC 3339 time, with a fraction or without. ValueError for anything else."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return when.timestamp()


def time_text(seconds: float) -> str:
    """RFC 3339, to the microsecond where it is no whole second."""
    when = datetime.fromtimestamp(round(seconds, 6), UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if when.microsecond else "%Y-%m-%dT%H:%M:%SZ")


def token_in(text: str) -> int:
    """A leader's fencing token; 0 for what no leader wrote: whoever leads next writes its own."""
    token = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    return token if token <= MOST_TOKEN else 0


def micro_time_text(seconds: float) -> str:
    """As the API's MicroTime wants it: always with its six digits."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shown(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return str(value).lower()
        case list():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return ascii(value)[:60]
