"""Addresses of pods on the loopback interface."""

import errno
from collections.abc import Callable
from io import BytesIO

import pytest

from knative_mig.dev.node.addresses import LAST, Addresses, Held, NoAddress, hold


def _of(node: int, is_free: Callable[[str, int], bool] = lambda *_: True) -> Addresses:
    """On a machine with nobody else."""
    return Addresses(node, hold=lambda _: BytesIO(), is_free=is_free)


def test_each_pod_has_its_own_and_one_that_comes_free_is_not_the_next() -> None:
    addresses = _of(3)
    assert [addresses.take(uid, 8080) for uid in ("a", "b", "a")] == ["127.64.3.1", "127.64.3.2", "127.64.3.1"]
    addresses.give_back("a")
    assert addresses.take("c", 8080) == "127.64.3.3"
    assert addresses.network == "127.64.3.0/24"


def test_one_on_which_somebody_else_listens_is_passed_over() -> None:
    taken = {("127.64.0.1", 8080), ("127.64.0.2", 8080)}
    addresses = _of(0, lambda *at: at not in taken)
    assert addresses.take("a", 8080) == "127.64.0.3"
    assert addresses.take("b", 9000) == "127.64.0.4"


def test_where_the_port_is_taken_everywhere_the_program_is_to_say_so() -> None:
    assert _of(0, lambda *_: False).take("a", 8080) == "127.64.0.1"


def test_they_come_to_an_end() -> None:
    addresses = _of(0)
    for at in range(LAST):
        addresses.take(str(at), 8080)
    with pytest.raises(NoAddress):
        addresses.take("one more", 8080)
    addresses.give_back("7")
    assert addresses.take("one more", 8080) == "127.64.0.8"


def test_who_holds_one_need_not_listen_yet() -> None:
    one, other = (Addresses(255, is_free=lambda *_: True) for _ in range(2))  # two on this machine, beside any that run
    first, second = one.take("a", 8080), other.take("a", 8080)
    assert first != second
    assert hold(first) is None
    one.give_back("a")
    other.give_back("a")
    held = hold(first)
    assert held is not None
    held.close()


def test_what_is_looked_at_and_not_taken_is_let_go() -> None:
    held: dict[str, Held] = {}

    class Holding:
        def __init__(self, address: str) -> None:
            self._address = address
            held[address] = self

        def close(self) -> None:
            del held[self._address]

    addresses = Addresses(0, hold=Holding, is_free=lambda address, _: address.endswith(".4"))
    assert addresses.take("a", 8080) == "127.64.0.4"
    assert list(held) == ["127.64.0.4"]
    addresses.give_back("a")
    assert not held


def test_where_there_is_no_file_to_look_by_none_stays_taken() -> None:
    held: list[BytesIO] = []

    def take_hold(_: str) -> BytesIO:
        held.append(BytesIO())
        return held[-1]

    def is_free(address: str, _: int) -> bool:
        if address.endswith(".3"):
            raise OSError(errno.EMFILE, "Too many open files")
        return False

    with pytest.raises(OSError, match="Too many"):
        Addresses(0, hold=take_hold, is_free=is_free).take("a", 8080)
    assert [each.closed for each in held] == [True, True, True]
