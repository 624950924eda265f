"""Where on one GPU a slice goes: stories of ties and of tiers, beside the searches that try everything."""

import pytest

from knative_mig.core.inventory import Inventory
from knative_mig.core.planner.decisions import How
from knative_mig.core.planner.fits import Tier, fits, fits_of, fits_together
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.gpu_state import GpuState
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import ProfileName
from tests.rigs.worlds import gpu

A30 = "A30-24GB"


def state(*slices: str, model: str = "A100-40GB", static: bool = False) -> GpuState:
    return Fleet(Inventory(gpus=(gpu("A", *slices, model=model, static=static),)), Policy()).state(0)


def name(text: str) -> ProfileName:
    return ProfileName.parse(text)


def test_of_places_that_cost_the_same_the_highest_is_taken() -> None:
    """All four quarters of an A30 are alike."""
    (fit,) = fits(state(model=A30), name("1g.6gb"))
    assert str(fit.place) == "1g.6gb@3"
    waiting = fits(state("4g.24gb@0 is old, ends at 5", model=A30), name("1g.6gb"))
    assert [fit.place.start for fit in waiting] == [3, 2, 1, 0]


def test_a_better_tier_hides_the_others() -> None:
    mixed = state("1g.5gb@0 idle, worth 9", "3g.20gb@4 is old, ends at 5")
    assert [fit.how for fit in fits(mixed, name("1g.5gb"))] == [How.REUSE]
    assert [fit.how for fit in fits(mixed, name("2g.10gb"))] == [How.CREATE]
    assert [fit.how for fit in fits(mixed, name("4g.20gb"))] == [How.MERGE]
    assert [fit.how for fit in fits(mixed, name("7g.40gb"))] == [How.WAIT]


def test_every_place_that_waits_is_kept_for_each_is_good_up_to_its_own_time() -> None:
    found = fits(
        state("3g.20gb@0 is x, ends at 31", "2g.10gb@4 is y, ends at 29", "1g.5gb@6 idle, worth 5"), name("3g.20gb")
    )
    assert [(str(fit.place), fit.until, fit.seconds) for fit in found] == [("3g.20gb@0", 31, 31), ("3g.20gb@4", 29, 34)]


def test_a_place_waits_for_the_last_of_its_pods() -> None:
    (fit,) = fits(state("3g.20gb@0 is x, ends at 12", "3g.20gb@4 is y, ends at 7"), name("7g.40gb"))
    assert (fit.until, fit.destroys) == (12, ())


@pytest.mark.parametrize("tier", Tier, ids=lambda tier: tier.name)
def test_a_static_layout_is_neither_cut_nor_merged(tier: Tier) -> None:
    admins = state("2g.10gb@0 idle", "2g.10gb@2 idle", "2g.10gb@4 is x, ends at 5", static=True)
    assert fits_of(tier, admins, name("4g.20gb")) == ()
    assert fits_of(tier, admins, name("1g.5gb")) == ()


def test_a_static_slice_costs_no_flexibility_for_nothing_else_could_stand_there() -> None:
    (fit,) = fits(state("1g.5gb@6 idle", static=True), name("1g.5gb"))
    assert (fit.how, fit.cost[2], fit.flexibility_lost) == (How.REUSE, 0.0, 0.0)
    (fit,) = fits(state("1g.5gb@6 idle"), name("1g.5gb"))
    assert fit.flexibility_lost > 0


def test_of_two_that_destroy_the_same_idle_slice_the_first_pays() -> None:
    cramped = state("4g.20gb@0 is x", "2g.10gb@4 idle, worth 3", "1g.5gb@6 is y")
    pair = fits_together(cramped, name("1g.5gb"), name("1g.5gb"))
    assert pair is not None
    assert [(str(fit.place), fit.seconds, len(fit.destroys)) for fit in pair] == [
        ("1g.5gb@5", 3.0, 1),
        ("1g.5gb@4", 0.0, 1),
    ]
    assert fits_together(cramped, name("1g.5gb"), name("2g.10gb")) is None
