"""What a GPU can still take: against counting over every layout, and what the reserve for big profiles does."""

import pytest

from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.planner.flexibility import Flexibility
from knative_mig.core.profile import ProfileName
from tests.rigs.every_layout import every_layout
from tests.rigs.worlds import place

A100 = gpu_model("A100-40GB")
BASIC_OF_A100 = ["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]


def only(name: str) -> dict[ProfileName, float]:
    """Demand for that profile alone."""
    return {ProfileName.parse(each): float(each == name) for each in BASIC_OF_A100}


def most_beside(model: GpuModel, profile: Profile, busy: int) -> int:
    return max(len(each) for each in every_layout(model, [profile]) if not any(place.mask & busy for place in each))


@pytest.mark.parametrize("model", [A100, gpu_model("A30-24GB"), gpu_model("RTX-PRO-6000-BLACKWELL-96GB")], ids=str)
def test_as_many_of_a_profile_are_counted_as_fit_beside_what_is_busy(model: GpuModel) -> None:
    masks = {0} | {one.mask | other.mask for one in model.places for other in model.places if not one.mask & other.mask}
    for profile in model.profiles:
        demand = {each.name: float(each is profile) for each in model.profiles}
        flexibility = Flexibility(model, demand)
        reserve = 4.0 if profile.memory_units == model.memory_units else 2.0 if len(profile.starts) == 1 else 1.0
        for busy in masks:
            assert flexibility.value(busy) == most_beside(model, profile, busy) * profile.compute * reserve


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_nothing_fits_on_a_full_gpu_and_a_busy_slice_never_adds_room(model: GpuModel) -> None:
    flexibility = Flexibility(model, {})
    assert flexibility.value(model.memory_mask) == 0
    for one in model.places:
        for other in model.places:
            assert flexibility.value(one.mask) >= flexibility.value(one.mask | other.mask)


def test_an_unobserved_request_is_taken_for_the_plain_profile_of_least_memory() -> None:
    """Of an A100's seven profiles five count: neither `1g.5gb+me` nor the 1g with double memory."""
    # shares of sizes 1, 2, 3, 4, 7 times compute times how many fit, and the reserve of 4g and 7g
    assert Flexibility(A100, {}).value(0) == pytest.approx(
        0.40 * 1 * 7 + 0.25 * 2 * 3 + 0.20 * 3 * 2 + 0.10 * 4 * 1 * 2 + 0.05 * 7 * 1 * 4
    )


def test_demand_that_was_observed_counts_for_any_profile() -> None:
    media = {ProfileName.parse("1g.5gb+me"): 0.5}
    assert Flexibility(A100, media).value(0) == pytest.approx(Flexibility(A100, {}).value(0) + 0.5)


def test_losses_are_by_place_and_none_where_something_busy_is_in_the_way() -> None:
    flexibility = Flexibility(A100, only("3g.20gb"))
    busy = place("A100-40GB", "2g.10gb@4").mask
    losses = dict(zip(map(str, A100.places), flexibility.losses(busy), strict=True))
    assert losses["1g.5gb@6"] == 0  # the upper half is lost to a 3g already
    assert losses["1g.5gb@0"] == 3
    assert losses["1g.5gb@4"] is None
    assert losses["7g.40gb@0"] is None


def test_a_small_slice_costs_least_where_big_ones_are_lost_already() -> None:
    flexibility = Flexibility(A100, {})
    busy = place("A100-40GB", "1g.5gb@0").mask
    losses = dict(zip(map(str, A100.places), flexibility.losses(busy), strict=True))
    beside, apart = losses["1g.5gb@1"], losses["1g.5gb@6"]
    assert beside is not None
    assert apart is not None
    assert beside < apart


def test_the_loss_of_both_is_the_loss_of_one_and_then_the_other() -> None:
    flexibility = Flexibility(A100, {})
    one, other = place("A100-40GB", "1g.5gb@0").mask, place("A100-40GB", "3g.20gb@4").mask
    assert flexibility.loss(0, one) + flexibility.loss(one, one | other) == pytest.approx(
        flexibility.loss(0, one | other)
    )
