"""What wakes a request whose turn has come, whenever that was."""

import os
import select

from knative_mig.dev.gateway.bell import Bell


def has_rung(bell: Bell) -> bool:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    return bool(poll.poll(0))


def test_it_is_heard_by_who_waits_already() -> None:
    bell = Bell()
    assert not has_rung(bell)
    bell.ring()
    assert has_rung(bell)
    bell.close()


def test_it_is_heard_by_who_waits_only_then() -> None:
    bell = Bell()
    bell.ring()
    assert has_rung(bell)
    bell.close()


def test_who_rings_for_one_that_waits_no_more_touches_no_file_of_others() -> None:
    bell = Bell()
    number = bell.fileno()
    bell.close()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    assert other == number
    bell.ring()
    poll = select.poll()
    poll.register(other, select.POLLIN)
    assert poll.poll(0) == []
    os.close(other)
