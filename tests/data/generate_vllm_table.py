"""What `vllm serve` takes and counts, read from an unpacked source archive of vLLM into `vllm_release.json`.

    python tests/data/generate_vllm_table.py FOLDER

Nothing of vLLM is imported: it would want a GPU's libraries. Its options are made from the fields of its configurations
at run time, so the annotations are followed here by `ast` as its own `get_kwargs` follows them, and what its
`add_cli_args` then overrides is taken over. The tests' stand-in for `vllm serve` goes by the table, so that an option
that the release does not know fails a test, and a new release shows in the table what it has changed.
"""

import ast
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
TARGET: Final = HERE / "vllm_release.json"
ARGUMENTS: Final = "vllm.engine.arg_utils"
FRONTEND: Final = "vllm.entrypoints.common.cli_args"
LOGGERS: Final = "vllm.v1.metrics.loggers"
_PLAIN: Final = {"bool", "str", "int", "float", "dict", "list", "tuple", "set"}
_HUMAN: Final = "human_readable_int_args"  # the set in get_kwargs of the fields that take 2k or 1G

Keywords = dict[str, Any]  # of one option, as argparse would get them
Fields = dict[str, Keywords]
Option = tuple[tuple[str, ...], Keywords]  # with all its names


@dataclass(frozen=True, slots=True)
class Hint:
    word: str  # a builtin, none, literal, dataclass, other
    inner: tuple[Any, ...] = ()


