"""What is asked of the floor in each phase of a move."""

from dataclasses import replace

import pytest

from knative_mig.core.floor.values import Setting
from knative_mig.core.inventory import Function
from knative_mig.core.mover.asking import asks
from knative_mig.core.mover.values import Leg, Move, Patience, Phase, PodRef
from tests.rigs.moving_world import spot

OLD, NEW = Function("team", "llm-1"), Function("team", "llm-2")
LEG = Leg(function=OLD, revision_uid="u", old=PodRef(name="p", uid="uid-p"), source=spot(0), target=spot(0))
PATIENCE = Patience()


def asked(phase: Phase, *, recreates: bool = False) -> tuple[str, Setting, float, float] | None:
    beneficiary = PodRef(name="b", uid="uid-b")
    move = Move(beneficiary=beneficiary, function=NEW, place=spot(0), legs=(LEG,), began=0.0, recreates=recreates)
    request = asks(replace(move, phase=phase, since=100.0, floor=2, until=900.0), "move", PATIENCE)
    return (request.revision, request.setting, request.value, request.until) if request else None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.MARKING])
def test_a_function_that_is_moved_has_one_pod_more_for_a_while(phase: Phase) -> None:
    assert asked(phase) == ("llm-1", Setting.MIN, 2.0, 900.0)


def test_the_new_revision_needs_no_pod_until_the_traffic_has_gone_to_it() -> None:
    assert asked(Phase.SWITCHING, recreates=True) == ("llm-2", Setting.INITIAL, 0.0, 100 + PATIENCE.switch_s)


def test_the_older_one_waits_no_longer_than_it_must_when_it_has_answered_all() -> None:
    assert asked(Phase.ENDING, recreates=True) == ("llm-1", Setting.WINDOW, 6.0, 100 + PATIENCE.clear_s)


@pytest.mark.parametrize("phase", [*Phase])
def test_all_else_asks_for_nothing(phase: Phase) -> None:
    if phase not in (Phase.STARTING, Phase.MARKING, Phase.SWITCHING, Phase.ENDING):
        assert asked(phase) is None
