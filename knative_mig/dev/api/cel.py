"""The part of CEL that rules of CustomResourceDefinitions and conditions of webhooks here are written in: whether an
expression holds.

Called by `validation`, and by `whole.admission` for the conditions of webhooks. It knows literals, fields, `has()`,
indices, the operators, fields that may lack (`.?name`, `orValue`), `all`, `exists`, `exists_one`, `filter` and `map`,
`size`, and the usual methods of strings. What it does not know is a CelError that names it, so that a rule which needs
more is seen at once.

The subtle thing is an error in one half of `&&` or `||`: in CEL the other half may decide all the same, whichever comes
first; here the left one is looked at first, and its error is the whole one's.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<mark>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]))"""
)
_LEVELS: Final = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
Scope = Mapping[str, Any]
Node = Callable[[Scope], Any]


class CelError(Exception):
    pass


def holds(expression: str, scope: Scope) -> bool:
    try:
        found = _compiled(expression)(scope)
    except (TypeError, ValueError, AttributeError, re.error) as error:  # as of the size of a number
        raise CelError(f"{expression}: {error}") from None
    if not isinstance(found, bool):
        raise CelError(f"{expression} is no condition")
    return found


@functools.lru_cache(maxsize=256)
def _compiled(expression: str) -> Node:
    parser = _Parser(expression)
    node = parser.conditional()
    if parser.token:
        raise CelError(f"unexpected {parser.token} in {expression}")
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found:
                raise CelError(f"{text[at : at + 10]!r} is not known here")
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        self._at = 0

    @property
    def token(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _takes(self, *marks: str) -> str:
        """The token, where it is one of these and no string that looks like it."""
        if self._at < len(self._tokens) and self._tokens[self._at][0] != "string" and self.token in marks:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise CelError(f"{mark} is missing before {self.token or 'the end'}")

    def conditional(self) -> Node:
        condition = self._binary(0)
        if not self._takes("?"):
            return condition
        yes = self.conditional()
        self._expect(":")
        no = self.conditional()
        return lambda scope: yes(scope) if _bool(condition(scope)) else no(scope)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while mark := self._takes(*_LEVELS[level]):
            left = _operation(mark, left, self._binary(level + 1))
        return left

    def _unary(self) -> Node:
        if self._takes("!"):
            inner = self._unary()
            return lambda scope: not _bool(inner(scope))
        if self._takes("-"):
            inner = self._unary()
            return lambda scope: -inner(scope)
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if self._takes("."):
                may_lack = bool(self._takes("?"))
                name = self.token
                self._at += 1
                node = self._call(node, name) if self._takes("(") else _field(node, name, may_lack=may_lack)
            elif self._takes("["):
                index = self.conditional()
                self._expect("]")
                node = _index(node, index)
            else:
                return node

    def _primary(self) -> Node:
        if self._takes("("):
            inner = self.conditional()
            self._expect(")")
            return inner
        if self._takes("["):
            entries = self._arguments("]")
            return lambda scope: [each(scope) for each in entries]
        if self._takes("{"):
            self._expect("}")  # one with entries is written by nobody here
            return lambda _: {}
        if self._at >= len(self._tokens):
            raise CelError("the expression ends too early")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            number = float(text) if "." in text else int(text)
            return lambda _: number
        if kind == "string":
            value = re.sub(r"\\(.)", r"\1", text[1:-1])
            return lambda _: value
        if kind != "name":
            raise CelError(f"unexpected {text}")
        if text in ("true", "false", "null"):
            constant: Any = {"true": True, "false": False, "null": None}[text]
            return lambda _: constant
        if self._takes("("):
            return self._function(text)
        return lambda scope: _named(scope, text)

    def _arguments(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self._takes(end):
            found.append(self.conditional())
            if self.token != end:
                self._expect(",")
        return found

    def _function(self, name: str) -> Node:
        arguments = self._arguments(")")
        if name == "has" and len(arguments) == 1:
            return lambda scope: _is_there(arguments[0], scope)
        if name in ("size", "string", "int") and len(arguments) == 1:
            functions: Mapping[str, Callable[[Any], Any]] = {"size": len, "string": str, "int": int}
            function = functions[name]
            return lambda scope: function(arguments[0](scope))
        raise CelError(f"the function {name} is not known here")

    def _call(self, on: Node, name: str) -> Node:
        if name in _MACROS:
            variable = self.token
            self._at += 1
            self._expect(",")
            body = self.conditional()
            self._expect(")")
            macro = _MACROS[name]
            return lambda scope: macro([(each, body({**scope, variable: each})) for each in on(scope)])
        arguments = self._arguments(")")
        if name not in _METHODS:
            raise CelError(f"the method {name} is not known here")
        method = _METHODS[name]
        return lambda scope: method(on(scope), *(each(scope) for each in arguments))


_MACROS: Final[Mapping[str, Callable[[list[tuple[Any, Any]]], Any]]] = {
    "all": lambda pairs: all(_bool(met) for _, met in pairs),
    "exists": lambda pairs: any(_bool(met) for _, met in pairs),
    "exists_one": lambda pairs: sum(_bool(met) for _, met in pairs) == 1,
    "filter": lambda pairs: [each for each, met in pairs if _bool(met)],
    "map": lambda pairs: [made for _, made in pairs],
}
_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "size": len,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": lambda text, part: part in text,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "split": str.split,
    "join": lambda parts, by="": by.join(parts),
    "orValue": lambda maybe, other: _maybe(maybe).value if _maybe(maybe).is_there else other,
    "hasValue": lambda maybe: _maybe(maybe).is_there,
}


@dataclass(frozen=True, slots=True)
class _Maybe:
    """What a field that may lack is; its own fields may lack too."""

    value: Any = None
    is_there: bool = False


def _maybe(value: Any) -> _Maybe:
    if not isinstance(value, _Maybe):
        raise CelError(f"{value!r} does not lack")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError(f"{value!r} is no condition")
    return value


def _named(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise CelError(f"{name} is not known here")
    return scope[name]


def _field(node: Node, name: str, *, may_lack: bool = False) -> Node:
    def field(scope: Scope) -> Any:
        value = node(scope)
        if may_lack or isinstance(value, _Maybe):
            inner = value.value if isinstance(value, _Maybe) else value
            is_there = isinstance(inner, Mapping) and name in inner
            return _Maybe(inner[name], is_there=True) if is_there else _Maybe()
        if not isinstance(value, Mapping) or name not in value:
            raise CelError(f"no such key: {name}")
        return value[name]

    return field


def _index(node: Node, index: Node) -> Node:
    def entry(scope: Scope) -> Any:
        try:
            return node(scope)[index(scope)]
        except (KeyError, IndexError, TypeError) as error:
            raise CelError(f"no such key: {error}") from None

    return entry


def _is_there(node: Node, scope: Scope) -> bool:
    try:
        node(scope)
    except CelError:
        return False
    return True


def _operation(mark: str, left: Node, right: Node) -> Node:
    match mark:
        case "||":
            return lambda scope: _bool(left(scope)) or _bool(right(scope))
        case "&&":
            return lambda scope: _bool(left(scope)) and _bool(right(scope))
    compute: Callable[[Any, Any], Any] = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "in": lambda a, b: a in b,
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a // b if isinstance(a, int) and isinstance(b, int) else a / b,
        "%": lambda a, b: a % b,
    }[mark]

    def operation(scope: Scope) -> Any:
        try:
            return compute(left(scope), right(scope))
        except (TypeError, ZeroDivisionError) as error:
            raise CelError(f"{mark}: {error}") from None

    return operation
