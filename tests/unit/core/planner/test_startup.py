from knative_mig.core.inventory import NodeName
from knative_mig.core.planner.startup import ALIKE_EVERYWHERE, MeasuredStarts, StartTimes
from tests.rigs.worlds import function

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


def test_a_node_that_differs_answers_for_itself_and_all_others_as_usual() -> None:
    starts = StartTimes(20.0, {N2: 3.0})
    assert [starts.whole_seconds(node) for node in (N1, N2, N3)] == [20, 3, 20]


def test_less_than_a_second_is_noise() -> None:
    starts = StartTimes(3.4, {N1: 3.0, N2: 2.6})
    assert {starts.whole_seconds(node) for node in (N1, N2, N3)} == {3}


def test_a_function_that_never_started_is_taken_to_start_alike_everywhere() -> None:
    assert MeasuredStarts()(function("new")) == ALIKE_EVERYWHERE
    assert ALIKE_EVERYWHERE.whole_seconds(N1) == 0


def test_what_was_measured_of_a_function_is_its_own() -> None:
    known = MeasuredStarts(usual_s={function("f"): 20.0}, on_node={function("f"): {N2: 3.0}})
    assert known(function("f")) == StartTimes(20.0, {N2: 3.0})
    assert known(function("g")) == ALIKE_EVERYWHERE
