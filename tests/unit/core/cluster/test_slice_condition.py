"""What a pod's condition says of its slice, and since when."""

from dataclasses import replace

from knative_mig.core.cluster.slice_condition import GIVEN, TYPE, condition, says
from knative_mig.core.gpu_node import Condition

WAITS = Condition(type=TYPE, status=False, reason="NoFreePlace", message="all are busy", since=100.0)


def test_a_pod_waits_and_is_given_its_slice_and_it_says_since_when() -> None:
    waits = condition(None, "NoFreePlace", "all are busy", 100.0)
    assert waits == WAITS
    for_another_reason = condition(waits, "NoSpareSlice", "the older one serves on", 150.0)
    assert (for_another_reason.reason, for_another_reason.since) == ("NoSpareSlice", 100.0)
    given = condition(for_another_reason, GIVEN, "3g.20gb@4 of GPU-1 on n1", 170.0)
    assert (given.status, given.since) == (True, 170.0)
    again = condition(given, "NoFreePlace", "all are busy", 200.0)
    assert (again.status, again.since) == (False, 200.0)


def test_its_time_is_a_whole_second_as_those_of_pods_are() -> None:
    assert condition(None, "NoFreePlace", "", 100.9).since == 100.0


def test_a_long_message_is_cut_and_found_again() -> None:
    long = condition(None, "NoFreePlace", "x" * 5000, 1.0)
    assert len(long.message) == 1024
    assert says(long, condition(None, "NoFreePlace", "x" * 5000, 2.0))


def test_what_is_shown_is_compared_by_its_words_and_not_by_its_time() -> None:
    assert says(replace(WAITS, since=7.0), WAITS)
    assert not says(replace(WAITS, message="one ends in 3 s"), WAITS)
    assert not says(replace(WAITS, reason="NoSpareSlice"), WAITS)
    assert not says(None, WAITS)
