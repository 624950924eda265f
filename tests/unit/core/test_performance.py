"""The law against what was worked out and measured elsewhere, so that a change of a factor shows."""

import pytest

from knative_mig.core.performance import GPUS, LLMS, SliceSpeed, kv_tokens, prefill_s, step_s

A100 = GPUS["A100-80GB"]
SLICES = {
    "1g.20gb": SliceSpeed.of(A100, memory_mib=19968, multiprocessors=14),
    "3g.40gb": SliceSpeed.of(A100, memory_mib=40192, multiprocessors=42),
    "full": SliceSpeed.of(A100, memory_mib=81920, multiprocessors=108),
}


@pytest.mark.parametrize(
    ("model", "where", "milliseconds"),
    [
        ("llama-2-7b", "1g.20gb", {1: 37.3, 8: 40.1, 16: 43.6}),
        ("llama-2-7b", "3g.40gb", {1: 18.9, 8: 20.3, 16: 21.9, 32: 25.4, 64: 33.3}),
        ("llama-2-7b", "full", {1: 9.8, 8: 10.4, 16: 11.2, 32: 12.8, 64: 16.4}),
        ("llama-3-8b", "1g.20gb", {1: 41.9, 8: 42.8, 16: 44.2}),
        ("llama-3-8b", "3g.40gb", {1: 21.3, 16: 22.2, 64: 27.3}),
        ("llama-3-8b", "full", {1: 10.9, 16: 11.3, 64: 13.4}),
    ],
)
def test_a_step_takes_what_the_worked_table_says(model: str, where: str, milliseconds: dict[int, float]) -> None:
    for batch, expected in milliseconds.items():
        took = 1000 * step_s(LLMS[model], SLICES[where], decoding=batch, context=256)
        assert took == pytest.approx(expected, rel=0.02), batch


@pytest.mark.parametrize(
    ("model", "memory_mib", "tokens"),
    [("llama-2-7b", 19968, 8331), ("llama-2-7b", 40192, 44734), ("llama-3-8b", 19968, 13612), ("llama-2-7b", 9728, 0)],
)
def test_the_memory_that_the_weights_leave_holds_so_many_tokens(model: str, memory_mib: int, tokens: int) -> None:
    assert kv_tokens(LLMS[model], memory_mib) == pytest.approx(tokens, rel=0.01)


def test_a_prompt_in_a_step_makes_it_longer_by_what_the_prompt_takes() -> None:
    cost, speed = LLMS["llama-2-7b"], SLICES["3g.40gb"]
    alone = step_s(cost, speed, decoding=4, context=100)
    with_prompt = step_s(cost, speed, decoding=4, context=100, prompt_tokens=512)
    assert with_prompt - alone == pytest.approx(prefill_s(cost, speed, 512))
    assert prefill_s(cost, speed, 512) == pytest.approx(0.089, rel=0.05)


def test_nothing_to_do_takes_no_time() -> None:
    assert step_s(LLMS["llama-2-7b"], SLICES["full"], decoding=0, context=0) == 0


def test_no_slice_is_faster_than_its_gpu() -> None:
    assert SliceSpeed.of(A100, memory_mib=90_000, multiprocessors=200) == SliceSpeed(
        bytes_per_s=A100.bytes_per_s, flops=A100.flops, memory_mib=90_000
    )
