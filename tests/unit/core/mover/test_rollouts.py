"""Who is a new Revision beside an older one, and whether the older one may end for it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.floor.values import Revision
from knative_mig.core.inventory import Function, Succession
from knative_mig.core.mover.choose import Journal
from knative_mig.core.mover.rollouts import successions, superseded
from knative_mig.core.mover.seen import Seen, SeenPods, SeenRevisions
from knative_mig.core.mover.values import Leg, Move, Phase, PodRef
from tests.rigs.moving_world import spot
from tests.rigs.small_cluster import pod

OLD, NEW = Function("team", "llm-1"), Function("team", "llm-2")


def revision(name: str, generation: int, **about: Any) -> Revision:
    return Revision(namespace="team", name=name, uid=f"uid-{name}", service="llm", generation=generation, **about)


def serving(name: str = "old", of: str = "llm-1", **about: Any) -> PodFacts:
    return replace(pod(name, revision=of, on="n1"), service="llm", ready=True, **about)


def waiting(name: str = "new", of: str = "llm-2", *, recreates: bool = True, gated: bool = True) -> PodFacts:
    return replace(pod(name, revision=of, gated=gated), service="llm", recreates=recreates)


TWO = (revision("llm-1", 1), revision("llm-2", 2))


def found(
    pods: Iterable[PodFacts], revisions: Iterable[Revision] = TWO, journal: Journal | None = None
) -> dict[Function, Succession]:
    seen = Seen(pods=SeenPods.all_of(pods), revisions=SeenRevisions.all_of(revisions))
    return successions(seen, journal or Journal(), 100.0)


def may_end(
    pods: Iterable[PodFacts], revisions: Iterable[Revision] = TWO, journal: Journal | None = None
) -> bool | None:
    """None: there is no succession."""
    each = found(pods, revisions, journal).get(NEW)
    return each.recreates if each else None


def test_the_older_one_ends_where_the_new_ones_template_says_so() -> None:
    assert found([serving(), waiting()]) == {NEW: Succession(older=frozenset({OLD}), recreates=True)}
    assert found([serving(), waiting(recreates=False)]) == {NEW: Succession(older=frozenset({OLD}))}


def test_what_the_older_ones_template_says_is_nothing_to_the_new_one() -> None:
    assert may_end([serving(recreates=True), waiting(recreates=False)]) is False


@pytest.mark.parametrize(
    ("pods", "revisions"),
    [
        pytest.param([serving(), waiting(of="llm-1")], TWO, id="one more pod of the older Revision"),
        pytest.param([serving(of="llm-2"), waiting(of="llm-1")], TWO, id="the older one beside the newer"),
        pytest.param([serving(), waiting()], [*TWO, revision("llm-3", 3)], id="a newer one has come"),
        pytest.param([serving(), waiting()], [TWO[0]], id="not seen yet"),
        pytest.param([serving(), waiting()], [TWO[0], replace(TWO[1], ending=True)], id="ending"),
        pytest.param([serving(), waiting()], [TWO[1]], id="the older one is gone"),
        pytest.param([serving(ends_at=9.0), waiting()], TWO, id="the older one's pod ends already"),
        pytest.param([replace(serving(), service="x"), waiting()], TWO, id="another Service"),
        pytest.param([replace(serving(), namespace="x"), waiting()], TWO, id="another namespace"),
        pytest.param([waiting()], TWO, id="nobody serves"),
    ],
)
def test_no_succession(pods: list[PodFacts], revisions: list[Revision]) -> None:
    assert may_end(pods, revisions) is None
    assert may_end([serving(), waiting()]) is True


def test_without_our_gate_nobody_ends_for_another() -> None:
    """Whoever else waits might get the slice."""
    assert may_end([serving(), waiting(gated=False)]) is False


def test_in_vain_once_is_for_long() -> None:
    assert may_end([serving(), waiting()], journal=Journal(resting={NEW: 101.0})) is False
    assert may_end([serving(), waiting()], journal=Journal(resting={NEW: 100.0})) is True


def move(function: Function, of: Function, *, recreates: bool) -> Move:
    leg = Leg(function=of, revision_uid="u", old=PodRef(name="p", uid="uid-p"), source=spot(4), target=spot(4, "gpu-1"))
    return Move(
        beneficiary=PodRef(name="b", uid="uid-b"),
        function=function,
        place=spot(0),
        legs=(leg,),
        began=0.0,
        phase=Phase.CLEARING if recreates else Phase.STARTING,
        recreates=recreates,
    )


def test_who_is_being_moved_does_not_end_as_well() -> None:
    journal = Journal(moves={"uid-b": move(Function("team", "big"), OLD, recreates=False)})
    assert may_end([serving(), waiting()], journal=journal) is False


def test_for_whom_a_function_is_moved_nobody_ends_as_well() -> None:
    journal = Journal(moves={"uid-b": move(NEW, Function("team", "small"), recreates=False)})
    assert may_end([serving(), waiting()], journal=journal) is False


def test_one_pod_at_a_time() -> None:
    journal = Journal(moves={"uid-b": move(NEW, OLD, recreates=True)})
    assert may_end([serving(), waiting()], journal=journal) is False


THREE = (*TWO, revision("llm-3", 3))
CURE = Function("team", "llm-3")


def seen(pods: Iterable[PodFacts], revisions: Iterable[Revision] = THREE) -> Seen:
    return Seen(pods=SeenPods.all_of(pods), revisions=SeenRevisions.all_of(revisions))


def test_who_waits_beside_the_newest_of_its_service_comes_after_it() -> None:
    assert superseded(seen([serving(), waiting(), waiting("cure", "llm-3")])) == {NEW: CURE}


@pytest.mark.parametrize(
    ("pods", "revisions"),
    [
        pytest.param([serving(), waiting()], THREE, id="the newest does not wait"),
        pytest.param([waiting(), waiting("cure", "llm-3")], TWO, id="nobody knows of it yet"),
        pytest.param([waiting("other", "other-1"), waiting("cure", "llm-3")], THREE, id="another's"),
    ],
)
def test_nobody_comes_after_another(pods: list[PodFacts], revisions: tuple[Revision, ...]) -> None:
    assert superseded(seen(pods, revisions)) == {}
