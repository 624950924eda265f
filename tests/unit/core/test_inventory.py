from math import inf, nan

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.inventory import Busy, Ending, Function, Idle, Inventory, Pending
from knative_mig.core.profile import ProfileName
from tests.rigs.worlds import function, gpu


def test_a_gpu_with_overlapping_slices_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        gpu("A", "3g.20gb@4 is chat", "1g.5gb@5 idle")
    assert str(refused.value) == "A: 3g.20gb@4 and 1g.5gb@5 overlap on a A100-40GB"


def test_a_gpu_with_two_media_extensions_is_refused() -> None:
    with pytest.raises(BadInput, match=r"1g.5gb\+me@0 and 1g.5gb\+me@5 overlap"):
        gpu("A", "1g.5gb+me@0 is chat", "1g.5gb+me@5 idle")


def test_a_gpu_that_stands_twice_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        Inventory(gpus=(gpu("A", node="n1"), gpu("B"), gpu("A", node="n2")))
    assert str(refused.value) == "A stands twice in the inventory"


@pytest.mark.parametrize("count", [0, -1])
def test_a_pending_asks_for_one_slice_at_least(count: int) -> None:
    with pytest.raises(BadInput) as refused:
        Pending(function=function("team/f"), profile=ProfileName(3, 20), count=count)
    assert str(refused.value) == f"team/f: count is {count}, legal is 1 or more"


@pytest.mark.parametrize("seconds", [nan, inf, -inf, -1.0])
def test_seconds_that_would_make_nonsense_of_every_cost_are_refused(seconds: float) -> None:
    with pytest.raises(BadInput, match=f"^worth_s is {seconds}: legal are finite seconds, 0 or more$"):
        Idle(seconds)
    with pytest.raises(BadInput, match=f"^move_s is {seconds}: legal are finite seconds, 0 or more$"):
        Busy(function("f"), movable=True, move_s=seconds)


@pytest.mark.parametrize("moment", [nan, inf, -inf])
def test_a_moment_that_never_comes_is_refused(moment: float) -> None:
    with pytest.raises(BadInput, match=f"^free_at is {moment}: legal are finite seconds$"):
        Ending(function("f"), moment)
    with pytest.raises(BadInput, match=f"since is {moment}"):
        Pending(function=function("f"), profile=ProfileName(3, 20), since=moment)


def test_a_moment_may_lie_before_the_clocks_zero() -> None:
    assert Ending(function("f"), -5.0).free_at == -5.0
    assert Pending(function=function("f"), profile=ProfileName(3, 20), since=-5.0).since == -5.0


def test_the_worth_of_an_idle_slice_is_the_cold_start_that_it_will_likely_save() -> None:
    assert Idle.from_reuse(next_start_s=40.0, likelihood=0.25) == Idle(10.0)


def test_functions_are_named_by_namespace_and_in_their_order() -> None:
    assert str(Function("team", "chat")) == "team/chat"
    assert min([Function("b", "a"), Function("a", "z")]) == Function("a", "z")
