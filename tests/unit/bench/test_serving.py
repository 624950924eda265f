"""What `bench.serving` times, without the clock: that a batch's tokens are counted, all of them but the first."""

from bench.serving import _engine_tokens_per_s
from tests.rigs.tiny_models import random_weights


def test_a_batch_is_timed_to_its_end() -> None:
    assert _engine_tokens_per_s(random_weights(), 3, 5, 1) > 0
