"""When the last pod of a function of which nobody wants anything may go."""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.core.kpa.decider import UNKNOWN
from knative_mig.core.kpa.settings import settings_of
from knative_mig.core.kpa.status import Active, Activity
from knative_mig.core.kpa.zero import Zero, asks, to_zero

SETTINGS = settings_of({})  # a window of 60 s, a grace period of 30 s
SINCE = 1000.0


def after(for_s: float, activity: Activity, *, proxied: bool = True, answers: bool = True, **more: Any) -> Zero:
    changes = {key: value for key, value in more.items() if key != "proxied_s"}
    return to_zero(
        Active(activity=activity, since=SINCE),
        replace(SETTINGS, **changes),
        proxied=proxied,
        proxied_since=SINCE + for_s - more["proxied_s"] if "proxied_s" in more else None,
        activator_answers=answers,
        now=SINCE + for_s,
    )


def test_a_function_that_was_busy_keeps_one_pod_for_a_window() -> None:
    assert after(20, Activity.ACTIVE) == Zero(pods=1, apply=True, look_again_s=40, reason="active for 40 s more")


@pytest.mark.parametrize(("proxied", "again_s"), [(True, 3.0), (False, None)])
def test_then_it_is_said_to_be_inactive_and_the_pod_stays(*, proxied: bool, again_s: float | None) -> None:
    step = after(60, Activity.ACTIVE, proxied=proxied)
    assert (step.pods, step.apply, step.look_again_s) == (0, False, again_s)


def test_it_goes_once_requests_went_by_the_activator_for_the_grace_period() -> None:
    assert after(5, Activity.INACTIVE, proxied_s=12).look_again_s == 18
    assert after(5, Activity.INACTIVE).look_again_s == 30  # they do not yet
    assert after(5, Activity.INACTIVE, proxied_s=30).apply
    assert after(29.9, Activity.INACTIVE, proxied_s=29.9).look_again_s == pytest.approx(0.1)


def test_it_goes_after_the_grace_period_whatever_the_route_says() -> None:
    assert after(30, Activity.INACTIVE).apply


def test_not_before_an_activator_answers() -> None:
    step = after(500, Activity.INACTIVE, answers=False)
    assert (step.pods, step.apply, step.probe) == (0, False, True)


def test_where_the_activator_is_always_in_the_way_nobody_asks_it() -> None:
    inactive = Active(activity=Activity.INACTIVE, since=SINCE)
    assert not asks(inactive, replace(SETTINGS, burst=-1.0))
    assert asks(inactive, SETTINGS)
    assert not asks(Active(activity=Activity.ACTIVE, since=SINCE), SETTINGS)
    assert after(500, Activity.INACTIVE, answers=False, burst=-1.0).apply


def test_its_last_pod_is_retained_for_as_long_as_was_asked() -> None:
    waits = after(40, Activity.INACTIVE, retention_s=90.0, proxied_s=40)
    assert (waits.pods, waits.apply, waits.look_again_s) == (0, False, 50)
    assert after(90, Activity.INACTIVE, retention_s=90.0).apply
    # a short retention is over before the grace period is
    assert after(10, Activity.INACTIVE, retention_s=10.0, proxied_s=4).look_again_s == 26


def test_a_function_that_starts_is_left_alone_until_it_has_failed_to() -> None:
    waits = after(630, Activity.ACTIVATING)
    assert (waits.pods, waits.apply, waits.look_again_s) == (UNKNOWN, False, 630)
    gives_up = after(630.5, Activity.ACTIVATING)
    assert (gives_up.pods, gives_up.apply) == (0, True)


@pytest.mark.parametrize("activity", Activity)
def test_a_cluster_may_have_no_zero(activity: Activity) -> None:
    step = to_zero(
        Active(activity=activity, since=SINCE),
        replace(SETTINGS, scale_to_zero=False),
        proxied=True,
        proxied_since=SINCE,
        activator_answers=False,
        now=SINCE + 10_000,
    )
    assert (step.pods, step.apply) == (1, True)
