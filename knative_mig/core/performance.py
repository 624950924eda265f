"""How long a language model takes for a step on a slice: one law for what is read and what is computed.

Called by `services.tiny_llm`, which paces itself as the model that it stands for. A step reads the weights once and
each sequence's keys and values, and computes so much a token; reading and computing overlap in part, which the root of
their squares says better than their sum or the greater of both. The factors are what real engines need over what the
hardware promises, found on public measurements of 7B to 14B models: one batch and length in twelve is off by 18 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmCost:
    weights_bytes: float  # that fill memory
    read_bytes: float  # of them, in a step: all but the input embedding
    flops_per_token: float
    kv_bytes_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpeed:
    """A whole GPU, as its data sheet has it."""

    bytes_per_s: float
    flops: float  # of dense 16-bit products
    multiprocessors: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSpeed:
    bytes_per_s: float
    flops: float
    memory_mib: int

    @classmethod
    def of(cls, gpu: GpuSpeed, *, memory_mib: int, multiprocessors: int) -> "SliceSpeed":
        """Bandwidth goes by eighths of the memory, of which a slice shows a little less than it has."""
        eighths = min(8, max(1, round(8 * memory_mib / gpu.memory_mib)))
        return cls(
            bytes_per_s=gpu.bytes_per_s * eighths / 8,
            flops=gpu.flops * min(1.0, multiprocessors / gpu.multiprocessors),
            memory_mib=memory_mib,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    weights: float = 1.40
    compute: float = 1.50
    kv: float = 1.40
    launch_s: float = 0.0006  # the host's part of a step, which no slice makes smaller
    prefill: float = 0.60  # of the promised flops, while prompts are read
    usable_memory: float = 0.90
    reserved_bytes: float = 1e9  # for what is neither weights nor keys and values


LAW: Final = Law()
GPUS: Final[Mapping[str, GpuSpeed]] = {
    "A100-40GB": GpuSpeed(bytes_per_s=1.555e12, flops=312e12, multiprocessors=108, memory_mib=40960),
    "A100-80GB": GpuSpeed(bytes_per_s=2.039e12, flops=312e12, multiprocessors=108, memory_mib=81920),
    "H100-80GB": GpuSpeed(bytes_per_s=3.35e12, flops=989e12, multiprocessors=132, memory_mib=81920),
    "H200-141GB": GpuSpeed(bytes_per_s=4.8e12, flops=989e12, multiprocessors=132, memory_mib=144384),
}
LLMS: Final[Mapping[str, LlmCost]] = {
    "llama-2-7b": LlmCost(
        weights_bytes=13.48e9, read_bytes=13.21e9, flops_per_token=13.2e9, kv_bytes_per_token=524_288
    ),
    "llama-3-8b": LlmCost(
        weights_bytes=16.06e9, read_bytes=15.01e9, flops_per_token=15.0e9, kv_bytes_per_token=131_072
    ),
}


def step_s(
    cost: LlmCost, speed: SliceSpeed, *, decoding: int, context: float, prompt_tokens: int = 0, law: Law = LAW
) -> float:
    """`decoding` sequences get a token each, looking back on `context` tokens on average; the rest are of prompts."""
    tokens = decoding + prompt_tokens
    if not tokens:
        return 0.0
    reading = law.weights * cost.read_bytes / speed.bytes_per_s
    computing = law.compute * decoding * cost.flops_per_token / speed.flops
    attending = law.kv * decoding * context * cost.kv_bytes_per_token / speed.bytes_per_s
    return law.launch_s + hypot(reading, computing) + attending + prefill_s(cost, speed, prompt_tokens, law=law)


def prefill_s(cost: LlmCost, speed: SliceSpeed, tokens: int, *, law: Law = LAW) -> float:
    return tokens * cost.flops_per_token / (law.prefill * speed.flops)


def kv_tokens(cost: LlmCost, memory_mib: int, *, law: Law = LAW) -> int:
    """How many tokens the slice remembers beside the weights; 0: it does not hold those."""
    left = law.usable_memory * memory_mib * _MIB - cost.weights_bytes - law.reserved_bytes
    return max(0, int(left // cost.kv_bytes_per_token))
