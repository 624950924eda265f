"""Who comes first when not all can be served, and that nothing else decides it."""

from itertools import permutations

import pytest

from knative_mig.core.planner.policy import Policy
from tests.rigs.worlds import gpu, pending, planned, told

POLICY = Policy(starving_after_s=100)


def served(*names: str, now: float = 0.0, since: float = 0.0, priority: int = 0) -> set[str]:
    """On one empty A100, beside a whole-GPU request that has just come: either it or the small ones fit."""
    asked = [pending(name, "1g.5gb", since=since, priority=priority) for name in names]
    plan = planned([gpu("A")], *asked, pending("whole", "7g.40gb", since=now), now=now, policy=POLICY)
    return {step.function.name for step in plan.steps}


def test_of_equal_rank_the_one_with_the_fewest_places_goes_first() -> None:
    assert served("small") == {"whole"}


def test_who_waits_a_little_longer_does_not_outrank() -> None:
    assert served("small", now=99.9) == {"whole"}


def test_who_waits_longer_by_the_time_of_starving_does() -> None:
    assert served("small", now=100.0) == {"small"}


def test_a_higher_priority_outranks_at_once() -> None:
    assert served("small", priority=1) == {"small"}


def test_the_bigger_of_two_with_as_many_places_goes_first() -> None:
    """A 4g and a 7g have one start each."""
    plan = planned([gpu("A")], pending("four", "4g.20gb", since=-5.0), pending("whole", "7g.40gb"))
    assert [told(step) for step in plan.steps] == ["whole: create A:7g.40gb@0"]


def test_of_equals_the_older_goes_first_and_then_the_name_decides() -> None:
    one_left = gpu("A", "4g.20gb@0 is x", "2g.10gb@4 is y")
    plan = planned([one_left], pending("a", "1g.5gb"), pending("z", "1g.5gb", since=-1.0))
    assert [step.function.name for step in plan.steps] == ["z"]
    plan = planned([one_left], pending("b", "1g.5gb"), pending("a", "1g.5gb"))
    assert [step.function.name for step in plan.steps] == ["a"]


def test_the_order_of_the_input_decides_nothing() -> None:
    """Not even between two requests of one function that differ in their nodes or their count alone."""
    two_left = gpu("A", "4g.20gb@0 is x", "1g.5gb@4 is y")
    asked = [
        pending("f", "1g.5gb", nodes=("n1",)),
        pending("f", "1g.5gb", nodes=("n1", "n2")),
        pending("f", "1g.5gb"),
        pending("f", "1g.5gb", count=2),
    ]
    plans = [planned([two_left], *order) for order in permutations(asked)]
    assert all(plan == plans[0] for plan in plans)


@pytest.mark.parametrize(("waited", "is_held"), [(99.9, False), (100.0, True)], ids=["not yet", "from then on"])
def test_a_place_is_held_from_the_time_of_starving_on(waited: float, *, is_held: bool) -> None:
    """Both are rejected for the whole GPU's sake only if it starves: until then the small one has its place."""
    busy = gpu("A", "1g.5gb@0 is chat")
    plan = planned(
        [busy], pending("whole", "7g.40gb", since=-waited), pending("small", "1g.5gb"), policy=POLICY, now=0.0
    )
    assert bool(plan.steps) != is_held
    assert bool(plan.reasons) == is_held
