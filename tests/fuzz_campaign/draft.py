"""A request before it is sent, in parts that a change can take hold of; `Sent` is what it became.

Made by `events` and `reviews`, altered by `http_changes` and `json_changes`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

Header = tuple[bytes, bytes]


class Degree(StrEnum):
    """How far from a valid request."""

    VALID = "valid"
    ONE = "one change away"
    MANY = "further away"


@dataclass(slots=True, kw_only=True)
class Draft:
    method: bytes = b"POST"
    path: bytes = b"/"
    version: bytes = b"HTTP/1.1"
    headers: list[Header] = field(default_factory=list)
    tree: Any = None  # the body as JSON; None: there is none
    raw: bytes | None = None  # the body, where it is not the tree
    lengths: list[Header] | None = None  # the headers that say where the body ends; None: the true one
    written: bytes | None = None  # what is sent for the body, where that is something else
    newline: bytes = b"\r\n"
    framed: bool = True  # the request's end is where it says: one answer comes, and the connection may go on

    @property
    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.tree is None else json.dumps(self.tree).encode()

    def names(self) -> list[bytes]:
        return [name for name, _ in self.headers]

    def set(self, name: bytes, value: bytes | None) -> None:
        """In its place, or at the end; None takes it away."""
        at = next((i for i, (known, _) in enumerate(self.headers) if known.lower() == name.lower()), None)
        if value is None:
            self.headers = [each for each in self.headers if each[0].lower() != name.lower()]
        elif at is None:
            self.headers.append((name, value))
        else:
            self.headers[at] = (self.headers[at][0], value)

    def encoded(self) -> bytes:
        body = self.body
        lengths = [(b"Content-Length", b"%d" % len(body))] if self.lengths is None else self.lengths
        lines = [b" ".join((self.method, self.path, self.version))]
        lines += [name + b": " + value for name, value in (*self.headers, *lengths)]
        written = body if self.written is None else self.written
        return self.newline.join((*lines, b"", b"")) + written


Change = Callable[[Draft, Random], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    kind: str
    degree: Degree
    data: bytes
    framed: bool = True
    bodiless: bool = False  # its answer has a length, and no body: HEAD
    uid: str = ""  # of a review
    allowed: bool = True  # what a valid review is answered with
    object: Any = None  # what a patch is for
