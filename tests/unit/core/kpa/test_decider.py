"""Between ticks: what is thought of a function of which little is known yet, and who is told."""

from dataclasses import replace

import pytest

from knative_mig.core.kpa.decider import UNKNOWN, Decider, created, is_news, ticked, wakes
from knative_mig.core.kpa.scale import Memory
from knative_mig.core.kpa.settings import settings_of
from knative_mig.core.kpa.stats import Observed, Stat

SETTINGS = replace(settings_of({}), target=10.0, total=20.0)


@pytest.mark.parametrize(("burst", "excess"), [(-1.0, -1), (0.0, 0), (200.0, -160), (30.5, 9)])
def test_at_first_it_wants_nothing_and_has_room_for_what_its_first_pods_take(burst: float, excess: int) -> None:
    fresh = created(replace(SETTINGS, burst=burst, initial_scale=2), 0, 1000)
    assert (fresh.desired, fresh.excess_burst) == (UNKNOWN, excess)


def test_a_tick_without_data_changes_nothing() -> None:
    thinks = replace(created(SETTINGS, 0, 1000), desired=3)
    after = ticked(thinks, SETTINGS, 3, None, 1002)
    assert replace(after, reasons=thinks.reasons) == thinks
    assert after.reasons == ("no data",)
    assert not is_news(thinks, after)


def test_another_number_of_pods_is_news_and_so_is_another_way_for_requests() -> None:
    def thinks(desired: int, excess: int) -> Decider:
        return Decider(desired=desired, excess_burst=excess, memory=Memory())

    assert is_news(thinks(1, 5), thinks(2, 5))
    assert is_news(thinks(1, 0), thinks(1, -1))
    assert not is_news(thinks(1, 5), thinks(1, 0))
    assert not is_news(thinks(1, -5), thinks(1, -50))


def test_a_request_to_a_function_at_zero_does_not_wait_for_the_tick() -> None:
    fresh = created(SETTINGS, 0, 1000)
    at_zero = ticked(fresh, SETTINGS, 0, Observed(0, 0), 1002)
    assert wakes(at_zero, Stat(concurrency=1))
    assert not wakes(at_zero, Stat(concurrency=0))
    assert not wakes(fresh, Stat(concurrency=1))
    assert not wakes(replace(at_zero, desired=1), Stat(concurrency=1))
