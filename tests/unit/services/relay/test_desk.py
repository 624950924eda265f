"""Who needs the engine, and that it ends with the last of them."""

from services.relay.desk import Desk, Guest
from services.relay.engine_call import Address
from services.relay.replica import Leave, Stage, Where
from services.relay.resumable import TINY_LLM


def a_desk(ended: list[str]) -> Desk:
    engine = Address(host="127.0.0.1", port=1)
    return Desk(engine=engine, traits=TINY_LLM, elsewhere=None, end_engine=lambda: ended.append("ended"))


def test_the_engine_ends_when_the_last_who_needs_it_does_not_though_it_is_still_there() -> None:
    ended: list[str] = []
    desk = a_desk(ended)
    moves, stays = Guest(), Guest()
    assert desk.where(moves, was_sent_on=False) is Where.HERE
    assert desk.where(stays, was_sent_on=False) is Where.HERE
    desk.take(Leave())
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
    desk.take(Leave())
    assert desk.stage is Stage.LEAVES
    assert not desk.arrive(Guest())
    assert desk.guests() == (arrived,)


def test_an_idle_one_that_is_to_leave_ends_its_engine_at_once() -> None:
    ended: list[str] = []
    a_desk(ended).take(Leave())
    assert ended == ["ended"]
