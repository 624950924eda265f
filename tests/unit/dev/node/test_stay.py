"""Which pods a node's NoExecute taints send away, and when."""

from math import inf

import pytest

from knative_mig.dev.node.scheduler import host, seeker
from knative_mig.dev.node.stay import due
from tests.unit.dev.node.pods import Object, node, pod

GO = {"key": "repair", "value": "now", "effect": "NoExecute"}
NODES = {"a": node("a", taints=[GO])}


def goes_at(a_pod: Object, nodes: dict[str, Object] = NODES, *, before: float | None = None) -> float:
    """It is 100 now; infinity: it stays."""
    hosts = {name: host(each) for name, each in nodes.items()}
    known = {} if before is None else {"uid-chat": before}
    return due([seeker(a_pod)], hosts, known, 100.0).get("uid-chat", inf)


def tolerant(*seconds: int | None, key: str = "repair") -> Object:
    each = [
        {"key": key, "operator": "Exists", **({} if second is None else {"tolerationSeconds": second})}
        for second in seconds
    ]
    return pod(nodeName="a", tolerations=each)


def test_one_that_does_not_tolerate_the_taint_goes_at_once() -> None:
    assert goes_at(pod(nodeName="a")) == 100
    assert goes_at(tolerant(None, key="another")) == 100


def test_one_that_tolerates_it_stays_or_stays_for_a_while() -> None:
    assert goes_at(tolerant(None)) == inf
    assert goes_at(tolerant(30)) == 130
    assert goes_at(tolerant(-5)) == 100


def test_of_two_tolerations_of_a_taint_the_first_counts_and_of_two_taints_the_shorter_time() -> None:
    assert goes_at(tolerant(None, 30)) == inf
    other = {"key": "gone", "effect": "NoExecute"}
    both = pod(
        nodeName="a",
        tolerations=[
            {"key": "repair", "operator": "Exists", "tolerationSeconds": 60},
            {"key": "gone", "operator": "Exists", "tolerationSeconds": 30},
        ],
    )
    assert goes_at(both, {"a": node("a", taints=[other, GO])}) == 130


def test_a_time_that_runs_goes_on_and_is_cut_short_by_a_taint_that_is_not_tolerated() -> None:
    assert goes_at(tolerant(30), before=110) == 110
    other = {"key": "gone", "effect": "NoExecute"}
    assert goes_at(tolerant(30), {"a": node("a", taints=[GO, other])}, before=110) == 100


@pytest.mark.parametrize(
    "nodes",
    [
        {"a": node("a")},
        {"a": node("a", taints=[{**GO, "effect": "NoSchedule"}, {**GO, "effect": "PreferNoSchedule"}])},
        {"a": node("a", unschedulable=True)},
        {"b": node("b", taints=[GO])},
    ],
    ids=["no taint", "taints against new ones", "a cordon", "another node's taint"],
)
def test_what_sends_nobody_away(nodes: dict[str, Object]) -> None:
    assert goes_at(pod(nodeName="a"), nodes, before=110) == inf


def test_who_waits_for_a_node_or_is_going_is_not_sent_away() -> None:
    assert goes_at(pod()) == inf
    assert goes_at(pod(nodeName="a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})) == inf
