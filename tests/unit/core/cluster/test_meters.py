"""Pay as you go: what is counted, for whom, and that nothing is counted twice."""

import pytest

from knative_mig.core.cluster.meters import (
    LONGEST_GAP_S,
    Meters,
    Rates,
    Shares,
    Unused,
    Whose,
    accrue,
    decoded,
    encoded,
    lost_s,
    waiting,
)
from knative_mig.core.cluster.waiting import wanted_profile
from knative_mig.core.errors import BadInput
from knative_mig.core.inventory import NodeName
from tests.rigs.small_cluster import facts, gpu, gpu_node, pod
from tests.rigs.whole_world import build

N1, N2 = NodeName("n1"), NodeName("n2")
MINE = Whose("team", "p", "3g.20gb", "Busy")


def test_a_share_is_memory_units_over_those_of_the_gpu() -> None:
    shares = Shares()
    there = gpu_node(
        "n1", gpu("a", {"3g.20gb@4": "p", "1g.5gb@0": None}), gpu("b", {"4g.24gb@0": "q"}, model="A30-24GB")
    )
    shares.put(N1, there, [pod("p", "3g.20gb", on="n1"), pod("q", "4g.24gb", on="n1")])
    assert shares.per_second == {
        MINE: 0.5,
        Whose("", "", "1g.5gb", "Idle"): 0.125,
        Whose("team", "q", "4g.24gb", "Busy"): 1.0,
    }


def test_what_a_node_no_longer_holds_is_counted_no_more() -> None:
    shares = Shares()
    for name in (N1, N2):
        shares.put(name, gpu_node(name, gpu("a", {"3g.20gb@4": "p"})), [pod("p", "3g.20gb", on=name)])
    assert shares.per_second == {MINE: 1.0}
    shares.put(N1, None, [])
    assert shares.per_second == {MINE: 0.5}
    shares.put(N2, gpu_node("n2", gpu("a")), [])
    assert shares.per_second == {}


def test_seconds_add_up_from_one_time_to_the_next() -> None:
    meters = accrue(Meters(), Rates(shares={MINE: 0.5}), now=100)
    assert meters == Meters(until=100)
    meters = accrue(meters, Rates(shares={MINE: 0.5}, fragmented={"7g.40gb": 2}, blocked={"7g.40gb": 1}), now=110)
    assert (meters.share_seconds, meters.fragmented_s, meters.blocked_s) == (
        {MINE: 5.0},
        {"7g.40gb": 20.0},
        {"7g.40gb": 10.0},
    )


def test_after_a_round_whose_clock_was_an_hour_ahead_the_next_seconds_count_again() -> None:
    rates = Rates(shares={MINE: 1.0})
    meters = Meters(share_seconds={MINE: 7.0}, until=100)
    ahead = accrue(meters, rates, now=3700)
    back = accrue(ahead, rates, now=101)
    assert back == Meters(share_seconds={MINE: 7.0}, until=101)
    assert accrue(back, rates, now=111).share_seconds == {MINE: 17.0}
    assert (lost_s(meters, 3700), lost_s(ahead, 101), lost_s(back, 111)) == (3600, 3599, 0)


def test_what_nobody_watched_for_long_is_nobodys() -> None:
    meters = Meters(share_seconds={MINE: 7.0}, until=100)
    later = accrue(meters, Rates(shares={MINE: 1.0}), now=101 + LONGEST_GAP_S)
    assert later == Meters(share_seconds={MINE: 7.0}, until=101 + LONGEST_GAP_S)


def test_what_is_stored_is_what_is_loaded() -> None:
    meters = Meters(share_seconds={MINE: 7.125}, fragmented_s={"7g.40gb": 2.5}, blocked_s={}, until=1.7e9 + 0.123456)
    assert decoded(encoded(meters)) == meters


@pytest.mark.parametrize(
    "change",
    [
        {"format": "9"},
        {"share-seconds": "[[1]]"},
        {"share-seconds": "{"},
        {"until": "soon"},
        {"blocked-wait-seconds": "3"},
    ],
    ids=["another format", "labels missing", "no JSON", "no time", "no mapping"],
)
def test_totals_that_cannot_be_read_do_not_begin_again_at_nought(change: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        decoded({**encoded(Meters(until=1.0)), **change})


def waits(profile: str, *slices: dict[str, str | None]) -> tuple[bool, bool]:
    """Whether a pod of that profile waits beside an idle share, and beside one that would be enough."""
    world = build(facts([gpu_node("n1", *(gpu(f"g{at}", each) for at, each in enumerate(slices)))]), now=0)
    unused, asking = Unused(), pod("p", profile)
    unused.put(N1, world.views[N1])
    fragmented, blocked = waiting(unused, [(asking, wanted_profile(asking), frozenset({N1}))])
    return bool(fragmented), bool(blocked)


def test_a_wait_is_fragmented_beside_any_idle_share_and_blocked_beside_one_big_enough() -> None:
    full: dict[str, str | None] = {"7g.40gb@0": "all"}
    half_full: dict[str, str | None] = {"4g.20gb@0": "a", "1g.5gb@6": None}
    assert waits("7g.40gb", full) == (False, False)
    assert waits("7g.40gb", full, half_full) == (True, False)
    assert waits("7g.40gb", half_full, half_full) == (True, True)
    assert waits("4g.24gb", half_full) == (False, False)  # no GPU there has it
