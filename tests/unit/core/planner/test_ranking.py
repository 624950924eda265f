from knative_mig.core.inventory import Inventory
from knative_mig.core.planner.fits import Tier
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.ranking import by_clearing, by_fit
from knative_mig.core.profile import ProfileName
from tests.rigs.worlds import gpu

HALF = ProfileName.parse("3g.20gb")
FLEET = Fleet(
    Inventory(
        gpus=(
            gpu("A", "1g.5gb@4 idle, worth 5"),
            gpu("B", "1g.5gb@4 idle, worth 2"),
            gpu("C", "1g.5gb@0 is chat, moves in 4", "1g.5gb@4 idle, worth 3"),
            gpu("D", "7g.40gb@0 is all"),
        )
    ),
    Policy(),
)
STATES = [FLEET.state(position) for position in range(4)]


def test_the_cheapest_is_first_and_what_offers_nothing_is_not_listed() -> None:
    ranking = by_fit(Tier.MERGE_OR_WAIT, ProfileName.parse("7g.40gb"))
    ranking.fill(STATES)
    assert [(state, fit.seconds) for state, fit in ranking] == [(STATES[1], 2.0), (STATES[0], 5.0)]
    assert len(ranking) == 2


def test_states_come_and_go_in_their_order() -> None:
    ranking = by_fit(Tier.MERGE_OR_WAIT, ProfileName.parse("7g.40gb"))
    ranking.fill([])
    for state in STATES:
        ranking.add(state)
    ranking.remove(STATES[1])
    assert [state for state, _ in ranking] == [STATES[0]]
    ranking.add(STATES[1])
    assert [state for state, _ in ranking] == [STATES[1], STATES[0]]


def test_a_state_may_offer_several_clearings_each_in_its_own_rank() -> None:
    ranking = by_clearing(ProfileName.parse("1g.5gb"))
    ranking.fill(STATES)
    assert [str(clearing.place) for _, clearing in ranking] == ["1g.5gb@0"]
    whole = by_clearing(ProfileName.parse("7g.40gb"))
    whole.fill(STATES)
    assert [(state, clearing.cost[:2]) for state, clearing in whole] == [(STATES[2], (1, 7.0))]
    halves = by_clearing(HALF)
    halves.fill(STATES)
    assert [str(clearing.place) for _, clearing in halves] == ["3g.20gb@0"]
