"""Who makes room, and at what price: what a plan that moves functions must keep to."""

from knative_mig.core.inventory import Gpu, NodeName
from knative_mig.core.planner.decisions import Step
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import MeasuredStarts
from tests.rigs.worlds import function, gpu, pending, planned, told

A30 = "A30-24GB"
RTX = "RTX-PRO-6000-BLACKWELL-96GB"


def destroyed_by(*steps: Step) -> list[tuple[str, str]]:
    """In the order in which it is done: each relocation before its step."""
    targets = [target for step in steps for target in (*(each.target for each in step.relocations), step.target)]
    return [(target.gpu, str(place)) for target in targets for place in target.destroys]


def two_in_the_way(nodes: str = "n1 n2") -> Gpu:
    """A 3g fits when a and b are gone."""
    return gpu("A", "3g.20gb@0 is chat", f"1g.5gb@4 is a, moves in 5 to {nodes}", "1g.5gb@5 is b, moves in 6 to n1 n2")


def test_idle_fragments_are_merged_before_anybody_is_moved_for_the_reserve() -> None:
    gpus = [
        gpu("A"),
        gpu("B", "4g.20gb@0 is code", "1g.5gb@4 idle", "1g.5gb@5 idle", "1g.5gb@6 is docs"),
        gpu("C", "3g.20gb@4 is a", "2g.10gb@2 is e", "1g.5gb@0 is mail, moves in 20"),
    ]
    (step,) = planned(gpus, pending("f", "2g.10gb"), policy=Policy(reserve_whole=1)).steps
    assert told(step) == "f: merge B:2g.10gb@4 over 1g.5gb@4 1g.5gb@5"


def test_an_idle_slice_under_two_new_homes_is_destroyed_once_by_who_comes_first() -> None:
    gpus = [two_in_the_way(), gpu("B", "2g.10gb@0 is u", "2g.10gb@2 idle, worth 1", "3g.20gb@4 is c")]
    (step,) = planned(gpus, pending("big", "3g.20gb")).steps
    assert told(step) == (
        "big: move A:3g.20gb@4, moving a from A:1g.5gb@4 to B:1g.5gb@3 over 2g.10gb@2, "
        "moving b from A:1g.5gb@5 to B:1g.5gb@2"
    )


def test_a_shared_idle_slice_is_paid_for_once_when_homes_are_compared() -> None:
    """Together on B they destroy 3 s of worth, on D and E 2 s each."""
    gpus = [
        two_in_the_way(),
        gpu("B", "2g.10gb@0 is u", "2g.10gb@2 idle, worth 3", "3g.20gb@4 is c"),
    ]
    gpus += [
        gpu(uuid, "1g.10gb@0 is g", "2g.10gb@2 is h", "2g.10gb@4 is i", "1g.10gb@6 idle, worth 2") for uuid in "DE"
    ]
    (step,) = planned(gpus, pending("big", "3g.20gb")).steps
    assert {each.target.gpu for each in step.relocations} == {"B"}
    assert "14.0 s" in step.reasons[0].text  # 5 + 6 to move them, 3 for what is destroyed


def test_a_shared_home_is_none_where_one_of_the_two_cannot_run() -> None:
    """On C they would destroy 1 s of worth, but a has no business on n2."""
    gpus = [
        two_in_the_way(nodes="n1"),
        gpu("B", "2g.10gb@0 is u", "2g.10gb@2 idle, worth 7", "3g.20gb@4 is c", node="n1"),
        gpu("C", "2g.10gb@0 is u", "2g.10gb@2 idle, worth 1", "3g.20gb@4 is c", node="n2"),
    ]
    (step,) = planned(gpus, pending("big", "3g.20gb")).steps
    homes = {each.function.name: each.target.gpu for each in step.relocations}
    assert homes["a"] == "B"


def test_a_new_home_of_two_does_not_break_the_last_whole_gpu() -> None:
    gpus = [
        two_in_the_way(),
        gpu("B", "4g.20gb@0 idle, worth 3", "2g.10gb@4 idle, worth 2", "1g.5gb@6 idle, worth 3", node="n2"),
        gpu("C", "2g.10gb@0 is u", "1g.10gb@2 idle, worth 9", "3g.20gb@4 is k"),
    ]
    (step,) = planned(gpus, pending("big", "3g.20gb", nodes=("n1",)), policy=Policy(reserve_whole=1)).steps
    assert {each.target.gpu for each in step.relocations} == {"C"}


