"""The planner's stories, told over one or two GPUs: what is preferred to what, and what is never done."""

from dataclasses import replace

import pytest

from knative_mig.core.inventory import NodeName
from knative_mig.core.planner.decisions import Because, How
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import MeasuredStarts
from knative_mig.core.profile import ProfileName
from tests.rigs.worlds import function, gpu, pending, planned, told


def test_the_proposals_case_is_one_merge() -> None:
    half_busy = gpu("A", "3g.20gb@0 is chat", "2g.10gb@4 idle, worth 0.5", "1g.5gb@6 idle, worth 0.2")

    plan = planned([half_busy], pending("big", "3g.20gb"))

    assert [told(step) for step in plan.steps] == ["big: merge A:3g.20gb@4 over 2g.10gb@4 1g.5gb@6"]
    assert plan.steps[0].reasons[0].text == ("destroys idle 2g.10gb@4 and 1g.5gb@6, together worth 0.7 s")


def test_where_the_only_way_is_to_move_one_function_it_moves() -> None:
    blocked = gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10")
    elsewhere = gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs")

    plan = planned([blocked, elsewhere], pending("big", "3g.20gb"))

    assert [told(step) for step in plan.steps] == [
        "big: move A:3g.20gb@4, moving mail from A:1g.5gb@4 to B:1g.5gb@6",
    ]


def test_an_idle_slice_is_reused_before_free_units_are_cut() -> None:
    plan = planned([gpu("A"), gpu("B", "3g.20gb@4 idle, worth 9")], pending("f", "3g.20gb"))
    assert told(plan.steps[0]) == "f: reuse B:3g.20gb@4"


def test_free_units_are_cut_before_idle_slices_are_destroyed() -> None:
    plan = planned([gpu("A", "7g.40gb@0 idle"), gpu("B", "4g.20gb@0 is chat")], pending("f", "3g.20gb"))
    assert told(plan.steps[0]) == "f: create B:3g.20gb@4"


def test_the_merge_that_destroys_the_least_worth_is_taken() -> None:
    plan = planned(
        [gpu("A", "3g.20gb@0 idle, worth 3", "2g.10gb@4 idle, worth 1", "1g.5gb@6 idle, worth 1.5")],
        pending("f", "4g.20gb"),
        pending("g", "2g.10gb", priority=1),
    )
    assert [told(step) for step in plan.steps] == ["g: reuse A:2g.10gb@4", "f: merge A:4g.20gb@0 over 3g.20gb@0"]


def test_a_busy_slice_is_never_reclaimed() -> None:
    plan = planned([gpu("A", "7g.40gb@0 is chat")], pending("f", "1g.5gb"))
    assert not plan.steps
    assert plan.rejections[0].reason.code is Because.NO_FREE_PLACE
    assert "nearest is 1g.5gb@6 of A, held by default/chat (7g.40gb@0, not movable)" in plan.rejections[0].reason.text
    assert "default/chat scaling to zero" in plan.rejections[0].helps


def test_a_terminating_pod_is_waited_for_rather_than_moving_another() -> None:
    soon = gpu("A", "4g.20gb@0 is chat", "3g.20gb@4 is old, ends at 12")
    movable = gpu("B", "4g.20gb@0 is code", "1g.5gb@4 is mail, moves in 5")
    roomy = gpu("C", "4g.20gb@0 is docs", "2g.10gb@4 is team")

    plan = planned([soon, movable, roomy], pending("f", "3g.20gb"))
    assert told(plan.steps[0]) == "f: wait A:3g.20gb@4"
    assert plan.steps[0].reasons[0].text == "3g.20gb@4 comes free in 12 s, when default/old has ended"

    plan = planned([soon, movable, roomy], pending("f", "3g.20gb", count=2))
    assert [step.how for step in plan.steps] == [How.WAIT, How.MOVE]


def test_what_a_wait_is_to_destroy_keeps_its_media_extension_until_then() -> None:
    """A GPU has one: a second 1g.5gb+me would not be made while the idle one stands."""
    gpus = [gpu("A", "1g.5gb@0 is a, ends at 5", "1g.5gb+me@1 idle", "2g.10gb@2 is x", "2g.10gb@4 is y")]
    plan = planned(gpus, pending("f", "2g.10gb"), pending("g", "1g.5gb+me"))
    assert [told(step) for step in plan.steps] == ["f: wait A:2g.10gb@0 over 1g.5gb+me@1"]
    assert [each.pending.function.name for each in plan.rejections] == ["g"]


