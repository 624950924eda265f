"""Where the campaign kills: two points a call, in any draw as many kinds as there can be, and none lost."""

import random

from tests.crash_campaign.campaign import Kill, Result, summary
from tests.crash_campaign.points import MOST_TRIES, Aim, Left, Point, Victim, When, drawn, points_of, worker_points_of

LOG = [("make", "gpu read"), ("make", "journal done"), ("make", "gpu read"), ("merge", "gpu read")]
READ_TWICE = Point(step="make", call="gpu read", number=2, when=When.BEFORE)


def test_each_call_has_two_points_and_calls_of_a_name_are_numbered_in_their_step() -> None:
    found = points_of(LOG)
    assert len(found) == 2 * len(LOG)
    assert [(each.step, each.number, each.when) for each in found if each.call == "gpu read"] == [
        ("make", 1, "before"),
        ("make", 1, "after"),
        ("make", 2, "before"),
        ("make", 2, "after"),
        ("merge", 1, "before"),
        ("merge", 1, "after"),
    ]


def test_a_worker_is_killed_at_calls_of_the_driver_alone_and_always_heard_of_before() -> None:
    found = worker_points_of(LOG)
    assert {each.call for each in found} == {"gpu read"}
    assert {each.victim for each in found} == {Victim.WORKER}
    aim = Aim(found[1])
    assert aim.point.when is When.AFTER
    assert aim.strikes("gpu read", When.BEFORE)


def test_a_draw_has_each_kind_of_call_before_it_has_one_twice_and_follows_from_its_seed() -> None:
    every = points_of(LOG)
    few = drawn(every, 6, random.Random(1))
    assert len({(each.step, each.call, each.when) for each in few}) == 6
    assert few == drawn(every, 6, random.Random(1))
    assert sorted(drawn(every, 100, random.Random(1))) == sorted(every)


def test_a_point_is_struck_once_at_its_number() -> None:
    aim = Aim(READ_TWICE)
    calls = [("gpu read", When.BEFORE), ("gpu read", When.AFTER), ("journal done", When.BEFORE)]
    assert not any(aim.strikes(*call) for call in calls)
    assert [aim.strikes("gpu read", When.BEFORE) for _ in range(3)] == [True, False, False]


def test_a_point_that_a_run_went_past_is_looked_for_again_at_the_last_such_call_and_then_given_up() -> None:
    left = Left.of([READ_TWICE])
    for number in (2, 1, 1, 1):
        point = left.take("make")
        assert point is not None
        assert point.number == number
        aim = Aim(point)
        aim.strikes("gpu read", When.BEFORE) if number == 2 else None
        left.not_reached(aim)
    assert not left
    assert left.missed == [READ_TWICE]
    assert MOST_TRIES == 4


def test_a_campaign_passes_only_with_all_its_kills_and_nothing_harmed_or_left() -> None:
    kill = Kill(point=READ_TWICE, took_s=1.0)
    assert Result(logged=1, aimed=2, kills=[kill, kill]).passed
    assert not Result(logged=1, aimed=2, kills=[kill]).passed
    assert not Result(logged=1, aimed=1, kills=[kill], missed=[READ_TWICE]).passed
    harmed = Result(logged=1, aimed=1, kills=[Kill(point=READ_TWICE, took_s=1.0, harm="MIG-1 is gone")])
    assert (harmed.passed, harmed.harmed) == (False, 1)
    leaking = Result(logged=1, aimed=1, kills=[Kill(point=READ_TWICE, took_s=10.1, wrong=("1g.5gb@0 is left over",))])
    assert (leaking.passed, leaking.leaked, leaking.not_right) == (False, 1, 1)
    assert summary(leaking)[-1] == "FAILED"
