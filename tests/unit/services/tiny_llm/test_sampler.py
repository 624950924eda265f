import numpy as np
import pytest

from services.tiny_llm.sampler import Sampling, chance, draw
from services.tiny_llm.tokenizer import VOCABULARY, Sign

LOGITS = np.full(VOCABULARY, -30, np.float32)
LOGITS[[10, 20, 30]] = np.log([0.5, 0.3, 0.2])


def tokens(sampling: Sampling, count: int = 2000) -> list[int]:
    return [draw(LOGITS, sampling, index).token for index in range(count)]


def test_greedy_takes_the_likeliest_and_of_equals_the_first() -> None:
    assert set(tokens(Sampling(temperature=0), 5)) == {10}
    assert draw(np.zeros(VOCABULARY, np.float32), Sampling(temperature=0), 0).token == 0


def test_tokens_come_as_often_as_they_are_likely() -> None:
    drawn = tokens(Sampling(seed=3))
    shares = [drawn.count(token) / len(drawn) for token in (10, 20, 30)]
    np.testing.assert_allclose(shares, (0.5, 0.3, 0.2), atol=0.04)


@pytest.mark.parametrize(
    ("sampling", "possible"),
    [
        pytest.param(Sampling(top_k=1), {10}, id="top_k 1"),
        pytest.param(Sampling(top_k=2), {10, 20}, id="top_k 2"),
        pytest.param(Sampling(top_p=0.4), {10}, id="top_p keeps one at least"),
        pytest.param(Sampling(top_p=0.7), {10, 20}, id="top_p keeps the fewest that reach it"),
        pytest.param(Sampling(top_p=0.95), {10, 20, 30}, id="top_p keeps all that it needs"),
        pytest.param(Sampling(temperature=0.01), {10}, id="a low temperature is nearly greedy"),
    ],
)
def test_what_may_be_drawn(sampling: Sampling, possible: set[int]) -> None:
    assert set(tokens(sampling)) == possible


def test_a_seed_and_a_step_are_all_that_chance_depends_on() -> None:
    assert tokens(Sampling(seed=1), 50) == tokens(Sampling(seed=1), 50)
    assert tokens(Sampling(seed=1), 50) != tokens(Sampling(seed=2), 50)
    assert draw(LOGITS, Sampling(seed=1), 49) == draw(LOGITS, Sampling(seed=1), 49)


def test_chance_is_even_and_never_one() -> None:
    values = [chance(seed, index) for seed in range(40) for index in range(50)]
    assert 0 <= min(values) < 0.01
    assert 0.99 < max(values) < 1
    assert abs(sum(values) / len(values) - 0.5) < 0.02
    assert len(set(values)) == len(values)


def test_the_signs_of_the_template_are_never_drawn_but_for_the_end() -> None:
    loud = np.zeros(VOCABULARY, np.float32)
    loud[256:] = 50
    assert draw(loud, Sampling(seed=1), 0).token == Sign.END
    assert draw(loud, Sampling(seed=1, ignore_end=True), 0).token < Sign.BEGIN


def test_logprobs_are_those_before_temperature() -> None:
    drawn = draw(LOGITS, Sampling(temperature=0, logprobs=2), 0)
    assert drawn.logprob == pytest.approx(np.log(0.5), abs=1e-6)
    assert [token for token, _ in drawn.alternatives] == [10, 20]
    assert drawn.alternatives[1][1] == pytest.approx(np.log(0.3), abs=1e-6)
    assert draw(LOGITS, Sampling(temperature=0, logprobs=0), 0).alternatives == ()
