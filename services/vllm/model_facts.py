"""What a model takes of a slice: its weights, and its keys and values a token, from the files that it is kept in.

Called by `__main__`. A folder tells both, and so does the cache of Hugging Face for what has been downloaded before; of
a model that is only a name nothing is known, nor of one whose layers are not all attention, and then vLLM measures for
itself. Where a model needs less than is said here (sliding windows), the rest stays free: never the other way round.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.vllm.failures import Ending, NotStarted

_KEPT_IN: Final = ("*.safetensors", "*.bin")  # the first that there is
_BYTES: Final = 2  # of a weight or a number in the cache: vLLM makes 16 bits of 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    weights_bytes: int
    kv_bytes_per_token: int
    context: int


def facts(config: Mapping[str, Any], file_bytes: int) -> ModelFacts | None:
    """From `config.json` and the size of the weights' files; None: not a model that this understands."""
    text = config.get("text_config", config)
    try:
        layers, heads = int(text["num_hidden_layers"]), int(text["num_attention_heads"])
        context = int(text["max_position_embeddings"])
        if "kv_lora_rank" in text:  # latent attention: one vector a layer for keys and values
            per_layer = int(text["kv_lora_rank"]) + int(text["qk_rope_head_dim"])
        else:
            head = int(text.get("head_dim") or int(text["hidden_size"]) // heads)
            per_layer = 2 * int(text.get("num_key_value_heads") or heads) * head
        kinds = {str(each) for each in text.get("layer_types") or ()}
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if min(layers, per_layer, context, file_bytes) <= 0 or any("attention" not in kind for kind in kinds):
        return None
    if "linear_attention" in kinds:  # a state of fixed size, in blocks of vLLM's own choice
        return None
    wide = "float32" in {each.get(key) for each in (text, config) for key in ("dtype", "torch_dtype")}
    return ModelFacts(
        weights_bytes=file_bytes // 2 if wide else file_bytes,
        kv_bytes_per_token=layers * per_layer * _BYTES,
        context=context,
    )


def hub(environment: Mapping[str, str]) -> Path:
    """Where Hugging Face's library keeps what it has downloaded."""
    if kept := environment.get("HF_HUB_CACHE"):
        return Path(kept)
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
    )
    return Path(home) / "hub"


def find(model: str, hub: Path) -> ModelFacts | None:
    """NotStarted: the model is a path, and there is no model."""
    folder = Path(model)
    if model.startswith(("/", "./", "../")):
        if not any((folder / name).is_file() for name in ("config.json", "params.json")):
            raise NotStarted(Ending.UNKNOWN_MODEL, f"there is no config.json in {model}")
    elif not folder.is_dir():
        kept = hub / f"models--{model.replace('/', '--')}"
        try:
            folder = kept / "snapshots" / (kept / "refs" / "main").read_text().strip()
        except OSError:
            return None
    return _read(folder)


def _read(folder: Path) -> ModelFacts | None:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    for pattern in _KEPT_IN:
        if files := list(folder.glob(pattern)):
            return facts(config, sum(each.stat().st_size for each in files))
    return None