def test_a_pod_that_ends_too_late_is_not_waited_for() -> None:
    late = gpu("A", "3g.20gb@0 is chat", "3g.20gb@4 is old, ends at 100")
    plan = planned([late], pending("f", "3g.20gb"), policy=Policy(wait_at_most_s=30))
    assert plan.rejections[0].reason.code is Because.NO_FREE_PLACE
    assert "waiting: it comes free in 100 s" in plan.rejections[0].helps

    plan = planned([late], pending("f", "3g.20gb"), policy=Policy(wait_at_most_s=120))
    assert (told(plan.steps[0]), plan.steps[0].until) == ("f: wait A:3g.20gb@4", 100.0)


def test_two_functions_move_when_one_is_not_enough() -> None:
    plan = planned(
        [
            gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is a, moves in 5", "1g.5gb@5 is b, moves in 6"),
            gpu("B", "4g.20gb@0 is code", "1g.5gb@4 is docs"),
        ],
        pending("big", "3g.20gb"),
    )
    assert told(plan.steps[0]) == (
        "big: move A:3g.20gb@4, moving a from A:1g.5gb@4 to B:1g.5gb@6, moving b from A:1g.5gb@5 to B:1g.5gb@5"
    )


def test_a_function_takes_the_home_that_another_leaves_first() -> None:
    """4g has one start on each GPU: `huge` can only go to B, and only after `tiny` has left it for C."""
    plan = planned(
        [
            gpu("A", "4g.20gb@0 is huge, moves in 20"),
            gpu("B", "1g.5gb@0 is tiny, moves in 5", "3g.20gb@4 is docs"),
            gpu("C", "4g.20gb@0 is code", "2g.10gb@4 is mail"),
        ],
        pending("whole", "7g.40gb"),
    )
    assert told(plan.steps[0]) == (
        "whole: move A:7g.40gb@0, moving tiny from B:1g.5gb@0 to C:1g.5gb@6, "
        "moving huge from A:4g.20gb@0 to B:4g.20gb@0"
    )


@pytest.mark.parametrize("allowed", [0, 1], ids=["none", "one"])
def test_no_more_functions_move_than_the_policy_allows(allowed: int) -> None:
    plan = planned(
        [
            gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is a, moves in 5", "1g.5gb@5 is b, moves in 6"),
            gpu("B", "4g.20gb@0 is code", "1g.5gb@4 is docs"),
        ],
        pending("big", "3g.20gb"),
        policy=Policy(max_moves=allowed),
    )
    assert not plan.steps


def test_a_function_moves_only_to_a_node_where_its_pod_can_run() -> None:
    blocked = gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10 to n3")
    elsewhere = [gpu("B", "4g.20gb@0 is code", "2g.10gb@4 is docs", node=node) for node in ("n2",)]
    assert not planned([blocked, *elsewhere], pending("big", "3g.20gb")).steps


def test_a_slice_is_cut_only_where_the_pod_can_run() -> None:
    gpus = [gpu("A", node="n1"), gpu("B", "2g.10gb@0 is chat", node="n2")]
    assert planned(gpus, pending("f", "3g.20gb", nodes=("n1",))).steps[0].target.gpu == "A"
    assert planned(gpus, pending("f", "3g.20gb", nodes=("n2",))).steps[0].target.gpu == "B"


def test_no_eligible_node_is_a_reason_of_its_own() -> None:
    plan = planned([gpu("A", node="n1")], pending("f", "3g.20gb", nodes=()))
    assert plan.rejections[0].reason.code is Because.NO_ELIGIBLE_NODE
    assert "none of the 1 nodes whose GPUs have 3g.20gb (n1)" in plan.rejections[0].reason.text


def test_a_profile_that_no_gpu_has_is_a_reason_of_its_own() -> None:
    plan = planned([gpu("A")], pending("f", "3g.40gb"))
    assert plan.rejections[0].reason.code is Because.NO_SUCH_PROFILE
    assert "3g.20gb" in plan.rejections[0].reason.text


def test_a_quota_is_shared_by_the_functions_of_a_namespace() -> None:
    plan = planned(
        [gpu("A")],
        pending("team/a", "1g.5gb", count=2, since=-1),
        pending("team/b", "1g.5gb"),
        pending("other/c", "1g.5gb"),
        quotas={"team": {"1g.5gb": 2}},
    )
    assert sorted(step.function.name for step in plan.steps) == ["a", "a", "c"]
    assert plan.rejections[0].reason.code is Because.QUOTA_EXCEEDED


def test_a_static_layout_is_reused_and_never_changed() -> None:
    admins = gpu("A", "3g.20gb@0 idle", static=True)
    plan = planned([admins], pending("f", "3g.20gb"), pending("g", "3g.20gb"))
    assert [told(step) for step in plan.steps] == ["f: reuse A:3g.20gb@0"]
    assert [each.pending.function.name for each in plan.rejections] == ["g"]


