"""Files a slip or two away from valid: whatever a person writes, the answer is an exit code and at most one line."""

import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from knative_mig.cli.main import main

Value = object
Path = tuple[str | int, ...]

PLAN: dict[str, Value] = {
    "gpus": [
        {
            "uuid": "GPU-a",
            "node": "n-1",
            "model": "A100-40GB",
            "slices": [
                {"profile": "2g.10gb", "start": 0, "idle": {"worth_s": 0.5}},
                {"profile": "1g.5gb", "start": 2, "idle": {"next_start_s": 2, "likelihood": 0.3}},
                {"profile": "1g.5gb", "start": 3, "function": "a/b", "movable": True, "move_s": 6, "nodes": ["n-1"]},
                {"profile": "3g.20gb", "start": 4, "function": "a/c", "free_in_s": 9},
            ],
        },
        {"uuid": "GPU-b", "node": "n-2", "model": "H100-80GB", "layout": "static", "count": 2},
    ],
    "pendings": [
        {"function": "a/d", "profile": "3g.20gb", "count": 2, "priority": 1, "waiting_s": 3, "nodes": ["n-1"]},
        {"function": "a/e", "profile": "nvidia.com/mig-3g.40gb"},
    ],
    "quotas": {"a": {"3g.20gb": 1}},
    "policy": {"max_moves": 1, "starving_after_s": 60, "wait_at_most_s": 5, "demand": {"3g.20gb": 0.2}},
    "startup": {"a/d": {"usual_s": 3, "on_node_s": {"n-2": 9}}},
}
LAYOUTS: dict[str, Value] = {
    "version": "v1",
    "mig-configs": {
        "off": [{"devices": "all", "mig-enabled": False}],
        "mixed": [
            {
                "device-filter": ["0x20B010DE", "0x20B710DE"],
                "devices": [0, 1],
                "mig-enabled": True,
                "mig-devices": {"1g.5gb": 2, "3g.20gb": 1},
            }
        ],
    },
}

SLIPS = st.one_of(
    st.sampled_from(
        [None, True, False, -1, 0, 1, 4, 7, 8, 2**70, -(2**70), 0.5, -0.0, 1e308, float("inf"), float("nan")]
    ),
    st.sampled_from(["", "x", "yes", "3g.20gb", "7g.40gb", "1g.5gb+me", "3g.39gb", "1c.3g.20gb", "a/b", "n-1", "all"]),
    st.sampled_from(["A100-40GB", "A30-24GB", "GPU-a", "0x20B010DE", "0xFFFF10DE", "\x1b[31m\n", "\u202eé", "y" * 300]),
    st.sampled_from([[], {}, [[]], [{}], {"x": 1}, {"3g.20gb": 1}, ["n-1", "n-1"]]),
    st.text("ab1 .:-/{}[]'\"#&*!|>%@`\\\t\n\0é\u2028", max_size=8),
)


def places(value: Value, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places(below, (*path, key))
    elif isinstance(value, list):
        for at, below in enumerate(value):
            yield from places(below, (*path, at))


def changed(value: Value, path: Path, slip: Value, how: str) -> Value:
    """A copy in which what stands at `path` is replaced, left out, doubled, or has its key replaced."""
    if not path:
        return slip
    at, below = path[0], path[1:]
    if isinstance(value, list):
        assert isinstance(at, int)
        if below or how in ("replace", "rename"):
            return [changed(each, below, slip, how) if here == at else each for here, each in enumerate(value)]
        return value[:at] + (value[at : at + 1] * 2 if how == "double" else []) + value[at + 1 :]
    assert isinstance(value, dict)
    if below or how in ("replace", "double"):
        return {key: changed(each, below, slip, how) if key == at else each for key, each in value.items()}
    if how == "rename":
        return {str(slip) if key == at else key: each for key, each in value.items()}
    return {key: each for key, each in value.items() if key != at}


@st.composite
def near_valid(draw: st.DrawFn, valid: Value) -> str:
    document = valid
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(sorted(places(document), key=repr)))
        how = draw(st.sampled_from(["replace", "replace", "leave out", "double", "rename"]))
        document = changed(document, path, draw(SLIPS), how)
    text = str(yaml.dump(document, allow_unicode=True, default_flow_style=draw(st.booleans()), sort_keys=False))
    if draw(st.integers(0, 3)) == 0:  # a slip of the pen in the text itself
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 3))
        text = (
            text[:start]
            + draw(st.sampled_from(["", "\t", ":", "- ", "&a ", "*a", "{", "]", "'", "!t ", "---\n"]))
            + text[end:]
        )
    return text


def run(*arguments: str, stdin: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    kept, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin.encode()))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
    finally:
        sys.stdin = kept
    return code, out.getvalue(), err.getvalue()


def holds(code: int, out: str, err: str) -> None:
    event(f"exit {code}")
    assert code in (0, 1, 2), err
    if code == 2:
        assert out == ""
        assert err.startswith("standard input:")
        assert err.endswith("\n")
        assert err[:-1].isprintable()
    else:
        assert out
        assert err == ""


@settings(max_examples=300)
@given(near_valid(LAYOUTS))
def test_layouts_check_never_fails_otherwise(text: str) -> None:
    holds(*run("layouts", "check", "-", stdin=text))


@settings(max_examples=300, deadline=None)
@given(near_valid(PLAN), st.sampled_from([(), ("--explain",), ("--json",)]))
def test_plan_never_fails_otherwise(text: str, options: tuple[str, ...]) -> None:
    holds(*run("plan", *options, "-", stdin=text))


@pytest.mark.parametrize(
    ("verb", "valid"), [(("plan",), PLAN), (("layouts", "check"), LAYOUTS)], ids=["plan", "layouts"]
)
def test_the_document_that_is_mutated_is_valid(verb: tuple[str, ...], valid: Value) -> None:
    code, out, err = run(*verb, "-", stdin=str(yaml.dump(valid)))
    assert code in (0, 1)
    assert out
    assert err == ""