@dataclass
class Sources:
    """The modules of a release, and what their names stand for."""

    root: Path
    _trees: dict[str, ast.Module] = field(default_factory=dict)

    def tree(self, module: str) -> ast.Module:
        if module not in self._trees:
            path = self.root.joinpath(*module.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._trees[module] = ast.parse(path.read_text())
        return self._trees[module]

    def find(self, module: str, name: str) -> tuple[str, ast.AST] | None:
        """The class, function or value that the name stands for when the module runs; None: nothing of vLLM's."""
        for node in _running(self.tree(module).body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return module, node
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return module, node.value
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                return (module, node.value) if node.value else None
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    source = self._absolute(module, node)
                    if (alias.asname or alias.name) == name:
                        return self.find(source, alias.name) if source.startswith("vllm.") else None
                    if alias.name == "*" and (found := self.find(source, name)):
                        return found
        return None

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = module.split(".") if self.root.joinpath(*module.split(".")).is_dir() else module.split(".")[:-1]
        return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])

    def the_class(self, module: str, name: str) -> tuple[str, ast.ClassDef]:
        found = self.find(module, name)
        match found:
            case (where, ast.ClassDef() as cls):
                return where, cls
            case _:
                raise AssertionError(f"{module} has no class {name}")

    def literal(self, module: str, node: ast.AST) -> tuple[Any, ...]:
        """The values of what stands within `Literal[]`, those of other literals among them."""
        found: list[Any] = []
        parts: Sequence[ast.AST] = node.elts if isinstance(node, ast.Tuple) else [node]
        for each in parts:
            if isinstance(each, ast.Constant):
                found.append(each.value)
            else:
                found += [v for hint in self.hints(module, each) if hint.word == "literal" for v in hint.inner]
        return tuple(found)

    def hints(self, module: str, node: ast.AST) -> set[Hint]:
        match node:
            case ast.Constant(value=None):
                return {Hint("none")}
            case ast.Constant(value=str(text)):
                return self.hints(module, ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.hints(module, left) | self.hints(module, right)
            case ast.Subscript(value=base, slice=inner):
                each = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                match _last_name(base):
                    case "Annotated" | "SkipValidation":
                        return self.hints(module, each[0])
                    case "Optional":
                        return self.hints(module, each[0]) | {Hint("none")}
                    case "Union":
                        return {hint for one in each for hint in self.hints(module, one)}
                    case "Literal":
                        return {Hint("literal", self.literal(module, inner))}
                    case "list" | "tuple" | "set" | "dict" as word:
                        many = any(isinstance(one, ast.Constant) and one.value is Ellipsis for one in each)
                        size = "+" if word != "tuple" or many else len(each)
                        return {Hint(word, (size, frozenset(self.hints(module, each[0]))))}
                    case _:
                        return {Hint("other")}
            case ast.Name(id=name) if name in _PLAIN:
                return {Hint(name)}
            case ast.Name(id=name):
                found = self.find(module, name)
                if found is None:
                    return {Hint("other")}
                where, what = found
                if not isinstance(what, ast.ClassDef):
                    return self.hints(where, what)
                if any(_last_name(base) == "dict" for base in what.bases):
                    return {Hint("dict")}
                is_data = any(_last_name(each) in {"config", "dataclass"} for each in what.decorator_list)
                return {Hint("dataclass" if is_data else "other")}
            case _:
                return {Hint("other")}

    def fields(self, module: str, name: str) -> Fields:
        """Of a configuration, with what argparse is told of each: as `get_kwargs` has it."""
        where, cls = self.the_class(module, name)
        human = self.human()
        found: Fields = {}
        for base in cls.bases:
            if isinstance(base, ast.Name) and self.find(where, base.id):
                found |= self.fields(where, base.id)
        for node in cls.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                key = node.target.id
                found[key] = _keywords(key, self.hints(where, node.annotation), human)
        return found

    def human(self) -> frozenset[str]:
        for node in ast.walk(self.tree(ARGUMENTS)):
            if isinstance(node, ast.Assign) and _last_name(node.targets[0]) == _HUMAN:
                return frozenset(ast.literal_eval(node.value))
        raise AssertionError(f"{ARGUMENTS} has no {_HUMAN}: see what has become of get_kwargs")


def _running(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module as it runs: of `if TYPE_CHECKING` the other branch."""
    for node in body:
        if isinstance(node, ast.If):
            checking = _last_name(node.test) == "TYPE_CHECKING"
            yield from _running(node.orelse if checking else node.body)
        elif isinstance(node, ast.Try):
            yield from _running(node.body)
        else:
            yield node


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _last_name(inner)
        case _:
            return ""


def _keywords(name: str, hints: set[Hint], human: frozenset[str]) -> Keywords:
    by_word = {hint.word: hint for hint in hints}
    found: Keywords
    if "dataclass" in by_word:
        found = {"type": "json"}
    elif set(by_word) == {"bool", "str", "none"}:
        return {"type": "text", "nargs": "?"}
    elif "bool" in by_word:
        return {"action": "pair"}
    elif "literal" in by_word:
        found = _of_literal(by_word["literal"], free="str" in by_word)
    elif several := next((by_word[word] for word in ("tuple", "list", "set") if word in by_word), None):
        size, inner = several.inner or ("+", frozenset({Hint("str")}))
        of_one = {Hint("str")} if Hint("str") in inner else set(inner) - {Hint("none")}
        found = _keywords("", of_one, human) | {"nargs": size}
    elif "int" in by_word:
        found = {"type": "human int" if name in human or name == "max_model_len" else "int"}
    elif "float" in by_word:
        found = {"type": "float"}
    elif "dict" in by_word:
        found = {"type": "text" if {"str", "other"} & set(by_word) else "json"}
    else:
        found = {"type": "text"}
    if "none" in by_word:
        found["none"] = True
    return found


def _of_literal(hint: Hint, *, free: bool) -> Keywords:
    kind = {str: "text", int: "int", float: "float", bool: "text"}[type(hint.inner[0])]
    return {"type": kind} if free else {"type": kind, "choices": sorted(hint.inner)}


def _typed(node: ast.AST) -> Keywords:
    """What a `type=` makes of an option."""
    match node:
        case ast.Attribute(attr="loads"):
            return {"type": "json"}
        case ast.Name(id="str" | "int" | "float" as name):
            return {"type": {"str": "text"}.get(name, name)}
        case ast.Call(func=ast.Name(id="optional_type"), args=[inner]):
            return {**_typed(inner), "none": True}
        case _:
            return {"type": "text"}  # a function of its own: what it refuses is not known here


@dataclass
class Reader:
    """Reads one function that adds options: its variables that hold keywords, then its calls of add_argument."""

    sources: Sources
    module: str
    known: dict[str, Fields] = field(default_factory=dict)

    def of(self, node: ast.AST) -> Any:
        """Keywords, fields of a configuration, or None."""
        match node:
            case ast.Name(id=name):
                return self.known.get(name)
            case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
                held = self.of(inner)
                return held[key] if isinstance(held, dict) else None
            case ast.Call(func=ast.Name(id="get_kwargs"), args=[ast.Name(id=cls)]):
                return self.sources.fields(self.module, cls)
            case _:
                return None

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if (held := self.of(value)) is not None:
                    self.known[name] = held
            case ast.Assign(targets=[ast.Subscript(value=inner, slice=ast.Constant(value=key))], value=value):
                if isinstance(held := self.of(inner), dict):
                    held.update(self.override(str(key), value))
            case ast.Delete(targets=[ast.Subscript(value=inner, slice=ast.Constant(value=key))]):
                if isinstance(held := self.of(inner), dict):
                    held.pop(key, None)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=inner, attr="remove"), args=[ast.Name(id=name)])):
                found = self.sources.find(self.module, name)
                assert found is not None
                self.of(inner).remove(ast.literal_eval(found[1]))

    def override(self, key: str, value: ast.AST) -> Keywords:
        match key, value:
            case "type", _:
                return {"none": False} | _typed(value)
            case "action", _:
                text = value.value if isinstance(value, ast.Constant) else _last_name(value)
                return {"action": {"BooleanOptionalAction": "pair", "store_true": "switch"}.get(str(text), "")}
            case "choices", ast.Call(func=ast.Name(id="get_args"), args=[inner]):
                [hint] = self.sources.hints(self.module, inner)
                return {"choices": sorted(hint.inner)}
            case "choices", ast.List():
                return {"choices": sorted(ast.literal_eval(value))}
            case "nargs", ast.Constant(value=number):
                return {"nargs": number}
            case _:
                return {}

    def call(self, call: ast.Call) -> Option:
        said = [str(each.value) for each in call.args if isinstance(each, ast.Constant)]
        names = tuple(each for each in said if each.startswith("-"))
        keywords: Keywords = {}
        for each in call.keywords:
            if each.arg is None:
                unpacked = (
                    [v for k, v in zip(each.value.keys, each.value.values, strict=True) if k is None]
                    if isinstance(each.value, ast.Dict)
                    else [each.value]
                )
                for one in unpacked:
                    held = self.of(one)
                    assert held is not None, f"{names}: {ast.unparse(one)} is not understood"
                    keywords |= held
            else:
                keywords |= self.override(each.arg, each.value)
        return names, keywords

    def read(self, function: ast.FunctionDef) -> list[Option]:
        found = list(self._statements(function.body))
        added = [
            node for node in ast.walk(function) if isinstance(node, ast.Call) and _last_name(node) == "add_argument"
        ]
        assert len(added) == len(found), f"{function.name} adds options in a way that is not understood"
        return [(names, keywords) for names, keywords in found if names]  # those without a name stand by themselves

    def _statements(self, body: list[ast.stmt]) -> Iterator[Option]:
        for node in body:
            self.statement(node)
            match node:
                case ast.If():
                    yield from self._statements(node.body)
                case ast.Expr(value=ast.Call(func=ast.Attribute(attr="add_argument")) as call):
                    yield self.call(call)


def _method(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _frontend(sources: Sources) -> Iterator[Option]:
    """Every field is an option of the same name; base first, as its own overrides come first."""
    reader = Reader(sources, FRONTEND, {"frontend_kwargs": sources.fields(FRONTEND, "FrontendArgs")})
    for name in ("BaseFrontendArgs", "FrontendArgs"):
        _, cls = sources.the_class(FRONTEND, name)
        customize = _method(cls, "_customize_cli_kwargs")
        assert customize is not None
        for node in customize.body:
            for statement in node.body if isinstance(node, ast.If) else [node]:
                reader.statement(statement)
    for key, keywords in reader.known["frontend_kwargs"].items():
        yield (f"--{key.replace('_', '-')}",), keywords


def options(sources: Sources) -> dict[str, Keywords]:
    found: dict[str, Keywords] = {}
    make = sources.find(FRONTEND, "make_arg_parser")
    assert make is not None
    assert isinstance(make[1], ast.FunctionDef)
    adding = [Reader(sources, FRONTEND).read(make[1]), list(_frontend(sources))]
    for name in ("EngineArgs", "AsyncEngineArgs"):
        _, cls = sources.the_class(ARGUMENTS, name)
        function = _method(cls, "add_cli_args")
        assert function is not None
        adding.append(Reader(sources, ARGUMENTS).read(function))
    for names, keywords in (each for several in adding for each in several):
        kept = {key: keywords[key] for key in ("action", "type", "choices", "nargs", "none") if keywords.get(key)}
        kept = {"action": kept["action"]} if kept.get("action") in {"pair", "switch"} else {"type": "text"} | kept
        also = names[1:]
        found[names[0]] = kept | ({"also": list(also)} if also else {})
    return dict(sorted(found.items()))


def metrics(sources: Sources) -> dict[str, str]:
    found: dict[str, str] = {}
    for function in (node for node in ast.walk(sources.tree(LOGGERS)) if isinstance(node, ast.FunctionDef)):
        assigned = {
            target.id: node.value.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            kind = _last_name(call.func).removeprefix("_").removesuffix("_cls")
            if kind not in {"gauge", "counter", "histogram"}:
                continue
            [name] = [each.value for each in call.keywords if each.arg == "name"]
            text = name.value if isinstance(name, ast.Constant) else assigned[_last_name(name)]
            found[str(text)] = kind
    return dict(sorted(found.items()))


def version(root: Path) -> str:
    [line] = [each for each in (root / "PKG-INFO").read_text().splitlines() if each.startswith("Version: ")]
    return line.removeprefix("Version: ")


def render(root: Path) -> str:
    """One option a line, so that a new release is read as a difference."""
    sources = Sources(root)

    def lines(table: Mapping[str, Any]) -> str:
        return ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())

    return (
        f'{{\n  "version": {json.dumps(version(root))},\n'
        f'  "options": {{\n{lines(options(sources))}\n  }},\n'
        f'  "metrics": {{\n{lines(metrics(sources))}\n  }}\n}}\n'
    )


def main() -> None:
    [folder] = sys.argv[1:]
    TARGET.write_text(render(Path(folder)))


if __name__ == "__main__":
    main()
