"""The words of a rejection: what bound it, who holds the nearest place, and what would help."""

from dataclasses import replace

import pytest

from knative_mig.core.inventory import Busy, Function, Gpu, Pending
from knative_mig.core.planner.decisions import Because, Rejection
from knative_mig.core.planner.policy import Policy
from tests.rigs.worlds import gpu, pending, planned


def rejected(gpus: list[Gpu], asked: Pending, *, now: float = 0.0, policy: Policy | None = None) -> Rejection:
    (rejection,) = planned(gpus, asked, now=now, policy=policy).rejections
    return rejection


def test_where_there_is_no_gpu_at_all_that_is_said() -> None:
    found = rejected([], pending("f", "3g.20gb"))
    assert found.reason.code is Because.NO_SUCH_PROFILE
    assert found.reason.text == "no GPU can be cut into 3g.20gb; the GPUs here have none at all"
    assert found.helps == ("ask for one of the profiles named", "add a GPU that has this profile")


def test_a_profile_of_other_models_is_answered_with_what_the_models_here_have() -> None:
    found = rejected([gpu("A", model="A30-24GB")], pending("f", "3g.20gb"))
    assert found.reason.text == (
        "no GPU can be cut into 3g.20gb; the GPUs here have 1g.6gb, 1g.6gb+me, 2g.12gb, 2g.12gb+me, 4g.24gb"
    )


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        (1, "the 1 nodes whose GPUs have 3g.20gb (n0)"),
        (7, "the 7 nodes whose GPUs have 3g.20gb (n0, n1, n2, n3, n4, …)"),
    ],
    ids=["one", "more than fit a line"],
)
def test_no_eligible_node_names_the_nodes_that_have_the_profile(nodes: int, named: str) -> None:
    gpus = [gpu(f"G{number}", node=f"n{number}") for number in range(nodes)]
    found = rejected([*gpus, gpu("X", node="x", model="A30-24GB")], pending("f", "3g.20gb", nodes=("x",)))
    assert found.reason.code is Because.NO_ELIGIBLE_NODE
    assert found.reason.text == f"the pod can run on none of {named}: cordon, taint, affinity, CPU or memory"
    assert found.helps == (
        "one of them that the pod selects and tolerates, not cordoned, with room for its CPU and memory",
    )


def test_units_that_are_free_but_apart_are_told_from_too_few() -> None:
    apart = gpu("A", "1g.5gb@0 is a", "1g.5gb@4 is b")
    found = rejected([apart], pending("f", "3g.20gb"))
    assert found.reason.text == (
        "no place for 3g.20gb: 6 memory units are free or idle on all GPUs that have it, but no 4 together at a legal "
        "start; nearest is 3g.20gb@4 of A, held by default/b (1g.5gb@4, not movable)"
    )
    full = gpu("A", "4g.20gb@0 is a", "1g.5gb@4 is b", "1g.5gb@5 is c")
    found = rejected([full], pending("f", "3g.20gb"))
    assert found.reason.text.startswith(
        "no place for 3g.20gb: 2 memory units are free or idle on all GPUs that have it;"
    )


def test_one_unit_that_is_free_but_no_legal_start() -> None:
    full = gpu("A", *(f"1g.5gb@{start} is f{start}" for start in range(7)))
    found = rejected([full], pending("f", "1g.5gb"))
    assert found.reason.text.startswith(
        "no place for 1g.5gb: 1 memory unit is free or idle on all GPUs that have it, but not at a legal start; nearest"
    )
    beside = rejected([gpu("S", "1g.5gb@0 is a", static=True), full], pending("f", "1g.5gb"))
    assert "but none at a legal start where one may be made; nearest" in beside.reason.text


