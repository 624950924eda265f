"""Who needs the engine, and that it ends with the last of them."""

import threading
from collections.abc import Callable

import pytest

from services.relay.desk import Desk, Guest
from services.relay.engine_call import Address
from services.relay.replica import TAKES_LATE_FOR_S, Stage, Where
from services.relay.resumable import TINY_LLM


def a_desk(ended: list[str], *, knows_the_function: bool = True, clock: Callable[[], float] = lambda: 0.0) -> Desk:
    return Desk(
        engine=Address(host="127.0.0.1", port=1),
        traits=TINY_LLM,
        elsewhere=Address(host="fn", port=80) if knows_the_function else None,
        end_engine=lambda: ended.append("ended"),
        clock=clock,
    )


def test_the_engine_ends_when_the_last_who_needs_it_does_not_though_it_is_still_there() -> None:
    ended: list[str] = []
    desk = a_desk(ended)
    moves, stays = Guest(), Guest()
    assert desk.where(moves, was_sent_on=False) is Where.HERE
    assert desk.where(stays, was_sent_on=False) is Where.HERE
    desk.start_leaving()
    assert desk.where(Guest(), was_sent_on=False) is Where.ELSEWHERE
    desk.need(moves, need=False)
    assert ended == []
    with desk.left_after(stays):
        pass
    assert ended == ["ended"]
    assert desk.stage is Stage.ENDS
    assert desk.guests() == (moves,)


def test_a_replica_that_leaves_takes_no_generation_from_another() -> None:
    desk = a_desk([])
    arrived = Guest()
    assert desk.arrive(arrived)
    desk.start_leaving()
    assert desk.stage is Stage.LEAVES
    assert not desk.arrive(Guest())
    assert desk.guests() == (arrived,)


def test_where_nobody_else_is_known_what_is_late_is_served_while_there_is_an_engine() -> None:
    desk = a_desk([], knows_the_function=False)
    first = Guest()
    desk.where(first, was_sent_on=False)
    desk.start_leaving()
    late = Guest()
    assert desk.where(late, was_sent_on=False) is Where.HERE
    desk.leave(first)
    assert desk.stage is Stage.LEAVES
    desk.leave(late)
    assert desk.where(Guest(), was_sent_on=False) is Where.NOWHERE


@pytest.mark.parametrize("knows_the_function", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_who_says_that_it_was_sent_on_does_not_keep_the_engine_for_ever(
    *, knows_the_function: bool, at_once: bool
) -> None:
    now = 0.0
    desk = a_desk([], knows_the_function=knows_the_function, clock=lambda: now)
    desk.where(Guest(), was_sent_on=False)
    desk.start_leaving(at_once=at_once)
    assert desk.where(Guest(), was_sent_on=True) is (Where.NOWHERE if at_once else Where.HERE)
    now += TAKES_LATE_FOR_S
    assert desk.where(Guest(), was_sent_on=True) is Where.NOWHERE
    desk.start_leaving()
    assert desk.where(Guest(), was_sent_on=True) is Where.NOWHERE, "told again it takes none again"


def test_it_is_empty_when_the_last_has_gone() -> None:
    desk, guest, waiting = a_desk([]), Guest(), threading.Event()
    desk.where(guest, was_sent_on=False)

    def wait() -> None:
        desk.wait_until_empty()
        waiting.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not waiting.is_set()
    desk.leave(guest)
    thread.join(60.0)
    assert waiting.is_set()


def test_an_idle_one_that_is_to_leave_ends_its_engine_at_once() -> None:
    ended: list[str] = []
    a_desk(ended).start_leaving()
    assert ended == ["ended"]
