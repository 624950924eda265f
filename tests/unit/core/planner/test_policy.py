from math import inf, nan
from typing import Any

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.planner.policy import DEFAULT_DEMAND, Policy
from knative_mig.core.profile import ProfileName

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_moves": 3}, "max_moves is 3: legal are 0, 1 and 2"),
    ({"max_moves": -1}, "max_moves is -1: legal are 0, 1 and 2"),
    ({"starving_after_s": 0}, "starving_after_s is 0: legal is more than 0 seconds"),
    ({"starving_after_s": -5.0}, "starving_after_s is -5.0: legal is more than 0 seconds"),
    ({"starving_after_s": inf}, "starving_after_s is inf: legal is more than 0 seconds"),
    ({"starving_after_s": nan}, "starving_after_s is nan: legal is more than 0 seconds"),
    ({"wait_at_most_s": -1}, "wait_at_most_s is -1: legal is 0 seconds or more"),
    ({"wait_at_most_s": inf}, "wait_at_most_s is inf: legal is 0 seconds or more"),
    ({"wait_at_most_s": nan}, "wait_at_most_s is nan: legal is 0 seconds or more"),
    ({"reserve_whole": -1}, "reserve_whole is -1: legal is 0 or more"),
    ({"demand": {ProfileName(3, 20): -0.1}}, "demand of 3g.20gb is -0.1: legal is 0 or more"),
    ({"demand": {ProfileName(3, 20): inf}}, "demand of 3g.20gb is inf: legal is 0 or more"),
    ({"demand": {ProfileName(3, 20): nan}}, "demand of 3g.20gb is nan: legal is 0 or more"),
]
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"max_moves": 0},
    {"wait_at_most_s": 0},
    {"starving_after_s": 0.001},
    {"demand": {ProfileName(3, 20): 0.0}},
]


@pytest.mark.parametrize(("settings", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_an_absurd_setting_is_refused_in_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(BadInput) as refused:
        Policy(**settings)
    assert str(refused.value) == line


@pytest.mark.parametrize("settings", ACCEPTED, ids=str)
def test_the_edges_of_what_is_legal_are_accepted(settings: dict[str, Any]) -> None:
    Policy(**settings)


def test_the_demand_that_is_assumed_adds_up_to_one() -> None:
    assert sum(DEFAULT_DEMAND.values()) == pytest.approx(1.0)
