"""Other projects' rules do what they publish, and never what a GPU cannot do."""

from collections.abc import Iterable, Sequence

import pytest

from bench import ours
from bench.loss import IllegalFleet, Outcome, Rule, play
from bench.policy_worth import OTHERS, MakeRule
from bench.rules import first_fit, hami, nos
from bench.traffic import MENU, MODEL, Setting, Traffic, make_traffic
from knative_mig.core.geometry import Place

SMALL = Setting(gpus=5, arrivals=1_500, warm_up=50)


def starts(make_rule: MakeRule, asked: Sequence[int]) -> list[int | None]:
    """Where one GPU's rule puts requests for these compute sizes; None is lost."""
    rule = make_rule(1)
    sizes = [profile.compute for profile in MENU]
    lost = {request for request, size in enumerate(asked) if rule.arrive(request, sizes.index(size)) is None}
    at = {request: place.start for request, _, place in rule.running()}
    return [None if request in lost else at[request] for request in range(len(asked))]


@pytest.mark.parametrize(
    ("make_rule", "expected"),
    [
        pytest.param(first_fit.instaslice, [0, 1, 2, 4], id="InstaSlice: lowest start"),
        pytest.param(first_fit.dra_driver, [0, 1, 2, 4], id="DRA driver: first device"),
        pytest.param(first_fit.nvml_default, [6, 4, 0, None], id="NVML: the guide's known issue"),
        pytest.param(hami.hami, [6, 5, 0, None], id="HAMi: 1g from the top, 2g from the bottom"),
        pytest.param(hami.hami_free_run, [0, 1, 2, 4], id="HAMi: the free run stays at the top"),
        pytest.param(nos.Nos, [6, 4, 0, None], id="nos: the new geometry in NVML's order"),
    ],
)
def test_two_1g_a_2g_and_a_3g_on_one_gpu(make_rule: MakeRule, expected: list[int | None]) -> None:
    assert starts(make_rule, [1, 1, 2, 3]) == expected


def test_lowest_start_first_fit_blocks_a_4g_that_a_repack_would_take() -> None:
    assert starts(first_fit.instaslice, [3, 4]) == [0, None]
    assert starts(hami.hami, [3, 4]) == [4, 0]


def test_nos_does_not_know_4g_beside_3g() -> None:
    assert starts(nos.Nos, [4, 3]) == [0, None]


def test_nos_uses_a_free_slice_before_it_repartitions() -> None:
    rule = nos.Nos(2)
    for request, kind in enumerate([0, 4]):
        rule.arrive(request, kind)
    rule.depart(0)

    assert rule.arrive(2, 0) == 0
    assert {gpu for request, gpu, _ in rule.running() if request == 2} == {0}


def test_binpack_takes_the_fullest_gpu_that_has_room() -> None:
    rule = hami.hami(2)
    for request, kind in enumerate([3, 3, 0]):  # a 4g on each GPU, then 1g on the first
        rule.arrive(request, kind)
    rule.depart(0)  # now the second GPU is the fuller one

    rule.arrive(3, 1)

    assert {gpu for request, gpu, _ in rule.running() if request == 3} == {1}


@pytest.mark.parametrize("make_rule", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("load", [0.8, 1.2])
def test_every_rule_keeps_a_legal_fleet(make_rule: MakeRule, load: float) -> None:
    setting = Setting(gpus=SMALL.gpus, arrivals=SMALL.arrivals, warm_up=SMALL.warm_up, load=load)

    outcome = play(make_rule(setting.gpus), make_traffic(setting, seed=7), check=True)

    assert 0 < outcome.slots < 1
    assert outcome.moves == 0


def test_instaslice_and_the_dra_driver_choose_alike() -> None:
    traffic = make_traffic(SMALL, seed=3)

    assert play(first_fit.instaslice(SMALL.gpus), traffic) == play(first_fit.dra_driver(SMALL.gpus), traffic)


class Scripted:
    """Says it moved `moves` requests and shows the fleets it was given, one an event."""

    def __init__(self, moves: int, *fleets: Sequence[tuple[int, int, str]]) -> None:
        self._moves = moves
        self._fleets = iter(fleets)
        self._now: Sequence[tuple[int, int, str]] = ()

    def arrive(self, request: int, kind: int) -> int | None:
        del request, kind
        self._now = next(self._fleets)
        return self._moves

    def depart(self, request: int) -> None:
        del request

    def running(self) -> Iterable[tuple[int, int, Place]]:
        by_name = {str(place): place for place in MODEL.places}
        return ((request, gpu, by_name[place]) for request, gpu, place in self._now)


def checked(rule: Rule, *kinds: int) -> Outcome:
    setting = Setting(gpus=2, arrivals=len(kinds), warm_up=0)
    return play(rule, Traffic(setting, kinds, tuple(range(len(kinds)))), check=True)


def test_the_check_sees_slices_that_overlap() -> None:
    with pytest.raises(IllegalFleet, match=r"2g\.10gb@2 of request 1 overlaps"):
        checked(Scripted(0, [(0, 0, "3g.20gb@0")], [(0, 0, "3g.20gb@0"), (1, 0, "2g.10gb@2")]), 2, 1)


def test_the_check_sees_another_profile_than_was_asked_for() -> None:
    with pytest.raises(IllegalFleet, match=r"for 4g\.20gb stands at 3g\.20gb@0"):
        checked(Scripted(0, [(0, 0, "3g.20gb@0")]), 3)


def test_the_check_sees_a_request_that_is_gone() -> None:
    with pytest.raises(IllegalFleet, match="0 requests run, 1 were accepted"):
        checked(Scripted(0, []), 0)


def test_the_check_sees_a_move_that_was_not_reported() -> None:
    fleets = [(0, 0, "1g.5gb@0")], [(0, 1, "1g.5gb@0"), (1, 0, "7g.40gb@0")]
    with pytest.raises(IllegalFleet, match="1 requests were moved, 0 reported"):
        checked(Scripted(0, *fleets), 0, 4)
    assert checked(Scripted(1, *fleets), 0, 4).accepted == (1, 0, 0, 0, 1)


def test_the_check_sees_two_that_would_have_to_trade_places() -> None:
    before = [(0, 0, "3g.20gb@0"), (1, 0, "3g.20gb@4")]
    after = [(0, 0, "3g.20gb@4"), (1, 0, "3g.20gb@0"), (2, 1, "1g.5gb@0")]
    with pytest.raises(IllegalFleet, match="cannot be moved make-before-break"):
        checked(Scripted(2, before[:1], before, after), 2, 2, 0)


@pytest.mark.parametrize("make_rule", [ours.Ours, ours.without_moves], ids=["moves", "no moves"])
def test_our_planner_keeps_a_legal_fleet(make_rule: MakeRule) -> None:
    outcome = play(make_rule(SMALL.gpus), make_traffic(SMALL, seed=7), check=True)

    assert 0 < outcome.slots < 1
    assert (outcome.moves > 0) == (make_rule is ours.Ours)