def test_nobody_is_named_as_the_holder_of_a_gpu_that_is_not_to_be_used() -> None:
    silent = gpu("A", "7g.40gb@0 is a")
    silent = replace(silent, slices=(replace(silent.slices[0], use=Busy(Function("", ""))),))
    found = rejected([silent], pending("f", "3g.20gb"))
    assert found.reason.text == "no place for 3g.20gb: 0 memory units are free or idle on all GPUs that have it"
    assert found.helps == ("another GPU that has 3g.20gb",)
    found = rejected([silent, gpu("B", "7g.40gb@0 is b")], pending("f", "3g.20gb"))
    assert "nearest is 3g.20gb@4 of B, held by default/b" in found.reason.text


def test_where_the_layout_is_an_administrators_room_is_not_what_is_missing() -> None:
    static = gpu("A", "1g.5gb@0 is a", static=True)
    found = rejected([static], pending("f", "2g.10gb"))
    assert found.reason.text.startswith(
        "no place for 2g.10gb: 7 memory units are free or idle on all GPUs that have it, and none is made there now: "
        "the layout is an administrator's"
    )
    beside_a_full_one = rejected([static, gpu("B", "7g.40gb@0 is b")], pending("f", "2g.10gb"))
    assert "but no 2 together at a legal start where one may be made" in beside_a_full_one.reason.text


def test_only_the_gpus_where_the_pod_can_run_are_counted() -> None:
    gpus = [gpu("A", "4g.20gb@0 is a", "1g.5gb@4 is b", node="n1"), gpu("B", "1g.5gb@1 is c", node="n2")]
    found = rejected(gpus, pending("f", "7g.40gb", nodes=("n2",)))
    assert "7 memory units are free or idle on the GPUs where the pod can run" in found.reason.text
    assert "nearest is 7g.40gb@0 of B" in found.reason.text


def test_all_of_them_are_counted_however_many_are_looked_at() -> None:
    gpus = [gpu(f"G{number:03}", "1g.5gb@0 is a", node="n1") for number in range(100)]
    found = rejected([*gpus, gpu("X", node="n2")], pending("f", "7g.40gb", nodes=("n1",)))
    assert "700 memory units are free or idle on the GPUs where the pod can run" in found.reason.text


def test_of_one_or_two_holders_it_is_said_that_they_might_be_movable() -> None:
    one = rejected([gpu("A", "4g.20gb@0 is a", "1g.5gb@4 is b", "1g.5gb@5 is c")], pending("f", "2g.10gb"))
    assert one.helps == (
        "default/b and default/c scaling to zero",
        "knative-mig.dev/movable on default/b and default/c",
        "1g.10gb, which had a place when 2g.10gb was refused",
        "another GPU that has 2g.10gb",
    )


def test_of_three_holders_it_is_not_for_no_plan_moves_as_many() -> None:
    found = rejected([gpu("A", "1g.5gb@0 is a", "1g.5gb@2 is b", "1g.5gb@4 is c")], pending("f", "7g.40gb"))
    assert found.helps[0] == "default/a and default/b and default/c scaling to zero"
    assert not any("movable" in each for each in found.helps)


