"""What `bench.moves` makes of its stopwatch: the goal of a gap, and the law that moves follow."""

import pytest

from bench.moves import MoveTimes, Overhead, fitted


def a_move(input_tokens: int, output_tokens: int, took_s: float) -> MoveTimes:
    return MoveTimes(
        input_tokens=input_tokens, output_tokens=output_tokens, took_s=took_s, gap_s=0.27, token_s=0.04, one_shot_s=1.0
    )


def test_a_gap_is_held_to_two_tokens_and_a_tenth_of_a_second() -> None:
    assert a_move(1, 1, 1.0).over_goal == pytest.approx(1.5)


def test_the_law_of_moves_is_found_where_there_is_one() -> None:
    points = [(900, 50), (1000, 300), (1200, 100), (1300, 399), (950, 222)]
    moves = [a_move(read, said, 0.1 + 0.002 * read + 0.003 * said) for read, said in points]
    assert fitted(moves) == pytest.approx((0.1, 0.002, 0.003, 0.0), abs=1e-9)


def test_a_relay_costs_what_it_adds() -> None:
    assert Overhead(direct=0.2, relayed=0.45).added == pytest.approx(0.25)
