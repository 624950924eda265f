"""A request as it came and an answer as it goes: values, so that what answers needs no socket to be tried."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    target: str  # path and query as they came
    headers: Mapping[str, str]  # lower-case names; one that came several times is joined by commas
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    content_type: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    # Instead of a body: pieces, each sent as soon as it comes. Closed when the client goes.
    stream: AsyncIterator[bytes] | None = field(default=None, compare=False)
    closes: bool = False  # the connection, after it