def test_a_new_home_destroys_what_it_lies_on_before_the_step_would() -> None:
    """The media extension: the idle 1g+me@2 is in the way of the 2g+me@0 and of small's new home."""
    one = gpu("A", "1g.6gb@0 is small, moves in 5", "1g.6gb+me@2 idle", "1g.6gb@3 is x", model=A30)
    (step,) = planned([one], pending("f", "2g.12gb+me")).steps
    assert told(step) == "f: move A:2g.12gb+me@0, moving small from A:1g.6gb@0 to A:1g.6gb@2 over 1g.6gb+me@2"


def test_what_a_move_destroys_by_its_media_engines_is_not_merged_by_another_step() -> None:
    gpus = [
        gpu(
            "A",
            "1g.24gb@0 is a, moves in 5",
            "1g.24gb@3 idle, worth 1",
            "1g.24gb@6 idle, worth 1",
            "1g.24gb-me@9 is n",
            model=RTX,
        ),
        gpu("B", "2g.48gb@0 is b", "1g.24gb@6 is c", model=RTX),
    ]
    steps = planned(gpus, pending("f", "1g.24gb+me.all"), pending("g", "1g.24gb-me")).steps
    destroyed = destroyed_by(*steps)
    assert len(steps) == 2
    assert sorted(destroyed) == [("A", "1g.24gb@3"), ("A", "1g.24gb@6")]


def test_movers_of_one_namespace_share_its_quota() -> None:
    """While it moves a function has two pods, and the namespace's quota must have room for the second."""
    gpus = [
        gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is team/a, moves in 5", "1g.5gb@5 is team/b, moves in 6"),
        gpu("B", "4g.20gb@0 is code", "1g.5gb@4 is docs"),
    ]
    big = pending("big", "3g.20gb")
    assert planned(gpus, big, quotas={"team": {"1g.5gb": 2}}).steps
    assert not planned(gpus, big, quotas={"team": {"1g.5gb": 1}}).steps


def test_the_new_function_and_who_moves_for_it_share_their_quota() -> None:
    gpus = [
        gpu("A", "4g.20gb@0 is chat", "2g.10gb@4 is x", "1g.5gb@6 is team/mail, moves in 5", node="n1"),
        gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs", node="n2"),
    ]
    new = pending("team/f", "1g.5gb", nodes=("n1",))
    assert planned(gpus, new, quotas={"team": {"1g.5gb": 2}}).steps
    assert not planned(gpus, new, quotas={"team": {"1g.5gb": 1}}).steps


def test_the_home_where_the_function_starts_as_usual_is_preferred() -> None:
    """On n2 mail would start 40 s later than it usually does."""
    blocked = gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10", node="n1")
    homes = [gpu(f"B{n}", "4g.20gb@0 is code", "2g.10gb@4 is docs", node=f"n{n}") for n in (2, 3)]
    starts = MeasuredStarts(usual_s={function("mail"): 20.0}, on_node={function("mail"): {NodeName("n2"): 60.0}})
    (step,) = planned([blocked, *homes], pending("big", "3g.20gb"), startup=starts).steps
    assert step.relocations[0].target.node == "n3"

    (step,) = planned([blocked, homes[0]], pending("big", "3g.20gb"), startup=starts).steps
    assert "50.0 s, each new pod Ready" in step.reasons[0].text


def test_nobody_moves_to_what_is_on_its_way_out() -> None:
    """A home is there before the old pod ends, so a slice that comes free in 5 s is none."""
    gpus = [
        gpu("A", "4g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 5", "1g.5gb@6 is x"),
        gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs", "1g.5gb@6 is old, ends at 5"),
    ]
    assert not planned(gpus, pending("f", "2g.10gb")).steps


def test_what_functions_leave_and_take_is_nobodys_for_the_rest_of_the_plan() -> None:
    gpus = [
        gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10"),
        gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs"),
    ]
    plan = planned(gpus, pending("big", "3g.20gb"), pending("f", "1g.5gb"), pending("g", "1g.5gb"))
    assert [step.function.name for step in plan.steps] == ["big"]
    assert {each.pending.function.name for each in plan.rejections} == {"f", "g"}


def test_nobody_is_moved_twice_in_a_plan() -> None:
    """After mail has left A for B, it could leave B for C: then two moves would serve f too."""
    gpus = [
        gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10", node="n1"),
        gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs", node="n2"),
        gpu("C", "4g.20gb@0 is team", "2g.10gb@4 is play", node="n3"),
    ]
    plan = planned(gpus, pending("big", "3g.20gb"), pending("f", "1g.5gb", nodes=("n2",)))
    assert [told(step) for step in plan.steps] == ["big: move A:3g.20gb@4, moving mail from A:1g.5gb@4 to B:1g.5gb@6"]
