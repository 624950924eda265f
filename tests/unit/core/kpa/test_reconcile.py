"""What is done about what is wanted, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.core.kpa.decider import UNKNOWN, Decider
from knative_mig.core.kpa.reconcile import Mode, Reconciled, Route, Seen, reconcile
from knative_mig.core.kpa.scale import Memory
from knative_mig.core.kpa.settings import Settings, settings_of
from knative_mig.core.kpa.status import Active, Activity, Status

SETTINGS = settings_of({})
ROUTE = Route(mode=Mode.PROXY, named=True, ready=True, proxied_since=900.0)
ACTIVE = Status(active=Active(activity=Activity.ACTIVE, since=900.0), initialized=True, desired=1, actual=1)
INACTIVE = replace(ACTIVE, active=Active(activity=Activity.INACTIVE, reason="NoTraffic", since=900.0), desired=0)
STARTING = Status(active=Active(activity=Activity.ACTIVATING, reason="Queued", since=900.0))


def done(
    status: Status,
    wanted: int,
    *,
    ready: int = 1,
    replicas: int = 1,
    excess: int = 0,
    settings: Settings = SETTINGS,
    now: float = 1000.0,
) -> Reconciled:
    decider = Decider(desired=wanted, excess_burst=excess, memory=Memory(), reasons=("the tick's",))
    return reconcile(status, settings, decider, Seen(route=ROUTE, ready=ready, replicas=replicas), now)


@pytest.mark.parametrize("route", [None, replace(ROUTE, named=False)])
def test_before_it_has_its_services_it_only_waits(route: Route | None) -> None:
    waits = reconcile(Status.fresh(1000.7), SETTINGS, None, Seen(route=route, ready=0, replicas=1), 1000.7)
    assert (waits.mode, waits.activators, waits.replicas) == (Mode.PROXY, 2, None)
    assert waits.status.active.activity is Activity.ACTIVATING
    assert (waits.status.active.reason, waits.status.active.since) == ("Queued", 1000)
    assert (waits.status.desired, waits.status.routed) == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("wanted", "changes", "replicas"),
    [
        pytest.param(4, {}, 4, id="as wanted"),
        pytest.param(4, {"max_scale": 3}, 3, id="no more than the most"),
        pytest.param(1, {"min_scale": 2}, 2, id="no fewer than the least"),
        pytest.param(0, {"min_scale": 2}, 2, id="nor at zero"),
        pytest.param(1, {}, None, id="they are as wanted"),
        pytest.param(1, {"initial_scale": 5}, None, id="it has begun long ago"),
    ],
)
def test_replicas_are_as_wanted_within_bounds(wanted: int, changes: dict[str, Any], replicas: int | None) -> None:
    assert done(ACTIVE, wanted, settings=replace(SETTINGS, **changes)).replicas == replicas


@pytest.mark.parametrize(
    ("changes", "replicas"),
    [
        ({"initial_scale": 3}, 3),
        ({"initial_scale": 3, "min_scale": 4}, 4),
        ({"initial_scale": 3, "reachable": False}, 2),
    ],
)
def test_a_revision_begins_with_its_initial_scale(changes: dict[str, Any], replicas: int) -> None:
    assert done(STARTING, 2, settings=replace(SETTINGS, **changes)).replicas == replicas


def test_it_has_begun_once_so_many_pods_are_ready_and_not_before() -> None:
    three = replace(SETTINGS, initial_scale=3)
    waits = done(STARTING, 3, ready=2, replicas=3, settings=three).status
    assert (waits.initialized, waits.active.activity) == (False, Activity.ACTIVATING)
    begun = done(waits, 3, ready=3, replicas=3, settings=three).status
    assert (begun.initialized, begun.active.activity, begun.active.reason) == (True, Activity.ACTIVE, "")
    assert done(begun, 1, ready=3, replicas=3, settings=three).replicas == 1


def test_a_revision_may_begin_at_zero_and_says_so() -> None:
    at_zero = done(STARTING, UNKNOWN, ready=0, replicas=0, settings=replace(SETTINGS, initial_scale=0))
    assert at_zero.status.initialized
    assert (at_zero.status.active.activity, at_zero.status.active.reason) == (Activity.INACTIVE, "NoTraffic")
    stays = done(at_zero.status, UNKNOWN, ready=0, replicas=0, settings=replace(SETTINGS, initial_scale=0))
    assert stays.status.active == at_zero.status.active


@pytest.mark.parametrize(
    ("wanted", "excess", "mode"),
    [(1, 0, Mode.SERVE), (1, -1, Mode.PROXY), (0, 5, Mode.PROXY), (UNKNOWN, 5, Mode.PROXY)],
)
def test_requests_go_straight_to_pods_that_have_room_for_a_burst(wanted: int, excess: int, mode: Mode) -> None:
    assert done(INACTIVE, wanted, excess=excess).mode is mode


@pytest.mark.parametrize(
    ("burst", "ready", "activators"),
    [(0.0, 100, 2), (-1.0, 1, 2), (-1.0, 9, 9), (200.0, 1, 3), (200.0, 2, 4), (201.0, 1, 4)],
)
def test_so_many_activators_as_could_bear_it_all(burst: float, ready: int, activators: int) -> None:
    assert done(ACTIVE, 1, ready=ready, settings=replace(SETTINGS, burst=burst)).activators == activators


def test_a_burst_without_end_is_not_counted_as_one_less() -> None:
    settings = replace(SETTINGS, burst=-1.0, total=7.0, activator_capacity=10.0)
    assert done(ACTIVE, 1, ready=3, settings=settings).activators == 3


def test_a_function_from_zero_is_activating_until_a_pod_is_ready() -> None:
    wakes = done(INACTIVE, 1, ready=0, replicas=0, now=1000.9)
    assert wakes.replicas == 1
    assert (wakes.status.active.activity, wakes.status.active.since) == (Activity.ACTIVATING, 1000)
    assert done(wakes.status, 1, ready=0, now=1005).status.active == wakes.status.active
    assert done(wakes.status, 1, ready=1, now=1007.5).status.active == Active(activity=Activity.ACTIVE, since=1007)


def test_a_pod_that_stops_being_ready_makes_it_activating_again() -> None:
    assert done(ACTIVE, 1, ready=0).status.active.activity is Activity.ACTIVATING


def test_going_to_zero_is_two_passes() -> None:
    idle = done(ACTIVE, 0, now=1000)
    assert (idle.replicas, idle.mode, idle.status.active.activity) == (None, Mode.PROXY, Activity.INACTIVE)
    decider = Decider(desired=0, excess_burst=0, memory=Memory(), reasons=())
    gone = reconcile(
        idle.status, SETTINGS, decider, Seen(route=ROUTE, ready=1, replicas=1, activator_answers=True), 1030
    )
    assert gone.replicas == 0
    assert gone.reasons == ("inactive for 30 s",)


def test_a_function_that_never_got_ready_has_timed_out() -> None:
    gives_up = done(STARTING, 0, ready=0, now=1531)
    assert gives_up.replicas == 0
    assert gives_up.status.active.reason == "TimedOut"


def test_nothing_is_known_after_a_restart_and_nothing_is_done() -> None:
    for status in (ACTIVE, INACTIVE):
        least = done(status, UNKNOWN, settings=replace(SETTINGS, min_scale=3))
        assert (least.replicas, least.status.desired) == (None, status.desired)
    assert done(INACTIVE, UNKNOWN).status.active == INACTIVE.active
    assert done(ACTIVE, UNKNOWN).status.active.activity is Activity.ACTIVE


def test_but_a_revision_that_starts_gets_its_least_scale_at_once() -> None:
    assert done(STARTING, UNKNOWN, settings=replace(SETTINGS, min_scale=3)).replicas == 3
    waits = done(STARTING, UNKNOWN)
    assert (waits.replicas, waits.look_again_s) == (None, 630)


def test_why_is_said_from_the_tick_to_the_bound() -> None:
    assert done(ACTIVE, 9, settings=replace(SETTINGS, max_scale=3)).reasons == ("the tick's", "3 as the most")
    assert done(ACTIVE, 0, settings=replace(SETTINGS, min_scale=1)).reasons == ("the tick's", "1 as the least")
