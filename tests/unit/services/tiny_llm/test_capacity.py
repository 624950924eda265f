from fractions import Fraction

import pytest

from knative_mig.core.errors import BadInput
from services.tiny_llm.capacity import Capacity, Slice
from services.tiny_llm.engine import Step
from services.tiny_llm.training.__main__ import SHAPE

SMALL = Slice(memory_mib=4864, compute_share=Fraction(1, 7), multiprocessors=14)
WHOLE = Slice(memory_mib=40192, compute_share=Fraction(1), multiprocessors=98)


def test_a_bigger_slice_carries_more() -> None:
    small, whole = (Capacity.of(each, SHAPE).limits for each in (SMALL, WHOLE))
    assert small.generations == 8
    assert whole.generations == 56
    assert whole.kv_tokens > 8 * small.kv_tokens


def test_cached_tokens_go_by_memory_and_run_out_before_the_places_do() -> None:
    limits = Capacity.of(SMALL, SHAPE).limits
    assert limits.kv_tokens * SHAPE.kv_bytes_per_token == pytest.approx(4864 * 2**20 / 256, rel=0.01)
    assert SHAPE.context < limits.kv_tokens < limits.generations * SHAPE.context


def test_paced_as_another_model_the_slice_has_what_that_one_would_have() -> None:
    slice_ = Slice(memory_mib=19968, compute_share=Fraction(1, 7), multiprocessors=14)
    paced = Capacity.of(slice_, SHAPE, paced_as="llama-2-7b", gpu="A100-80GB")
    assert paced.limits.kv_tokens == pytest.approx(8331, abs=64)
    assert paced.pace is not None
    assert paced.pace(Step(decoded=1, context=256)) == pytest.approx(0.0373, rel=0.01)
    assert paced.pace(Step()) == 0
    assert Capacity.of(slice_, SHAPE).pace is None


def test_a_slice_that_does_not_hold_the_model_is_refused() -> None:
    with pytest.raises(BadInput, match="4864 MiB are too little for llama-2-7b"):
        Capacity.of(SMALL, SHAPE, paced_as="llama-2-7b")
    with pytest.raises(BadInput, match="1 MiB are too little for the model"):
        Capacity.of(Slice(memory_mib=1), SHAPE)


@pytest.mark.parametrize("share", ["", "0/7", "8/7", "1/0", "a", "-1/7"])
def test_a_share_that_is_no_part_of_a_whole_is_refused(share: str) -> None:
    with pytest.raises(BadInput, match="written like 3/7"):
        Slice.of(memory_mib=4864, compute_share=share, multiprocessors=14)
