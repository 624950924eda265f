"""Who is refused a slice, function by function, whether or not there is a pod that could be."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.cluster.waiting import Unplanned
from knative_mig.core.events import PendingRevision
from knative_mig.core.floor.values import Denied, Revision
from knative_mig.core.inventory import Function
from knative_mig.core.outcomes.refusals import denied, unplanned
from knative_mig.core.planner.decisions import Because, Reason
from knative_mig.core.profile import ProfileName
from tests.rigs.small_cluster import pod

SMALL = ProfileName.parse("1g.5gb")
SAID = "exceeded quota: gpus, requested: requests.nvidia.com/mig-1g.5gb=1, limited: requests.nvidia.com/mig-1g.5gb=2"
LLM = Revision(
    namespace="team", name="llm-1", uid="u", desired=3, denied=Denied(profile=SMALL, why=SAID, since=1_000.0)
)


def asked(function: Function, profile: ProfileName, since: float) -> PendingRevision:
    return PendingRevision(
        namespace=function.namespace,
        revision=function.name,
        profile=profile,
        count=1,
        revision_uid="u",
        told_by=f"since {since:.0f}",
    )


def refused(name: str, created: float, code: Because = Because.NO_FREE_PLACE) -> Unplanned:
    return Unplanned(pod=pod(name, revision="llm-1", created=created), reason=Reason(code, "busy"), helps=("less",))


class TestPods:
    def test_of_one_function_are_one_refusal_known_by_its_oldest(self) -> None:
        (found,) = unplanned(Decision(refused=(refused("b", 2.0), refused("a", 1.0))), lambda _: None)
        assert (found.told_from, found.pods, found.helps) == ("uid-a", 2, ("less",))
        assert found.key == (LLM.function, SMALL, Because.NO_FREE_PLACE)

    def test_for_whom_room_is_being_made_are_not_refused(self) -> None:
        going = (refused(code, 1.0, Because(code)) for code in ("MoveUnderWay", "ReplacesRevision"))
        assert unplanned(Decision(refused=tuple(going)), lambda _: None) == []


class TestPodsThatAreNotMade:
    def test_are_those_that_a_revision_lacks_with_what_the_quota_said_and_what_would_help(self) -> None:
        (found,) = denied([LLM, replace(LLM, name="other-1", denied=None)], [pod("a", revision="llm-1")], asked)
        assert (found.function, found.profile, found.pods) == (LLM.function, SMALL, 2)
        assert found.reason == Reason(Because.QUOTA_EXCEEDED, f"its pods are not made: {SAID}")
        assert found.helps[0] == "a higher quota of nvidia.com/mig-1g.5gb"
        assert found.cause == asked(LLM.function, SMALL, 1_000.0)
        assert found.told_from == "1000"

    def test_another_resources_quota_is_not_said_to_be_one_of_slices(self) -> None:
        no_cpu = replace(LLM, denied=Denied(profile=SMALL, why="exceeded quota: cpus, requested: cpu=1", since=0.0))
        (found,) = denied([no_cpu], [], asked)
        assert found.helps[0] == "a higher quota"

    @pytest.mark.parametrize(
        ("revision", "pods", "missing"),
        [
            pytest.param(LLM, [], 3, id="none is there"),
            pytest.param(replace(LLM, desired=None), [], 1, id="its autoscaler has not said how many yet"),
            pytest.param(replace(LLM, desired=1), [pod("a", revision="llm-1")], 0, id="it has what it wants"),
            pytest.param(replace(LLM, desired=0), [], 0, id="it wants none any more"),
            pytest.param(replace(LLM, ending=True), [], 0, id="it is being deleted"),
            pytest.param(replace(LLM, desired=1), [pod("a", revision="llm-1", ends_at=9.0)], 1, id="one is ending"),
            pytest.param(
                replace(LLM, desired=1), [replace(pod("a", revision="llm-1"), phase=Phase.FAILED)], 1, id="one failed"
            ),
            pytest.param(replace(LLM, desired=1), [pod("a", revision="other-1")], 1, id="one is another function's"),
        ],
    )
    def test_how_many_they_are(self, revision: Revision, pods: list[PodFacts], missing: int) -> None:
        assert sum(each.pods for each in denied([revision], pods, asked)) == missing
