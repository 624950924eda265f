"""When a request's time is over."""

from knative_mig.dev.gateway.timeouts import Deadlines, Limits


def test_it_is_over_as_a_whole_whatever_is_written() -> None:
    deadlines = Deadlines(Limits(whole_s=10), 100.0)
    deadlines.wrote(109.0)
    assert deadlines.next_at == 110.0
    assert deadlines.left_s(109.5) == 0.5


def test_an_answer_that_has_begun_need_not_begin_any_more() -> None:
    deadlines = Deadlines(Limits(whole_s=10, answer_begins_s=3), 100.0)
    assert deadlines.next_at == 103.0
    deadlines.wrote(102.0)
    assert deadlines.next_at == 110.0


def test_idle_is_counted_from_the_last_piece_and_from_the_beginning_where_there_is_none() -> None:
    deadlines = Deadlines(Limits(whole_s=100, idle_s=5), 100.0)
    assert deadlines.next_at == 105.0
    deadlines.wrote(104.0)
    assert deadlines.next_at == 109.0
    deadlines.wrote(108.0)
    assert deadlines.next_at == 113.0


def test_limits_that_are_not_set_are_none() -> None:
    assert Deadlines(Limits(), 100.0).next_at == 400.0
