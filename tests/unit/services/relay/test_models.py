"""What two engines tell of a model is the same when they have the same, and not else."""

from typing import Any

import pytest

from services.relay.models import with_models
from services.relay.resumable import VLLM

LORA = {"id": "lora", "root": "/adapters/7", "parent": "llama"}
LLAMA = {"id": "llama", "root": "meta/llama-2-7b", "max_model_len": 4096}


def test_a_model_is_known_by_its_name_and_where_it_comes_from_and_its_weights() -> None:
    traits = with_models(VLLM, [LLAMA, LORA, {"id": "tiny", "fingerprint": "ab12"}])
    assert traits.model_of({"model": "llama"}) == "llama, root meta/llama-2-7b"
    assert traits.model_of({"model": "lora"}) == "lora, root /adapters/7"
    assert traits.model_of({"model": "tiny"}) == "tiny, fingerprint ab12"
    assert traits.model_of({}) == "llama, root meta/llama-2-7b", "the first is asked where none is named"
    assert traits.model_of({"model": "other"}) == ""
    assert VLLM.model_of({}) == ""


@pytest.mark.parametrize(
    ("models", "longest"),
    [([LLAMA], 4096), ([LLAMA, {"id": "b", "max_model_len": 9}], 9), ([LLAMA, LORA], None), ([], None)],
)
def test_the_context_is_that_of_the_shortest(models: list[Any], longest: int | None) -> None:
    assert with_models(VLLM, models).longest == longest
