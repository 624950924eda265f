"""What came and went between two snapshots: by identity, whole, and in an order in which it can be carried out."""

from dataclasses import dataclass
from random import Random

import pytest

from knative_mig.core.changes import Changes


@dataclass(frozen=True)
class Thing:
    name: str


def test_at_first_all_comes() -> None:
    a, b = Thing("a"), Thing("b")
    change = Changes[Thing]().take({1: a, 2: b})
    assert (list(change.gone), list(change.come)) == ([], [a, b])


def test_what_is_another_object_goes_and_comes_though_it_is_equal_and_what_is_the_same_does_neither() -> None:
    changes, stays, before, after = Changes[Thing](), Thing("stays"), Thing("a"), Thing("a")
    changes.take({1: stays, 2: before})
    change = changes.take({1: stays, 2: after})
    assert [each is before for each in change.gone] == [True]
    assert [each is after for each in change.come] == [True]


def test_a_snapshot_that_is_shown_again_is_no_change() -> None:
    changes, snapshot = Changes[Thing](), {1: Thing("a")}
    changes.take(snapshot)
    change = changes.take(snapshot)
    assert (list(change.gone), list(change.come)) == ([], [])


def test_an_object_is_kept_for_as_long_as_it_is_known_by_its_id() -> None:
    """Were it dropped, a new object could get its id and pass for the old one."""
    changes = Changes[Thing]()
    for turn in range(200):
        name = str(turn)
        change = changes.take({1: Thing(name)})
        assert [each.name for each in change.come] == [name]


@pytest.mark.parametrize(
    "then",
    [
        pytest.param([*range(500)], id="nothing"),
        pytest.param([*range(1, 500)], id="the first goes"),
        pytest.param([*range(499)], id="the last goes"),
        pytest.param([*range(501)], id="one comes"),
        pytest.param([*range(100), *range(130, 500)], id="many neighbours go"),
        pytest.param([each for each in range(500) if each % 3], id="every third goes"),
        pytest.param([900, *range(500)], id="one comes in front, as in no mirror"),
        pytest.param([*reversed(range(500))], id="listed in another order"),
        pytest.param([*range(250, 500), *range(250)], id="listed in turned order"),
        pytest.param([*range(250), *range(700, 900), *range(250, 500)], id="many come in the middle"),
        pytest.param([1000 + each if each % 7 == 0 else each for each in range(500)], id="every seventh is another"),
        pytest.param([], id="all go"),
    ],
)
def test_what_comes_and_goes_is_found_wherever_it_stands(then: list[int]) -> None:
    things = {each: Thing(str(each)) for each in range(1500)}
    changes = Changes[Thing]()
    changes.take({each: things[each] for each in range(500)})
    change = changes.take({each: things[each] for each in then})
    assert [int(each.name) for each in change.gone] == [each for each in range(500) if each not in then]
    assert [int(each.name) for each in change.come] == [each for each in then if each >= 500]


def test_all_changes_together_are_what_is_there() -> None:
    chance, changes = Random(1), Changes[Thing]()
    there: dict[int, Thing] = {}
    seen: set[int] = set()
    for _ in range(300):
        there = dict(there)
        for _ in range(chance.randrange(8)):
            there[chance.randrange(400)] = Thing("x")
        for key in chance.sample(sorted(there), min(len(there), chance.randrange(5))):
            del there[key]
        change = changes.take(there)
        seen -= {id(each) for each in change.gone}
        seen |= {id(each) for each in change.come}
        assert seen == {id(each) for each in there.values()}
