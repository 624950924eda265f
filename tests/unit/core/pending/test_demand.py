"""How many slices a revision wants beyond those it has, as its PodAutoscaler, its pods and its quota change."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Cause, Demand, Replica, RevisionFacts, Scale, Stand, demand_of
from knative_mig.core.profile import ProfileName

TINY = Function("team", "tiny-00001")
BIG = ProfileName.parse("3g.20gb")
REVISION = RevisionFacts(uid="uid-1", profile=BIG)
WAITING, HELD, BOUND, GONE = Stand.WAITING, Stand.HELD, Stand.BOUND, Stand.GONE


def demand(
    desired: int | None, *stands: Stand, revision: RevisionFacts | None = REVISION, told_at: float = 1000.0
) -> Demand | None:
    scale = None if desired is None else Scale(generation=7, desired=desired, told_at=told_at)
    return demand_of(TINY, revision, scale, pods(stands))


def pods(stands: Iterable[Stand]) -> list[Replica]:
    return [Replica(TINY, stand, 1010.0 + number) for number, stand in enumerate(stands)]


def wanted(desired: int | None, *stands: Stand) -> int:
    found = demand(desired, *stands)
    return found.count if found else 0


@pytest.mark.parametrize(
    ("desired", "stands", "count"),
    [
        pytest.param(0, [], 0, id="at zero, and nobody asks"),
        pytest.param(1, [], 1, id="from zero: asked for before there is a pod"),
        pytest.param(1, [WAITING], 1, id="its pod takes the place of what was asked for"),
        pytest.param(1, [BOUND], 0, id="its pod is on a slice"),
        pytest.param(3, [BOUND], 2, id="from one to three"),
        pytest.param(3, [BOUND, WAITING], 2, id="from one to three, half way"),
        pytest.param(3, [BOUND, WAITING, WAITING], 2, id="from one to three, all pods there"),
        pytest.param(3, [BOUND, BOUND, WAITING], 1, id="from one to three, one slice came"),
        pytest.param(1, [BOUND, WAITING, WAITING], 2, id="two pods too many wait all the same"),
        pytest.param(0, [BOUND], 0, id="on its way to zero"),
        pytest.param(1, [GONE], 1, id="its pod was evicted and the next is not there"),
        pytest.param(1, [GONE, WAITING], 1, id="its pod was evicted and the next waits"),
        pytest.param(-1, [BOUND, WAITING], 1, id="an autoscaler that has just started knows nothing, pods do"),
        pytest.param(-1, [], 0, id="an autoscaler that has just started, and no pod"),
        pytest.param(None, [WAITING], 1, id="no PodAutoscaler seen yet"),
        pytest.param(1, [HELD], 0, id="held by what a slice would not change"),
        pytest.param(2, [HELD], 1, id="one is held, the other not there yet"),
    ],
)
def test_demand_is_what_is_asked_for_or_there_less_what_a_slice_would_not_help(
    desired: int | None, stands: list[Stand], count: int
) -> None:
    assert wanted(desired, *stands) == count


def test_what_the_pod_autoscaler_asked_for_is_replaced_by_pods_one_for_one() -> None:
    appear: list[Stand] = []
    states = [demand(4, *appear)]
    for _ in range(4):
        appear.append(WAITING)
        states.append(demand(4, *appear))
    first = states[0]
    assert first is not None
    assert all(each is not None and each.is_still(first) and each.since == first.since for each in states)


def test_a_demand_tells_all_that_an_event_says() -> None:
    assert demand(2, BOUND) == Demand(
        function=TINY, uid="uid-1", generation=7, profile=BIG, count=1, cause=Cause.NO_SLICE, why="", since=1000.0
    )


def test_without_a_word_of_the_autoscaler_it_began_with_the_newest_pod_that_waits() -> None:
    for desired in (-1, None):
        found = demand(desired, WAITING, WAITING, BOUND)
        assert found is not None
        assert found.since == 1011.0


@pytest.mark.parametrize(
    "revision",
    [
        pytest.param(None, id="not seen yet"),
        pytest.param(RevisionFacts(uid="uid-1", profile=None), id="wants no slice"),
        pytest.param(RevisionFacts(uid="uid-1", profile=BIG, leaving=True), id="is being deleted"),
    ],
)
def test_a_revision_that_can_have_no_slice_wants_none(revision: RevisionFacts | None) -> None:
    assert demand(3, WAITING, revision=revision) is None


class TestQuota:
    DENIED = replace(REVISION, over_quota="exceeded quota: gpus, requested: 1, used: 2, limited: 2", told_at=1020.0)

    def test_pods_that_a_quota_does_not_let_be_made_are_a_cause_of_their_own(self) -> None:
        found = demand(3, BOUND, BOUND, revision=self.DENIED)
        assert found is not None
        assert (found.count, found.cause, found.why) == (1, Cause.QUOTA_EXCEEDED, self.DENIED.over_quota)

    def test_it_is_another_state_than_the_same_number_without_the_quota_and_so_is_its_end(self) -> None:
        before, denied = demand(1), demand(1, revision=self.DENIED)
        after = demand(1, revision=replace(REVISION, told_at=1030.0))
        assert before is not None
        assert denied is not None
        assert after is not None
        assert not denied.is_still(before)
        assert not denied.is_covered_by(before)
        assert not after.is_covered_by(denied)
        assert [before.since, denied.since, after.since] == [1000.0, 1020.0, 1030.0]

    def test_once_all_pods_are_there_the_quota_is_nobodys_trouble(self) -> None:
        found = demand(1, WAITING, revision=self.DENIED)
        assert found is not None
        assert (found.cause, found.why) == (Cause.NO_SLICE, "")


def test_less_of_the_same_is_covered_by_what_was_told_and_more_is_not() -> None:
    two, one, three = demand(2), demand(1), demand(3)
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.is_covered_by(two)
    assert not three.is_covered_by(two)
    assert not replace(one, uid="uid-2").is_covered_by(two)
    assert replace(two, generation=8).is_covered_by(two)
    assert not replace(two, generation=8).is_still(two)
