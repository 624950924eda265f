"""Whom the end of `knative-mig dev` waits for, as its user is told."""

import pytest

from knative_mig.dev.gateway.hall import Load
from knative_mig.dev.whole.ending import waits_for
from knative_mig.ports.kube import Key

NAMES = {Key("default", f"{name}-0000{n}"): name for name in "xyzvwu" for n in (1, 2)}


def told(**loads: tuple[int, int]) -> str:
    """Of loads by revision: x1 is default/x-00001."""
    found = {
        Key("default", f"{name[0]}-0000{name[1]}"): Load(held=held, running=running)
        for name, (held, running) in loads.items()
    }
    return waits_for(found, lambda revision: NAMES.get(revision, revision.name))


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        ({}, ""),
        ({"x1": (0, 0)}, ""),
        ({"x1": (0, 1), "y1": (0, 0)}, "1 request to default/x"),
        ({"x1": (1, 1), "x2": (0, 1)}, "3 requests to default/x"),
        ({"y1": (1, 0), "x1": (0, 2)}, "2 requests to default/x and 1 request to default/y"),
        (
            {f"{name}1": (0, 1) for name in "xyzvwu"},
            "1 request to default/u, 1 request to default/v, 1 request to default/w and 3 requests to others",
        ),
        ({"q1": (0, 1)}, "1 request to default/q-00001"),
    ],
    ids=["nothing", "no request", "one", "two revisions", "two functions", "many functions", "a revision alone"],
)
def test_who_has_requests_is_named_with_how_many(loads: dict[str, tuple[int, int]], said: str) -> None:
    assert told(**loads) == said
