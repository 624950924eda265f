"""Reads what a person wrote in YAML, strictly: a complaint names the file, the line, the key path and what is legal.

Called by the verbs that take a file. `read` gives the document's root as a `Field`; a `Field` knows where it stands, so
`gpu["start"].integer(0, 11)` either is a legal value or raises `BadInput` with one line that a person can act on.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from knative_mig.cli.yaml_tree import Node, complaint, parse, quoted, under
from knative_mig.core.errors import BadInput

MAX_TEXT: Final = 253  # the longest name that Kubernetes has

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """A value and where it stands: what a complaint about it has to say."""

    source: str
    path: str
    node: Node

    def bad(self, why: str, kind: type[BadInput] = BadInput) -> BadInput:
        return complaint(self.source, self.node.line, self.path, why, kind)

    def keys(self, *, required: Sequence[str] = (), optional: Sequence[str] = ()) -> "dict[str, Field]":
        """A mapping with these keys and no other."""
        fields = self.mapping()
        legal = [*required, *optional]
        for key, value in fields.items():
            if key not in legal:
                raise value.bad(f"is no key that is known here: legal are {', '.join(legal)}")
        for key in required:
            if key not in fields:
                raise self.bad(f"{key} is missing: it needs {', '.join(required)}")
        return fields

    def mapping(self) -> "dict[str, Field]":
        if not isinstance(self.node.content, dict):
            raise self.bad(f"is {self.shown()}, legal is a mapping (key: value)")
        return {key: Field(self.source, under(self.path, key), node) for key, node in self.node.content.items()}

    def items(self) -> "list[Field]":
        if not isinstance(self.node.content, tuple):
            raise self.bad(f"is {self.shown()}, legal is a list")
        return [Field(self.source, f"{self.path}[{at}]", node) for at, node in enumerate(self.node.content)]

    def text(self, form: re.Pattern[str] | None = None, legal: str = "text") -> str:
        text = self.node.content
        if not isinstance(text, str):
            quote = " (in quotes)" if isinstance(text, bool | int | float) else ""
            raise self.bad(f"is {self.shown()}, legal is {legal}{quote}")
        if len(text) > MAX_TEXT:
            raise self.bad(f"has {len(text)} characters, legal are at most {MAX_TEXT}")
        if form is not None and not form.fullmatch(text):
            raise self.bad(f"is {self.shown()}, legal is {legal}")
        return text

    def parsed(self, meaning: Callable[[str], T]) -> T:
        """What `meaning` makes of the text; its `BadInput` is told with the place."""
        text = self.text()
        try:
            return meaning(text)
        except BadInput as bad:
            raise self.bad(str(bad), type(bad)) from None

    def choice(self, *legal: str) -> str:
        if self.node.content not in legal:
            raise self.bad(f"is {self.shown()}, legal is {_one_of(legal)}")
        return str(self.node.content)

    def flag(self) -> bool:
        if not isinstance(self.node.content, bool):
            raise self.bad(f"is {self.shown()}, legal is true or false")
        return self.node.content

    def integer(self, least: int, most: int) -> int:
        number = self.node.content
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise self.bad(f"is {self.shown()}, legal is a whole number from {least} to {most}")
        return number

    def number(self, least: float, most: float) -> float:
        number = self.node.content
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise self.bad(f"is {self.shown()}, legal is a number from {least:g} to {most:g}")
        return float(number)

    def shown(self) -> str:
        """The value as a complaint quotes it: short, and on one line whatever is in it."""
        match self.node.content:
            case None:
                return "empty"
            case bool() as flag:
                return str(flag).lower()
            case int() | float() as number:
                return f"{number:g}" if isinstance(number, float) or abs(number) >= 10**15 else str(number)
            case str() as text:
                return quoted(text)
            case tuple():
                return "a list"
            case dict():
                return "a mapping"


def read(source: str) -> Field:
    """The one document in the file, or on the standard input where the name is `-`."""
    name, node = parse(source)
    return Field(name, "", node)


def _one_of(legal: Sequence[str]) -> str:
    """At most twenty of them: a cluster has thousands of nodes, and a complaint has one line."""
    more = f" or {len(legal) - 20} more" if len(legal) > 20 else ""
    return ("one of " if len(legal) > 2 else "") + (" or " if len(legal) == 2 else ", ").join(legal[:20]) + more