def test_the_higher_priority_is_served_when_not_all_fit() -> None:
    plan = planned([gpu("A")], pending("low", "7g.40gb", since=-50), pending("high", "7g.40gb", priority=5))
    assert [step.function.name for step in plan.steps] == ["high"]


def test_an_old_big_request_keeps_its_gpu_from_small_ones() -> None:
    """Seven 1g functions come and go for ever; once the 7g has waited long enough, none of them gets in any more."""
    gpus = [gpu("A", "1g.5gb@0 is chat"), gpu("B", "7g.40gb@0 is code")]
    small = pending("small", "1g.5gb", since=100)

    young = planned(gpus, pending("whole", "7g.40gb", since=50), small, now=100, policy=Policy(starving_after_s=120))
    assert [step.function.name for step in young.steps] == ["small"]

    old = planned(gpus, pending("whole", "7g.40gb", since=-50), small, now=100, policy=Policy(starving_after_s=120))
    assert not old.steps
    assert old.rejections[1].reason.code is Because.HELD_FOR_OLDER
    assert old.reasons[0].text == (
        "7g.40gb@0 of A is held for default/whole, which has waited 150 s: 1 units of it are still busy"
    )


def test_who_starves_on_is_held_a_second_gpu_for_the_pod_on_the_first_may_never_end() -> None:
    gpus = [gpu("A", "1g.5gb@0 is forever"), gpu("B", "1g.5gb@0 is code", "1g.5gb@1 is docs")]
    small = pending("small", "1g.5gb", since=250)
    whole = pending("whole", "7g.40gb", since=0)
    policy = Policy(starving_after_s=120)

    assert [step.target.gpu for step in planned(gpus, whole, small, now=130, policy=policy).steps] == ["B"]
    assert not planned(gpus, whole, small, now=250, policy=policy).steps


def test_the_last_whole_gpu_is_kept_for_profiles_with_one_start() -> None:
    gpus = [gpu("A"), gpu("B", "4g.20gb@0 is code", "3g.20gb@4 is docs")]
    policy = Policy(reserve_whole=1, starving_after_s=60)

    kept = planned(gpus, pending("small", "2g.10gb"), policy=policy)
    assert kept.rejections[0].reason.code is Because.KEPT_FOR_BIGGER
    assert planned(gpus, pending("whole", "7g.40gb"), policy=policy).steps
    assert planned(gpus, pending("small", "2g.10gb"), policy=policy, now=60).steps


def test_one_move_is_made_before_the_last_whole_gpu_is_broken() -> None:
    gpus = [
        gpu("A"),
        gpu("B", "1g.5gb@0 is a, moves in 5", "2g.10gb@2 is b", "3g.20gb@4 is c"),
        gpu("C", "4g.20gb@0 is d", "2g.10gb@4 is e"),
    ]
    plan = planned(gpus, pending("f", "2g.10gb"), policy=Policy(reserve_whole=1))
    assert told(plan.steps[0]) == "f: move B:2g.10gb@0, moving a from B:1g.5gb@0 to C:1g.5gb@6"


def test_small_functions_share_a_gpu_and_leave_the_other_whole() -> None:
    plan = planned([gpu("A"), gpu("B", "1g.5gb@4 is chat")], pending("f", "1g.5gb"), pending("g", "2g.10gb"))
    assert {step.target.gpu for step in plan.steps} == {"B"}


def test_a_4g_and_a_3g_share_a_gpu_whichever_is_asked_first() -> None:
    """First fit puts the 3g at 0 and loses the only start of the 4g."""
    first = planned([gpu("A")], pending("three", "3g.20gb"))
    assert first.steps[0].target.place.start == 4


def test_the_node_where_the_function_starts_sooner_is_taken() -> None:
    gpus = [gpu("A", node="n1"), gpu("B", node="n2")]
    starts = MeasuredStarts(usual_s={function("f"): 20.0}, on_node={function("f"): {NodeName("n2"): 3.0}})
    plan = planned(gpus, pending("f", "3g.20gb"), startup=starts)
    assert plan.steps[0].target.node == "n2"
    assert plan.steps[0].reasons[-1].text == "starts in 3 s on n2, usually in 20 s"


def test_a_start_that_is_half_a_second_sooner_does_not_break_a_whole_gpu() -> None:
    gpus = [gpu("A", "1g.5gb@4 is chat", node="n1"), gpu("B", node="n2")]
    starts = MeasuredStarts(usual_s={function("f"): 3.4}, on_node={function("f"): {NodeName("n2"): 3.0}})
    assert planned(gpus, pending("f", "1g.5gb"), startup=starts).steps[0].target.node == "n1"


