"""Whose slice a new Revision gets where nothing is spare and its user lets the older one end for it."""

from dataclasses import replace

import pytest

from knative_mig.core.inventory import Gpu, Pending, Succession
from knative_mig.core.planner.decisions import Because, How, Plan
from knative_mig.core.planner.policy import Policy
from tests.rigs.worlds import function, gpu, pending, planned

OLD = function("llm-1")


def newer(profile: str = "3g.20gb", *, recreates: bool = True, older: str = "llm-1", since: float = 0.0) -> Pending:
    asked = pending("llm-2", profile, since=since)
    return replace(asked, succeeds=Succession(older=frozenset({function(older)}), recreates=recreates))


def taken(plan: Plan) -> tuple[str, list[str], list[str]]:
    (step,) = plan.steps
    assert step.how is How.RECREATE
    assert step.recreation
    assert step.recreation.function == OLD
    return (
        f"{step.target.gpu}:{step.target.place}",
        [str(each) for each in step.recreation.slices],
        [str(each) for each in step.target.destroys],
    )


FULL = gpu("A", "3g.20gb@0 is llm-1", "3g.20gb@4 is other")


def test_its_slice_where_it_fits() -> None:
    assert taken(planned([FULL], newer())) == ("A:3g.20gb@0", ["3g.20gb@0"], [])


def test_a_bigger_one_over_it_and_idle_slices_beside_it() -> None:
    full = gpu("A", "2g.10gb@0 is llm-1", "1g.5gb@2 idle", "3g.20gb@4 is other")
    assert taken(planned([full], newer("4g.20gb"))) == ("A:4g.20gb@0", ["2g.10gb@0"], ["1g.5gb@2"])


def test_both_slices_of_two_pods_where_it_takes_as_much() -> None:
    full = gpu("A", "2g.10gb@0 is llm-1", "2g.10gb@2 is llm-1", "3g.20gb@4 is other")
    assert taken(planned([full], newer("4g.20gb"))) == ("A:4g.20gb@0", ["2g.10gb@0", "2g.10gb@2"], [])


def test_of_several_where_the_fewest_end_and_the_least_else_is_taken() -> None:
    loose = gpu("A", "1g.5gb@0 is llm-1", "1g.5gb@1 is other", "2g.10gb@2 is llm-1", "3g.20gb@4 is other")
    tight = gpu("B", "2g.10gb@2 is other", "2g.10gb@0 is llm-1", "3g.20gb@4 is other")
    assert taken(planned([loose, tight], newer("2g.10gb")))[0] == "A:2g.10gb@2"
    assert taken(planned([loose, tight], newer("1g.5gb")))[0] == "A:1g.5gb@0"


class TestNobodyEnds:
    def check(self, plan: Plan, *, code: Because = Because.NO_SPARE_SLICE) -> str:
        assert not plan.steps
        (rejection,) = plan.rejections
        assert rejection.reason.code is code
        return rejection.reason.text

    def test_without_the_opt_in(self) -> None:
        plan = planned([FULL], newer(recreates=False))
        text = self.check(plan)
        assert text.startswith("default/llm-1 serves on; this newer Revision gets the first slice that is free")
        assert "knative-mig.dev/rollout: recreate" in plan.rejections[0].helps[-1]

    def test_who_is_no_older_revision(self) -> None:
        text = self.check(planned([FULL], newer(older="gone-1")))
        assert "no slice of default/gone-1 does for it" in text

    def test_where_somebody_elses_slice_is_in_the_way(self) -> None:
        self.check(planned([FULL], newer("7g.40gb")))

    def test_where_an_administrator_chose_the_layout(self) -> None:
        static = gpu("A", "3g.20gb@0 is llm-1", "3g.20gb@4 is other", static=True)
        self.check(planned([static], newer("2g.10gb")))
        assert taken(planned([static], newer()))[0] == "A:3g.20gb@0"

    def test_while_a_slice_is_spare(self) -> None:
        (step,) = planned([FULL, gpu("B")], newer()).steps
        assert (step.how, step.target.gpu) == (How.CREATE, "B")

    def test_while_a_slice_comes_free_soon(self) -> None:
        soon = gpu("B", "4g.20gb@0 is other", "3g.20gb@4 is x, ends at 9")
        (step,) = planned([FULL, soon], newer()).steps
        assert step.how is How.WAIT

    def test_while_it_only_has_to_wait_for_a_whole_gpu(self) -> None:
        self.check(planned([FULL, gpu("B")], newer(), policy=Policy(reserve_whole=1)))


def test_who_comes_first_loses_nothing_by_it_and_keeps_what_is_held_beside() -> None:
    """An old request holds the GPU's first half, with the idle slice in it."""
    full = gpu("A", "2g.10gb@0 is llm-1", "2g.10gb@2 idle", "3g.20gb@4 is other")
    first = pending("big", "7g.40gb", since=-200.0)
    plan = planned([full], first, newer("2g.10gb"), now=0.0)
    assert not [step for step in plan.steps if step.function.name == "big"]
    assert taken(plan)[0] == "A:2g.10gb@0"
    assert not planned([full], first, newer("4g.20gb"), now=0.0).steps


def test_one_slice_is_given_once() -> None:
    plan = planned([FULL], replace(newer(), count=2))
    assert len(plan.steps) == 1
    assert plan.rejections[0].count == 1


def test_the_bound_counts_only_what_is_served_by_what_is_spare() -> None:
    plan = planned([FULL], newer())
    assert plan.bound.served <= plan.bound.at_most


@pytest.mark.parametrize("state", ["is llm-1, moves in 5 to n1", "is llm-1"])
def test_nobody_is_moved_out_of_a_slice_that_is_given_up(state: str) -> None:
    world: list[Gpu] = [gpu("A", f"3g.20gb@0 {state}", "3g.20gb@4 is other")]
    plan = planned(world, newer(), pending("x", "4g.20gb", since=1.0))
    assert [step.function.name for step in plan.steps] == ["llm-2"]
