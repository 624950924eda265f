"""What the answer of a subscriber, or of who takes dead letters, means for the event that it was sent.

Called by `sending`. The subtle thing is which failures leave marks on a dead letter: what the subscriber answered, and
a connection that was not to be had. A time that ran out, and an answer that is neither empty nor an event, leave none:
the one is noticed before the subscriber's filter can tell, the other is the filter's own complaint.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.events import Rejected
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.hops import Marks

_FAILED: Final = 500
_NO_EVENT: Final = 502

Read = Callable[[Iterable[tuple[str, str]], bytes], Event | Rejected]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of one try."""

    status: int
    why: str = ""  # a line, where it is a failure
    marks: Marks | None = None
    reply: Event | None = None

    @property
    def is_taken(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """HTTP's."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


TIMED_OUT: Final = Answered(status=_FAILED, why="no answer in time")
NO_TRIGGER: Final = Answered(status=404, why="the Trigger has gone, or knows of no subscriber")


def not_connected(url: str, why: str) -> Answered:
    said = f'dispatch error: Post "{url}": {why}'
    return Answered(status=_FAILED, why=why, marks=Marks(url=url, status=_FAILED, body=said.encode()))


def answered(url: str, response: Response) -> Answered:
    """By who takes dead letters: what is said beside the status does not matter."""
    if 200 <= response.status < 300:
        return Answered(status=response.status)
    marks = Marks(url=url, status=response.status, body=response.body)
    return Answered(status=response.status, why=f"it answered {response.status}", marks=marks)


def answered_by_subscriber(url: str, response: Response, read: Read) -> Answered:
    plain = answered(url, response)
    if not plain.is_taken:
        return plain
    if not _claims_to_be_an_event(response):
        if response.body:
            return Answered(status=_NO_EVENT, why="it answered with something that is no event, and legal is nothing")
        return plain
    reply = read(response.headers, response.body)
    if isinstance(reply, Rejected):
        return Answered(status=_NO_EVENT, why=f"its reply is no event: {reply.reason}")
    return Answered(status=response.status, reply=reply)


def _claims_to_be_an_event(response: Response) -> bool:
    by_name = {name.lower(): value for name, value in response.headers}
    return "ce-specversion" in by_name or by_name.get("content-type", "").lower().startswith("application/cloudevents")
