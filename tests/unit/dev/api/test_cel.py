"""The part of CEL that rules are written in."""

from typing import Any

import pytest

from knative_mig.dev.api.cel import CelError, holds

_SCOPE: dict[str, Any] = {
    "self": {"n": 3, "name": "abc", "tags": ["x", "y"], "slices": [{"start": 0}, {"start": 4}]},
    "oldSelf": {"n": 2},
}


@pytest.mark.parametrize(
    "expression",
    [
        "self.n >= oldSelf.n",
        "self.n + 1 == 4 && self.n * 2 - 1 == 5",
        "self.n / 2 == 1 && self.n % 2 == 1 && -self.n < 0",
        "!has(self.nothing) || self.nothing > 1",
        "has(self.n)",
        "self.slices.all(a, a.start >= 0)",
        "self.slices.exists(a, a.start == 4)",
        "self.slices.exists_one(a, self.slices.all(b, a.start <= b.start))",
        "self.slices.filter(a, a.start > 0).size() == 1",
        "self.slices.map(a, a.start) == [0, 4]",
        "size(self.tags) == 2 && 'x' in self.tags && self.tags[1] == \"y\"",
        "self.name.startsWith('a') && self.name.matches('^[a-c]+$') && !self.name.contains('z')",
        "self.n > 2 ? self.name == 'abc' : self.nothing",
        "(1 == 2) == false && true != false",
        "self.tags.all(t, t != '&&')",
        "self.?nothing.?below.orValue('x') == 'x' && self.?name.orValue('') == 'abc'",
        "[self.?nothing, self.?slices].exists(m, m.hasValue() && m.orValue([]).size() == 2)",
        "self.?nothing.orValue({}) == {}",
    ],
)
def test_it_holds(expression: str) -> None:
    assert holds(expression, _SCOPE)


def test_what_does_not_hold() -> None:
    assert not holds("self.n < oldSelf.n", _SCOPE)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("self.nothing > 1", "no such key: nothing"),
        ("self.n.startsWith('a')", "startsWith"),
        ("size(self.n) == 1", "has no len"),
        ("self.n.all(a, a > 1)", "all"),
        ("-self.name == 1", "-"),
        ("self.name.matches('[')", "matches"),
        ("other.n > 1", "other is not known here"),
        ("self.n", "is no condition"),
        ("self.n && true", "3 is no condition"),
        ("self.name < 1", "<"),
        ("self.n / 0 == 1", "/"),
        ("self.tags[9] == 'x'", "no such key"),
        ("quantity('1') == 1", "the function quantity is not known here"),
        ("self.name.reverse() == 'cba'", "the method reverse is not known here"),
        ("self.n ==", "ends too early"),
        ("self.n.orValue(1) == 1", "3 does not lack"),
        ("(self.n == 3", ") is missing"),
        ("self.n == 3 4", "unexpected 4"),
        ("self.n @ 3", "@ 3' is not known here"),
    ],
)
def test_what_is_not_known_is_named(expression: str, said: str) -> None:
    with pytest.raises(CelError) as error:
        holds(expression, _SCOPE)
    assert said in str(error.value)
