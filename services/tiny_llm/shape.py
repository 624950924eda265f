"""The shape of a Llama-like transformer: what sizes its weights have, and what they are called.

Read from the metadata of a weights file, so that the file alone says what runs. The names are Hugging Face's, and so is
the layout (rows are outputs), so that any tool that reads Llama checkpoints reads ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from knative_mig.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int  # each serves heads / kv_heads query heads
    ffn: int
    context: int  # tokens; positions are rotations, so that this is a promise and costs no weights
    rope_base: float = 10_000.0
    epsilon: float = 1e-5  # of RMSNorm

    def __post_init__(self) -> None:
        sizes = (self.vocabulary, self.width, self.layers, self.heads, self.kv_heads, self.ffn, self.context)
        if min(sizes) < 1 or self.heads % self.kv_heads or self.width % (2 * self.heads):
            raise BadInput(f"no transformer has the shape {asdict(self)}")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_width

    @property
    def kv_bytes_per_token(self) -> int:
        """In float32. Each value has a one beside it, with which attention sums its weights."""
        return self.layers * self.kv_heads * (2 * self.head_width + 1) * 4

    def parameters(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Each with its size. The output layer is the embedding once more."""
        yield EMBEDDING, (self.vocabulary, self.width)
        for layer in range(self.layers):
            yield of_layer(layer, "input_layernorm"), (self.width,)
            yield of_layer(layer, "self_attn.q_proj"), (self.width, self.width)
            yield of_layer(layer, "self_attn.k_proj"), (self.kv_width, self.width)
            yield of_layer(layer, "self_attn.v_proj"), (self.kv_width, self.width)
            yield of_layer(layer, "self_attn.o_proj"), (self.width, self.width)
            yield of_layer(layer, "post_attention_layernorm"), (self.width,)
            yield of_layer(layer, "mlp.gate_proj"), (self.ffn, self.width)
            yield of_layer(layer, "mlp.up_proj"), (self.ffn, self.width)
            yield of_layer(layer, "mlp.down_proj"), (self.width, self.ffn)
        yield LAST_NORM, (self.width,)

    def metadata(self) -> dict[str, str]:
        """As a weights file carries it."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """BadInput: something is missing, or is no number."""
        try:
            sizes: dict[str, Any] = {
                each.name: (float if each.type is float else int)(metadata[each.name]) for each in fields(cls)
            }
            return cls(**sizes)
        except KeyError as error:
            raise BadInput(f"the weights do not say their {error.args[0]}") from None
        except ValueError as error:
            raise BadInput(f"the weights' shape: {error}") from None


EMBEDDING = "model.embed_tokens.weight"
LAST_NORM = "model.norm.weight"


def of_layer(layer: int, name: str) -> str:
    return f"model.layers.{layer}.{name}.weight"
