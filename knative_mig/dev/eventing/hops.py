"""What an event is given and loses on its way through a Broker.

Called by `post` and `courses`. The subtle thing is a circle: a reply has the lifetime of the event that it replies to,
and each time that an event comes in one is taken off; so what two Triggers send each other ends after so many rounds,
as a dead letter.
"""

import base64
import math
import re
from dataclasses import dataclass, replace
from typing import Final

from knative_mig.dev.eventing.events import Event

LIFETIME: Final = 255  # hops
LIFETIME_NAME: Final = "knativebrokerttl"
_ARRIVED: Final = "knativearrivaltime"
_DESTINATION: Final = "knativeerrordest"
_CODE: Final = "knativeerrorcode"
_DATA: Final = "knativeerrordata"
_LONGEST_DATA: Final = 1024  # characters, after base64
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGERS: Final = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Of a dead letter: who did not take it, and what they said."""

    url: str
    status: int
    body: bytes = b""


def arrived(event: Event, at: str) -> Event | None:
    """None: it has been round too often."""
    before = _integer(event.extensions.get(LIFETIME_NAME, ""))
    left = LIFETIME if before is None else before - 1
    if left <= 0:
        return None
    return _with(event, {LIFETIME_NAME: str(left), _ARRIVED: at})


def for_subscriber(event: Event) -> Event:
    """Who is not to know of the lifetime."""
    return replace(event, extensions={name: value for name, value in event.extensions.items() if name != LIFETIME_NAME})


def replied(reply: Event, to: Event) -> Event:
    return _with(reply, {LIFETIME_NAME: to.extensions[LIFETIME_NAME]})


def dead_letter(event: Event, marks: Marks | None) -> Event:
    if marks is None:
        return event
    data = base64.b64encode(marks.body).decode()[:_LONGEST_DATA]
    return _with(event, {_DESTINATION: marks.url, _CODE: str(marks.status), _DATA: data})


def _with(event: Event, extensions: dict[str, str]) -> Event:
    return replace(event, extensions={**event.extensions, **extensions})


def _integer(text: str) -> int | None:
    """What is after its point does not count. None: it is none, which is as if nothing were said."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return int(number) if math.isfinite(number) and int(number) in _INTEGERS else None
