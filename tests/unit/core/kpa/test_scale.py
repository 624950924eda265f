"""One tick after the other: what is wanted of what was seen."""

from dataclasses import replace

import pytest

from knative_mig.core.kpa.scale import Memory, Scaled, begun, scale
from knative_mig.core.kpa.settings import Settings, settings_of
from knative_mig.core.kpa.stats import Observed

TEN = replace(settings_of({}), target=10.0, total=20.0, burst=-1.0)


class Ticks:
    """Each two seconds, from 1000 on."""

    def __init__(self, settings: Settings = TEN, ready: int = 1) -> None:
        self.settings = settings
        self.now = 1000.0
        self.memory = begun(settings, ready, self.now)
        self.last: Scaled | None = None

    def tick(self, stable: float, panic: float | None = None, ready: int = 1, times: int = 1) -> int:
        for _ in range(times):
            self.now += 2
            seen = Observed(stable, stable if panic is None else panic)
            self.last = scale(self.memory, self.settings, ready, seen, self.now)
            self.memory = self.last.memory
        assert self.last
        return self.last.pods

    @property
    def panics(self) -> bool:
        return self.memory.panicking_since is not None

    @property
    def reasons(self) -> str:
        assert self.last
        return "; ".join(self.last.reasons)


@pytest.mark.parametrize(("load", "pods"), [(0, 0), (0.1, 1), (10, 1), (10.000001, 2), (95, 10)])
def test_as_many_pods_as_the_load_has_targets(load: float, pods: int) -> None:
    assert Ticks().tick(load, ready=10) == max(pods, 5)  # no faster down than by half
    assert Ticks().tick(load, panic=0, ready=1) == pods


def test_a_rush_begins_a_panic_and_nothing_goes_down_in_it() -> None:
    ticks = Ticks()
    assert ticks.tick(stable=5, panic=19, ready=1) == 2
    assert ticks.panics
    assert ticks.tick(stable=8, panic=60, ready=2) == 6
    assert ticks.tick(stable=8, panic=8, ready=6) == 6
    assert "no fewer than 6 while panicking" in ticks.reasons


def test_a_load_just_below_the_threshold_is_no_panic() -> None:
    ticks = Ticks()
    assert ticks.tick(stable=5, panic=30, ready=2) == 1
    assert not ticks.panics


def test_a_panic_ends_a_stable_window_after_its_last_rush() -> None:
    ticks = Ticks()
    ticks.tick(stable=5, panic=50, ready=1)
    ticks.tick(stable=5, panic=50, ready=1)
    assert ticks.tick(stable=5, panic=5, ready=5, times=30) == 5
    assert ticks.panics  # a window ago to the second is not yet beyond it
    assert ticks.tick(stable=5, panic=5, ready=5) == 2
    assert not ticks.panics


def test_the_next_panic_knows_nothing_of_the_one_before() -> None:
    ticks = Ticks()
    ticks.tick(stable=5, panic=90, ready=1)
    ticks.tick(stable=5, panic=5, ready=1, times=31)
    assert ticks.tick(stable=5, panic=20, ready=1) == 2


def test_a_fresh_autoscaler_that_finds_pods_keeps_them_for_a_window() -> None:
    ticks = Ticks(ready=4)
    assert ticks.tick(0, ready=4, times=30) == 4
    assert ticks.tick(0, ready=4) == 2
    assert not Ticks(ready=1).panics


@pytest.mark.parametrize(
    ("rate", "ready", "pods"),
    [(1.1, 1, 2), (1.1, 10, 11), (2.0, 3, 6), (1000.0, 0, 50)],
    ids=["at least one more", "a tenth", "twice", "of none as of one"],
)
def test_no_faster_up_than_the_rate(rate: float, ready: int, pods: int) -> None:
    assert Ticks(replace(TEN, max_up_rate=rate), ready=1).tick(500, ready=ready) == pods


@pytest.mark.parametrize(("rate", "ready", "pods"), [(2.0, 9, 4), (2.0, 1, 0), (1.5, 10, 6), (10.0, 9, 0)])
def test_no_faster_down_than_the_rate(rate: float, ready: int, pods: int) -> None:
    assert Ticks(replace(TEN, max_down_rate=rate)).tick(0, ready=ready) == pods


def test_a_revision_to_which_no_route_leads_goes_down_at_once() -> None:
    assert Ticks(replace(TEN, reachable=False)).tick(0, ready=9) == 0


def test_whoever_comes_from_zero_comes_with_its_activation_scale() -> None:
    ticks = Ticks(replace(TEN, activation_scale=3))
    assert ticks.tick(1, panic=0, ready=0) == 3
    assert ticks.tick(45, panic=0, ready=3) == 5
    assert ticks.tick(0, ready=1) == 0
    assert "by the activation scale" not in ticks.reasons


def test_in_a_panic_too_it_is_the_activation_scale_at_least() -> None:
    assert Ticks(replace(TEN, activation_scale=5)).tick(stable=0, panic=21, ready=1) == 5


def test_a_delay_keeps_the_highest_wish_of_its_length() -> None:
    ticks = Ticks(replace(TEN, scale_down_delay_s=10.0), ready=0)
    assert ticks.tick(45, panic=0, ready=5) == 5
    assert ticks.tick(25, panic=0, ready=5) == 5
    assert ticks.tick(25, panic=0, ready=5, times=3) == 5
    assert "5 for a scale-down delay of 10 s" in ticks.reasons
    assert ticks.tick(25, panic=0, ready=5) == 3
    assert ticks.tick(55, panic=0, ready=5) == 6  # up it goes at once


def test_of_two_ticks_in_one_interval_the_delay_takes_the_higher_wish() -> None:
    settings = replace(TEN, scale_down_delay_s=2.0)
    first = scale(begun(settings, 0, 1000), settings, 5, Observed(45, 0), 1000.0)
    again = scale(first.memory, settings, 5, Observed(25, 0), 1001.5)
    later = scale(again.memory, settings, 5, Observed(25, 0), 1002.0)
    assert (first.pods, again.pods, later.pods) == (5, 5, 3)


def test_no_delay_for_a_revision_to_which_no_route_leads() -> None:
    ticks = Ticks(replace(TEN, scale_down_delay_s=10.0, reachable=False), ready=0)
    ticks.tick(45, panic=0, ready=5)
    assert ticks.tick(0, ready=5) == 0


@pytest.mark.parametrize(
    ("burst", "ready", "in_flight", "excess"),
    [
        pytest.param(-1.0, 100, 0.0, -1, id="always by the activator"),
        pytest.param(0.0, 0, 50.0, 0, id="never but from zero"),
        pytest.param(50.0, 3, 10.0, 0, id="just room"),
        pytest.param(50.0, 3, 10.5, -1, id="a little too much"),
        pytest.param(50.0, 0, 0.0, -50, id="no pod"),
        pytest.param(50.0, 10, 20.5, 129, id="rounded down"),
    ],
)
def test_room_for_a_burst(burst: float, ready: int, in_flight: float, excess: int) -> None:
    done = scale(Memory(), replace(TEN, burst=burst), ready, Observed(0, in_flight), 1000)
    assert done.excess_burst == excess


def test_a_tick_says_why() -> None:
    ticks = Ticks(replace(TEN, max_up_rate=2.0))
    ticks.tick(stable=35, panic=50, ready=1)
    assert ticks.reasons == (
        "35 in the stable window is 4 pods of 10; 2 by the rate of scaling up; "
        "panicking: 50 in the panic window is 5 pods; 2 by the rate of scaling up"
    )
