"""What a model takes of a slice, from the files that it is kept in."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.vllm.failures import Ending, NotStarted
from services.vllm.model_facts import ModelFacts, facts, find, hub

LLAMA_3: dict[str, Any] = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


@pytest.mark.parametrize(
    ("changes", "per_token", "weights"),
    [
        ({}, 131_072, 1000),
        ({"num_key_value_heads": None}, 524_288, 1000),
        ({"head_dim": 256}, 262_144, 1000),
        ({"torch_dtype": "float32"}, 131_072, 500),
        ({"torch_dtype": None, "dtype": "float32"}, 131_072, 500),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 36_864, 1000),
        ({"layer_types": ["sliding_attention", "full_attention"]}, 131_072, 1000),
    ],
    ids=[
        "grouped heads",
        "a head of keys for each of queries",
        "heads that are wider",
        "32 bits, which vLLM halves",
        "32 bits, as newer files say it",
        "latent attention",
        "windows: counted as if they were whole",
    ],
)
def test_a_token_takes_what_its_layers_keep(changes: dict[str, Any], per_token: int, weights: int) -> None:
    found = facts(LLAMA_3 | changes, 1000)
    assert found == ModelFacts(weights_bytes=weights, kv_bytes_per_token=per_token, context=8192)


def test_a_model_that_also_sees_is_what_its_text_part_is() -> None:
    assert facts({"text_config": LLAMA_3, "vision_config": {"num_hidden_layers": 99}}, 1000) == facts(LLAMA_3, 1000)


@pytest.mark.parametrize(
    "config",
    [
        {},
        LLAMA_3 | {"num_hidden_layers": "many"},
        LLAMA_3 | {"num_attention_heads": 0, "num_key_value_heads": 0},
        LLAMA_3 | {"layer_types": ["full_attention", "mamba"]},
        LLAMA_3 | {"layer_types": ["full_attention", "linear_attention"]},
        {"text_config": "a"},
    ],
    ids=["nothing", "no number", "no heads", "layers with a state", "layers with another state", "no object"],
)
def test_of_what_it_does_not_understand_it_says_nothing(config: dict[str, Any]) -> None:
    assert facts(config, 1000) is None


def kept(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(LLAMA_3))
    (folder / "model-1.safetensors").write_bytes(b"x" * 600)
    (folder / "model-2.safetensors").write_bytes(b"x" * 400)
    (folder / "pytorch_model.bin").write_bytes(b"x" * 5000)  # the same once more
    return folder


def test_a_folder_and_the_cache_tell_the_same(tmp_path: Path) -> None:
    folder = kept(tmp_path / "models" / "llama")
    cache = tmp_path / "hub"
    commit = "8cde5ca8"
    kept(cache / "models--meta--llama" / "snapshots" / commit)
    (cache / "models--meta--llama" / "refs").mkdir()
    (cache / "models--meta--llama" / "refs" / "main").write_text(commit)
    assert find(str(folder), cache) == find("meta/llama", cache) == facts(LLAMA_3, 1000)
    assert find("meta/never-downloaded", cache) is None


def test_a_path_without_a_model_is_told_before_anything_starts(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path):
        with pytest.raises(NotStarted, match=r"^unknown model: ") as refused:
            find(str(path), tmp_path)
        assert refused.value.ending is Ending.UNKNOWN_MODEL


def test_files_that_cannot_be_read_are_left_to_vllm(tmp_path: Path) -> None:
    folder = kept(tmp_path / "llama")
    (folder / "config.json").write_text("[1]")
    assert find(str(folder), tmp_path) is None
    (folder / "config.json").write_text("{")
    assert find(str(folder), tmp_path) is None


def test_the_cache_is_where_hugging_face_has_it() -> None:
    assert hub({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}) == Path("/a")
    assert hub({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}) == Path("/b/hub")
    assert hub({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")
    assert hub({}) == Path.home() / ".cache" / "huggingface" / "hub"