def test_a_name_that_two_models_have_lands_where_it_costs_least() -> None:
    """1g.10gb is one unit of an A100-80GB and two of an A100-40GB."""
    small = gpu("A", "3g.20gb@4 is chat")
    big = gpu("B", "3g.40gb@4 is code", model="A100-80GB")

    plan = planned([small, big], pending("f", "1g.10gb"))
    assert (plan.steps[0].target.gpu, plan.steps[0].target.place.profile.memory_units) == ("B", 1)

    plan = planned([small], pending("f", "1g.10gb"))
    assert (plan.steps[0].target.gpu, plan.steps[0].target.place.profile.memory_units) == ("A", 2)


@pytest.mark.parametrize("models", [("A100-40GB", "A100-80GB"), ("A100-80GB", "A100-40GB")])
def test_of_two_empty_gpus_it_is_cut_of_the_one_of_which_it_is_less(models: tuple[str, str]) -> None:
    one, other = models
    plan = planned([gpu("A", model=one), gpu("B", model=other)], pending("f", "1g.10gb"))
    assert (plan.steps[0].target.gpu == "A") == (one == "A100-80GB")


def test_the_last_units_of_the_other_model_are_taken_before_a_whole_gpu_is_broken() -> None:
    nearly_full = gpu("A", "4g.20gb@0 is chat", "2g.10gb@4 is code")
    plan = planned([nearly_full, gpu("B", model="A100-80GB")], pending("f", "1g.10gb"))
    assert told(plan.steps[0]) == "f: create A:1g.10gb@6"


def test_another_drivers_name_of_a_profile_finds_it() -> None:
    plan = planned([gpu("A", model="A100-80GB")], pending("f", "3g.39gb"))
    assert told(plan.steps[0]) == "f: create A:3g.40gb@4"


def test_the_same_input_gives_the_same_plan_in_any_order() -> None:
    gpus = [gpu("A", "1g.5gb@0 idle"), gpu("B", "2g.10gb@2 is x, moves in 3"), gpu("C", model="H100-80GB")]
    asked = [pending("a", "3g.20gb"), pending("b", "1g.5gb", count=3), pending("c", "7g.80gb"), pending("d", "4g.20gb")]
    assert planned(gpus, *asked) == planned(gpus[::-1], *asked[::-1])


def test_what_cannot_be_served_is_proven_not_to_fit() -> None:
    plan = planned([gpu("A", "3g.20gb@0 is chat")], pending("f", "3g.20gb", count=2))
    assert (plan.bound.served, plan.bound.at_most) == (3, 3.0)
    assert plan.rejections[0].count == 1


def test_demand_that_was_observed_changes_what_is_kept_free() -> None:
    """Where nobody ever asks for a whole GPU but all for 3g halves, a small function rather takes the empty GPU."""
    gpus = [gpu("A", "3g.20gb@4 is chat"), gpu("B")]
    only_3g = {
        ProfileName.parse(name): share for name, share in {"3g.20gb": 1.0, "7g.40gb": 0.0, "4g.20gb": 0.0}.items()
    }
    only_3g |= {ProfileName.parse(name): 0.0 for name in ("1g.5gb", "2g.10gb")}
    assert planned(gpus, pending("f", "1g.5gb")).steps[0].target.gpu == "A"
    relaxed = planned(gpus, pending("f", "1g.5gb"), policy=Policy(demand=only_3g))
    assert relaxed.steps[0].reasons[-1].text == "takes 3.00 slices of future demand from this GPU"


def test_of_one_service_the_newer_revision_comes_first_and_all_others_keep_their_turn() -> None:
    older = replace(pending("llm-2", "7g.40gb", since=1.0), after=function("llm-3"))
    others = [pending("first", "7g.40gb", since=0.0), pending("last", "7g.40gb", since=9.0)]
    waiting = [older, pending("llm-3", "7g.40gb", since=5.0), *others]
    gpus = [gpu(name) for name in "ABCD"]

    def served(count: int) -> list[str]:
        return [str(step.function).rpartition("/")[2] for step in planned(gpus[:count], *waiting).steps]

    assert served(4) == ["first", "llm-3", "llm-2", "last"]
    assert served(2) == ["first", "llm-3"]


def test_who_comes_after_another_is_served_where_that_one_cannot_be() -> None:
    older = replace(pending("llm-2", "1g.5gb"), after=function("llm-3"))
    plan = planned([gpu("A", "1g.5gb@0 is busy")], older, pending("llm-3", "7g.40gb"))
    assert [str(step.function).rpartition("/")[2] for step in plan.steps] == ["llm-2"]
