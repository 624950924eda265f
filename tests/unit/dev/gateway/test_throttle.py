"""Who runs at which pod, and who waits: the rules of Knative's activator and queue-proxy, one by one."""

from collections.abc import Callable, Sequence
from itertools import cycle

import pytest

from knative_mig.dev.gateway.facts import Pod
from knative_mig.dev.gateway.throttle import MOST_HELD, Stand, Throttle, Ticket
from knative_mig.ports.kube import Key

REVISION = Key("team", "fn-00001")
A, B, C = (Pod(f"127.64.0.{number}", 8080, Key("team", f"pod-{number}")) for number in (1, 2, 3))


def a_ticket(*, by_activator: bool = True) -> Ticket:
    return Ticket(revision=REVISION, by_activator=by_activator, ring=lambda: None)


def drawing(*numbers: int) -> Callable[[int], int]:
    turn = cycle(numbers)
    return lambda below: min(next(turn), below - 1)


def a_throttle(concurrency: int, pods: Sequence[Pod], draw: Callable[[int], int] | None = None) -> Throttle:
    throttle = Throttle(concurrency, draw or drawing(0))
    throttle.set_pods(pods)
    return throttle


def asked(throttle: Throttle, *, by_activator: bool = True) -> Ticket:
    ticket = a_ticket(by_activator=by_activator)
    assert throttle.ask(ticket)
    return ticket


def pods_of(tickets: Sequence[Ticket]) -> list[Pod | None]:
    return [ticket.pod for ticket in tickets]


@pytest.mark.parametrize("concurrency", [0, 1, 10])
def test_without_a_pod_all_wait_and_run_in_the_order_in_which_they_came(concurrency: int) -> None:
    throttle = a_throttle(concurrency, [])
    first, second = asked(throttle), asked(throttle)
    assert throttle.held == 2
    begun = throttle.set_pods([A, B])
    assert begun == [first, second]
    assert throttle.held == 0
    assert {first.stand, second.stand} == {Stand.RUNS}


def test_a_pod_never_runs_more_than_its_concurrency() -> None:
    throttle = a_throttle(2, [A])
    running = [asked(throttle) for _ in range(2)]
    waits = asked(throttle)
    assert waits.stand is Stand.HELD
    assert throttle.leave(running[0]) == [waits]
    assert waits.pod == A


def test_who_gives_up_waiting_makes_no_room_and_is_passed_over() -> None:
    throttle = a_throttle(1, [A])
    runs = asked(throttle)
    gives_up, waits = asked(throttle), asked(throttle)
    assert throttle.leave(gives_up) == []
    assert throttle.leave(runs) == [waits]
    assert throttle.leave(gives_up) == []  # it left already


def test_small_concurrency_fills_the_first_pod_with_room() -> None:
    throttle = a_throttle(2, [C, A, B])
    tickets = [asked(throttle) for _ in range(5)]
    assert pods_of(tickets) == [A, A, B, B, C]
    throttle.leave(tickets[0])
    assert asked(throttle).pod == A


def test_larger_concurrency_deals_in_turn_to_those_with_room() -> None:
    throttle = a_throttle(4, [A, B, C])
    tickets = [asked(throttle) for _ in range(12)]
    assert pods_of(tickets) == [A, B, C] * 4
    throttle.leave(tickets[1])
    assert asked(throttle).pod == B


def test_without_a_limit_the_less_busy_of_two_is_taken() -> None:
    throttle = a_throttle(0, [A, B])
    assert pods_of([asked(throttle) for _ in range(4)]) == [A, B, A, B]


def test_of_many_two_different_ones_are_drawn_and_a_draw_decides_between_equals() -> None:
    throttle = a_throttle(0, [A, B, C], drawing(1, 1, 1))
    assert asked(throttle).pod == C  # the second draw is among the others: B is passed over
    throttle = a_throttle(0, [A, B, C], drawing(1, 1, 0))
    assert asked(throttle).pod == B


def test_a_pod_that_goes_gets_nothing_new_and_another_takes_over() -> None:
    throttle = a_throttle(1, [A])
    runs, waits = asked(throttle), asked(throttle)
    assert throttle.set_pods([]) == []
    assert throttle.leave(runs) == []
    assert waits.stand is Stand.HELD
    assert throttle.set_pods([B]) == [waits]
    assert waits.pod == B


def test_a_pod_that_comes_back_still_runs_what_it_had() -> None:
    throttle = a_throttle(1, [A])
    runs = asked(throttle)
    throttle.set_pods([])
    throttle.set_pods([A])
    waits = asked(throttle)
    assert waits.stand is Stand.HELD
    assert throttle.leave(runs) == [waits]


def test_so_many_are_held_and_no_more() -> None:
    throttle = a_throttle(1, [])
    for _ in range(MOST_HELD):
        asked(throttle)
    assert not throttle.ask(a_ticket())
    assert throttle.held == MOST_HELD


def test_past_the_activator_they_are_dealt_in_turn_and_wait_at_their_pod() -> None:
    throttle = a_throttle(1, [A, B])
    first, second, third = (asked(throttle, by_activator=False) for _ in range(3))
    assert pods_of([first, second, third]) == [A, B, A]
    assert third.stand is Stand.QUEUES
    assert throttle.leave(second) == []  # though B has room now
    assert throttle.leave(first) == [third]


def test_a_pod_has_ten_places_for_each_that_may_run() -> None:
    throttle = a_throttle(2, [A])
    tickets = [asked(throttle, by_activator=False) for _ in range(2 + 20)]
    refused = a_ticket(by_activator=False)
    assert not throttle.ask(refused)
    assert refused.pod == A
    throttle.leave(tickets[-1])
    assert throttle.ask(a_ticket(by_activator=False))


def test_what_waits_at_a_pod_that_goes_is_still_served_there() -> None:
    throttle = a_throttle(1, [A])
    runs, queues = asked(throttle, by_activator=False), asked(throttle, by_activator=False)
    throttle.set_pods([])
    assert throttle.leave(runs) == [queues]
    assert throttle.leave(queues) == []


def test_a_pod_runs_no_more_by_both_ways_together() -> None:
    throttle = a_throttle(1, [A])
    runs = asked(throttle)
    queues = asked(throttle, by_activator=False)
    held = asked(throttle)
    assert (queues.stand, held.stand) == (Stand.QUEUES, Stand.HELD)
    assert throttle.leave(runs) == [queues]  # it is at the pod already
    assert throttle.leave(queues) == [held]
