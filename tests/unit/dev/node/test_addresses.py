"""Addresses of pods on the loopback interface."""

import pytest

from knative_mig.dev.node.addresses import LAST, Addresses, NoAddress


def test_each_pod_has_its_own_and_one_that_comes_free_is_not_the_next() -> None:
    addresses = Addresses(3, is_free=lambda *_: True)
    assert [addresses.take(uid, 8080) for uid in ("a", "b", "a")] == ["127.64.3.1", "127.64.3.2", "127.64.3.1"]
    addresses.give_back("a")
    assert addresses.take("c", 8080) == "127.64.3.3"
    assert addresses.network == "127.64.3.0/24"


def test_one_on_which_somebody_else_listens_is_passed_over() -> None:
    taken = {("127.64.0.1", 8080), ("127.64.0.2", 8080)}
    addresses = Addresses(0, is_free=lambda *at: at not in taken)
    assert addresses.take("a", 8080) == "127.64.0.3"
    assert addresses.take("b", 9000) == "127.64.0.4"


def test_where_the_port_is_taken_everywhere_the_program_is_to_say_so() -> None:
    assert Addresses(0, is_free=lambda *_: False).take("a", 8080) == "127.64.0.1"


def test_they_come_to_an_end() -> None:
    addresses = Addresses(0, is_free=lambda *_: True)
    for at in range(LAST):
        addresses.take(str(at), 8080)
    with pytest.raises(NoAddress):
        addresses.take("one more", 8080)
    addresses.give_back("7")
    assert addresses.take("one more", 8080) == "127.64.0.8"
