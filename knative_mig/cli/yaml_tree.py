"""Parses YAML into nodes that know their line, and refuses what a person cannot have meant.

Called by `yaml_input`, which gives nodes their key paths and their types.

The subtle thing: YAML 1.1 reads `no` as false, `1:30` as 90 and `1e3` as text. Here a plain scalar is what YAML 1.2's
core schema says, nothing else; and a key that stands twice, a tag, or an alias that blows up is refused.
"""

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import yaml

from knative_mig.core.errors import BadInput

MAX_BYTES: Final = 10_000_000
MAX_VALUES: Final = 1_000_000  # each alias counts as all that it stands for: nine lines of YAML can mean 10^9 values
MAX_DEPTH: Final = 32

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where PyYAML was built with it: ten times as fast
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)", re.ASCII)
_NAN: Final = frozenset({".nan", ".NaN", ".NAN"})
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line it begins on; `values` counts it with all that is in it."""

    content: "bool | int | float | str | tuple[Node, ...] | dict[str, Node] | None"
    line: int
    values: int = 1


def parse(source: str) -> tuple[str, Node]:
    """What complaints call the file, and the one document in it; `-` is the standard input."""
    name = "standard input" if source == "-" else source
    try:
        text = _bytes(source, name).decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise BadInput(f"{name}: is not UTF-8 text (byte {bad.start + 1}): legal is YAML in UTF-8") from None
    return name, _Builder(name).build(text)


def quoted(text: str) -> str:
    """In quotes, ASCII, on one line and at most about 60 characters long."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def under(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def complaint(source: str, line: int, path: str, why: str, kind: type[BadInput] = BadInput) -> BadInput:
    return kind(f"{source}:{line}: {path}: {why}" if path else f"{source}:{line}: {why}")


def _bytes(source: str, name: str) -> bytes:
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise BadInput(f"{name}: is a directory: legal is a YAML file, or - for the standard input") from None
    except FileNotFoundError:
        raise BadInput(f"{name}: no such file: legal is a YAML file, or - for the standard input") from None
    except OSError as error:
        raise BadInput(f"{name}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise BadInput(f"{name}: is larger than {MAX_BYTES // 1_000_000} MB, which is the most that is read")
    return data


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read."""

    line: int
    anchor: str | None
    items: list[Node] | None = None  # a list's
    entries: dict[str, Node] | None = None  # a mapping's
    key: str | None = None  # a mapping's, whose value comes next
    values: int = 1

    def path_below(self) -> str:
        if self.items is not None:
            return f"[{len(self.items)}]"
        return "" if self.key is None else under("", self.key)


@dataclass(slots=True)
class _Builder:
    """Makes nodes of the parser's events with a stack of its own: deep nesting is a complaint, not a stack overflow."""

    source: str
    stack: list[_Frame] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    root: Node | None = None
    values: int = 0

    def build(self, text: str) -> Node:
        for event in self._events(text):
            line = event.start_mark.line + 1 if event.start_mark else 0
            match event:
                case yaml.ScalarEvent():
                    self._refuse_tag(event.tag, line)
                    self._add(Node(_scalar(event.value, plain=event.implicit[0]), line), event.anchor)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._refuse_tag(event.tag, line)
                    self._open(event, line)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._close()
                case yaml.AliasEvent():
                    if event.anchor not in self.anchors:
                        raise self._bad(line, f"*{event.anchor} stands for nothing that is complete before it")
                    self._add(replace(self.anchors[event.anchor], line=line), None)
                case yaml.DocumentStartEvent():
                    if self.root is not None:
                        raise BadInput(f"{self.source}:{line}: a second document begins: legal is one")
        if self.root is None or self.root.content is None:
            raise BadInput(f"{self.source}: is empty: legal is a YAML mapping")
        return self.root

    def _events(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as bad:
            mark = bad.problem_mark or bad.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise BadInput(f"{self.source}{line}: is not YAML: {bad.problem or bad.context}") from None
        except yaml.YAMLError as bad:
            raise BadInput(f"{self.source}: is not YAML: {str(bad).splitlines()[0]}") from None

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        if len(self.stack) == MAX_DEPTH:
            raise BadInput(f"{self.source}:{line}: is nested deeper than {MAX_DEPTH} levels")
        if self.stack and self.stack[-1].entries is not None and self.stack[-1].key is None:
            raise self._bad(line, "a list or mapping is used as a key: legal is text")
        if isinstance(event, yaml.SequenceStartEvent):
            self.stack.append(_Frame(line, event.anchor, items=[]))
        else:
            self.stack.append(_Frame(line, event.anchor, entries={}))

    def _close(self) -> None:
        frame = self.stack.pop()
        content = frame.entries if frame.items is None else tuple(frame.items)
        self._add(Node(content, frame.line, frame.values), frame.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.values += node.values
        if frame.values > MAX_VALUES:
            raise BadInput(
                f"{self.source}:{node.line}: holds more than {MAX_VALUES} values (an alias is all it stands for)"
            )
        if frame.items is not None:
            frame.items.append(node)
        elif frame.entries is not None and frame.key is None:
            frame.key = self._key(node, frame.entries)
        elif frame.entries is not None and frame.key is not None:
            frame.entries[frame.key] = node
            frame.key = None

    def _key(self, node: Node, entries: dict[str, Node]) -> str:
        match node.content:
            case bool() as flag:
                key = str(flag).lower()
            case str() | int() | float() as scalar:
                key = str(scalar)
            case _:
                raise self._bad(node.line, "a key is empty, a list or a mapping: legal is text")
        if key == "<<":
            raise self._bad(node.line, "merge keys (<<) are not read: write the keys out")
        if key in entries:
            where = self._bad_path(key)
            first = entries[key].line
            raise complaint(self.source, node.line, where, f"stands twice in one mapping, first in line {first}")
        return key

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag not in (None, "!"):
            raise self._bad(line, f"the tag {quoted(str(tag))} is not read: legal is plain YAML without tags")

    def _bad_path(self, key: str) -> str:
        return under("".join(_join(self.stack[:-1])), key)

    def _bad(self, line: int, why: str) -> BadInput:
        return complaint(self.source, line, "".join(_join(self.stack)), why)


def _join(frames: list[_Frame]) -> Iterator[str]:
    for at, frame in enumerate(frames):
        below = frame.path_below()
        yield f".{below}" if at and below and below[0] != "[" else below


def _scalar(text: str, *, plain: bool) -> bool | int | float | str | None:
    if not plain:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        # int() refuses thousands of digits; beyond 30 every one of our limits is passed anyway
        return int(text) if len(text) <= 30 else (-1 if text[0] == "-" else 1) * 10**30
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    if text in _NAN:
        return math.nan
    return text