def test_a_holder_that_may_move_already_is_not_told_to() -> None:
    found = rejected(
        [gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, moves in 5")], pending("f", "3g.20gb"), policy=Policy(max_moves=0)
    )
    assert "held by default/b (3g.20gb@4, movable)" in found.reason.text
    assert found.helps == ("default/b scaling to zero", "another GPU that has 3g.20gb")


def test_a_pod_that_terminates_is_worth_waiting_for_unless_another_stays() -> None:
    ending = rejected([gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, ends at 100")], pending("f", "3g.20gb"), now=20.0)
    assert "held by default/b (3g.20gb@4, ends in 80 s)" in ending.reason.text
    assert ending.helps == ("waiting: it comes free in 80 s", "another GPU that has 3g.20gb")

    both = rejected([gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, ends at 100")], pending("f", "7g.40gb"), now=20.0)
    assert "default/a (4g.20gb@0, not movable) and default/b (3g.20gb@4, ends in 80 s)" in both.reason.text
    assert not any("waiting" in each for each in both.helps)


def test_who_gets_what_comes_free_is_named_to_those_who_come_after() -> None:
    plan = planned([gpu("A", "7g.40gb@0 is a, ends at 20")], pending("f", "7g.40gb"), pending("g", "7g.40gb"), now=5.0)
    (step,), (refused,) = plan.steps, plan.rejections
    assert step.function.name == "f"
    assert refused.reason.text == (
        "no place for 7g.40gb: 0 memory units are free or idle on all GPUs that have it; 7g.40gb@0 of A comes free for "
        "default/f, which comes first"
    )
    elsewhere = planned(
        [gpu("A", "7g.40gb@0 is a, ends at 20", node="n1"), gpu("B", "7g.40gb@0 is b", node="n2")],
        pending("f", "7g.40gb"),
        pending("g", "7g.40gb", nodes=("n2",)),
        pending("h", "7g.40gb"),
    )
    assert not any("comes first" in each.reason.text for each in elsewhere.rejections)


def test_a_pod_that_should_have_ended_is_worth_a_look() -> None:
    found = rejected(
        [gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, ends at 100")],
        pending("f", "3g.20gb"),
        now=101.0,
        policy=Policy(wait_at_most_s=0),
    )
    late = rejected(
        [gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, ends at 100")],
        pending("f", "3g.20gb"),
        now=150.0,
        policy=Policy(wait_at_most_s=0),
    )
    assert late.reason.text == found.reason.text
    assert "held by default/b (3g.20gb@4, should have ended)" in late.reason.text
    assert late.helps == ("a look at the pod that should have ended by now", "another GPU that has 3g.20gb")


def test_numbers_and_times_are_figures_that_change_while_all_else_is_as_true_as_it_was() -> None:
    found = rejected([gpu("A", "4g.20gb@0 is a", "3g.20gb@4 is b, ends at 100")], pending("f", "3g.20gb"), now=20.0)
    assert found.reason.figures == ("0 memory units are", "in 80 s")
    assert all(each in found.reason.text for each in found.reason.figures)


def test_the_biggest_smaller_profile_is_offered() -> None:
    found = rejected([gpu("A", "4g.20gb@0 is a", "1g.5gb@6 is b")], pending("f", "3g.20gb"))
    assert "2g.10gb, which had a place when 3g.20gb was refused" in found.helps


def test_a_smaller_profile_with_another_attribute_is_not_what_was_meant() -> None:
    with_media = rejected([gpu("A", "7g.40gb@0 is a")], pending("f", "1g.5gb+me"))
    beside = rejected([gpu("A", "4g.20gb@0 is a", "1g.5gb+me@4 is b")], pending("f", "1g.5gb+me"))
    assert not any("had a place" in each for each in (*with_media.helps, *beside.helps))


def test_a_static_layout_is_asked_for_what_it_has_and_no_more() -> None:
    admins = gpu("S", "2g.10gb@0 is a", "2g.10gb@2 is b", static=True)
    found = rejected([admins], pending("f", "2g.10gb"))
    assert "nearest is 2g.10gb@2 of S, held by default/b" in found.reason.text
    none_such = rejected([admins], pending("f", "3g.20gb"))
    assert "nearest" not in none_such.reason.text
    assert none_such.helps == ("another GPU that has 3g.20gb",)


def test_that_moves_were_not_sought_everywhere_is_said() -> None:
    """300 places that a function could leave if only it had a node to go to: the search ends after 256."""
    gpus = [
        gpu(f"G{number:03}", "4g.20gb@0 is a", f"3g.20gb@4 is b{number}, moves in 5 to n2") for number in range(300)
    ]
    found = rejected(gpus, pending("f", "3g.20gb"))
    assert "; moves were sought at the 256 cheapest places only; nearest is" in found.reason.text
    few = rejected(gpus[:100], pending("f", "3g.20gb"))
    assert "moves were sought" not in few.reason.text
