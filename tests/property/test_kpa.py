"""The autoscaler against what its parts are meant to be, said the slow and simple way; that it is Knative's to the last
bit is `make campaign-kpa`'s to show.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_mig.core.kpa.buckets import Buckets
from knative_mig.core.kpa.decider import UNKNOWN, Decider
from knative_mig.core.kpa.reconcile import Mode, Route, Seen, reconcile
from knative_mig.core.kpa.scale import Memory, begun, scale
from knative_mig.core.kpa.settings import Averaging, Settings, settings_of
from knative_mig.core.kpa.stats import Observed
from knative_mig.core.kpa.status import Active, Activity, Status

writes = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100)), min_size=1, max_size=30)
loads = st.floats(0, 1000, allow_nan=False)
few = st.integers(0, 6)


@given(writes, st.integers(1, 20))
def test_an_average_is_of_the_seconds_between_the_first_and_the_last_write(
    told: list[tuple[int, int]], window_s: int
) -> None:
    """Of those within the window, if nobody was silent for as long as one."""
    buckets = Buckets(window_s)
    values: dict[int, int] = {}
    first = last = min(second for second, _ in told)
    for second, value in sorted(told):
        if second - last >= window_s:
            values, first = {}, second
        last = second
        values[second] = values.get(second, 0) + value
        buckets.record(second, value)
    seconds = range(max(first, last - window_s + 1), last + 1)
    mean = sum(values.get(second, 0) for second in seconds) / len(seconds)
    assert buckets.average(last) == pytest.approx(mean, abs=1e-6)


@given(writes, st.integers(1, 20), st.sampled_from(Averaging), st.integers(0, 30))
def test_an_average_is_within_what_was_told(
    told: list[tuple[int, int]], window_s: int, averaging: Averaging, silent_s: int
) -> None:
    buckets = Buckets(window_s, averaging)
    highest = 0
    for second, value in told:  # in any order
        buckets.record(second, value)
        highest += value
    latest = max(second for second, _ in told)
    assert -1e-9 <= buckets.average(latest + silent_s) <= highest


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=40), st.integers(1, 15))
def test_a_scale_down_delay_is_the_highest_wish_of_its_intervals(wishes: list[tuple[int, int]], intervals: int) -> None:
    settings = replace(settings_of({}), target=1.0, scale_down_delay_s=intervals * 2.0, max_down_rate=1000.0)
    memory = begun(settings, 0, 0)
    history: list[tuple[int, int]] = []
    interval = 0
    for later, load in wishes:
        interval += later
        history.append((interval, load))
        done = scale(memory, settings, 1, Observed(load, 0), interval * 2.0)
        memory = done.memory
        assert done.pods == max(pods for at, pods in history if interval - at < intervals)


rates = st.floats(1.1, 10)


@given(seen=st.builds(Observed, loads, loads), ready=st.integers(0, 50), up=rates, down=rates, reachable=st.booleans())
def test_a_tick_never_goes_beyond_its_rates(
    *, seen: Observed, ready: int, up: float, down: float, reachable: bool
) -> None:
    settings = replace(settings_of({}), target=7.0, max_up_rate=up, max_down_rate=down, reachable=reachable)
    done = scale(Memory(), settings, ready, seen, 1000)
    pods = max(1, ready)
    assert (pods // down if reachable else 0) <= done.pods <= pods * up + 1


@st.composite
def moments(draw: st.DrawFn) -> tuple[Status, Settings, Decider, Seen]:
    status = Status(
        active=Active(activity=draw(st.sampled_from(Activity)), since=draw(st.integers(0, 1000))),
        initialized=draw(st.booleans()),
        desired=draw(st.one_of(st.none(), st.integers(UNKNOWN, 6))),
    )
    settings = replace(
        settings_of({}),
        min_scale=draw(few),
        max_scale=draw(few),
        initial_scale=draw(few),
        burst=draw(st.sampled_from([-1.0, 0.0, 200.0])),
        reachable=draw(st.booleans()),
        retention_s=draw(st.sampled_from([0.0, 100.0])),
    )
    decider = Decider(desired=draw(st.integers(UNKNOWN, 9)), excess_burst=draw(st.integers(-2, 2)), memory=Memory())
    route = Route(
        mode=draw(st.sampled_from(Mode)),
        named=draw(st.booleans()),
        proxied_since=draw(st.one_of(st.none(), st.floats(0, 1000))),
    )
    seen = Seen(route=route, ready=draw(few), replicas=draw(few), activator_answers=draw(st.booleans()))
    return status, settings, decider, seen


@given(moments())
def test_passes_come_to_rest_and_within_bounds(moment: tuple[Status, Settings, Decider, Seen]) -> None:
    """At one moment, each pass seeing what the one before wrote. Two steps are the most: inactive, then zero."""
    status, settings, decider, seen = moment
    for _ in range(3):
        done = reconcile(status, settings, decider, seen, 1000)
        if done.replicas is not None and settings.max_scale >= max(settings.min_scale, settings.initial_scale):
            assert done.replicas <= settings.max_scale
        if done.replicas is not None and settings.reachable and not settings.max_scale:
            assert done.replicas >= settings.min_scale
        replicas = seen.replicas if done.replicas is None else done.replicas
        assert seen.route
        seen = replace(seen, replicas=replicas, route=replace(seen.route, mode=done.mode))
        status = done.status
    again = reconcile(status, settings, decider, seen, 1000)
    assert again.replicas is None
    assert again.status == status
