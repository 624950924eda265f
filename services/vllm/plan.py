"""From a slice and a model to the flags of `vllm serve`, each with its reason.

Called by `__main__`; pure. vLLM sets its limits by what NVML says of the GPU: for a slice that is the whole GPU's
memory, or a refusal that it takes for no memory at all (vllm #41776, #55381). So every flag whose default comes from
there is set here: bytes for keys and values, the share of memory, sequences at once, tokens in a step. The arithmetic
is that of `core.performance`, so that a function fits here where it was said to fit. What the function's own flags set
is left to them.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Self

from knative_mig.core.errors import BadInput
from knative_mig.core.performance import LAW
from services.vllm.annotations import Lengths
from services.vllm.failures import Ending, NotStarted
from services.vllm.model_facts import ModelFacts
from services.vllm.own_flags import given, is_chunked, number

_MIB: Final = 1024 * 1024
_GB: Final = 1e9
_NO_LIMIT: Final = '{"max_new_tokens": null}'  # of the model's generation_config.json
BLOCK: Final = 16  # tokens that vLLM keeps together
_SEQUENCES: Final = 512  # at once on a whole GPU: beyond, a token takes longer than readers wait
_BATCHED: Final = 8192  # tokens in a step of a whole GPU: more prefill at once holds up those that decode
_DRAIN_S: Final = 300  # Knative's longest request by default; a pod has its grace period in any case
_LENGTH: Final = 1024  # of a request, in and out, where nobody says
# How the launcher asks whether vLLM is healthy, on 127.0.0.1 and over HTTP: not the function's to change.
OURS: Final = frozenset({
    "--host", "--port", "--uds", "--headless", "--grpc", "--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs",
    "--ssl-cert-reqs", "--ssl-ciphers",
})  # fmt: skip
_WIDE: Final = frozenset({"float32", "float"})  # of --dtype: the others have 16 bits
# With these the weights' files no longer say what is taken of the slice, or it is shared out otherwise.
OF_MEMORY: Final = frozenset(
    {
        "--quantization", "--cpu-offload-gb", "--hf-overrides", "--speculative-config", "--spec-model", "--enable-lora",
        "--gpu-memory-utilization", "--kv-cache-memory-bytes",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """As the node agent describes it; a whole GPU of unknown memory by default."""

    memory_mib: int | None = None
    compute_share: Fraction = Fraction(1)

    @classmethod
    def of(cls, *, memory_mib: int | None, compute_share: str) -> Self:
        """BadInput: the share is no part of a whole."""
        try:
            share = Fraction(compute_share)
        except (ValueError, ZeroDivisionError):
            share = Fraction(0)
        if not 0 < share <= 1:
            raise BadInput(f"the compute share is {compute_share!r}: it is written like 3/7")
        return cls(memory_mib=memory_mib, compute_share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    model: str
    port: int
    host: str = "0.0.0.0"  # noqa: S104 - queue-proxy and probes come from outside, where no relay is before it
    lengths: Lengths = field(default_factory=Lengths)
    own: tuple[str, ...] = ()  # flags of vLLM's that the function sets itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    name: str
    value: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    flags: tuple[Flag, ...]
    arguments: tuple[str, ...]  # after `vllm`


def plan(slice_: Slice, facts: ModelFacts | None, wanted: Wanted) -> Plan:
    """NotStarted: the model does not fit on the slice, with what would."""
    own = given(wanted.own)
    flags = [
        Flag(name="--host", value=wanted.host, why="where it is asked: by anybody, or by the relay before it"),
        Flag(name="--port", value=str(wanted.port), why="the one that Knative tells"),
        Flag(name="--shutdown-timeout", value=str(_DRAIN_S), why="what is in flight is finished"),
        Flag(
            name="--override-generation-config",
            value=_NO_LIMIT,
            why="a chat that sets no limit has the context's, which another replica that goes on with it knows too",
        ),
        Flag(name="--gpu-memory-utilization", value=f"{LAW.usable_memory:.2f}", why="of the slice; the rest is CUDA's"),
    ]
    most = max(1, round(_SEQUENCES * slice_.compute_share))
    sequences, because = most, f"{slice_.compute_share} of the GPU"
    if ours := sorted(own.keys() & OURS):
        raise BadInput(
            f"{ours[0]} is the launcher's own: it asks over HTTP whether vLLM is healthy, on a port of its own"
        )
    if facts is not None and own.get("--dtype") in _WIDE:
        facts = replace(facts, weights_bytes=2 * facts.weights_bytes, kv_bytes_per_token=2 * facts.kv_bytes_per_token)
    longest = number(own.get("--max-model-len"))
    if facts is not None and slice_.memory_mib is not None and not own.keys() & OF_MEMORY:
        room = _room(slice_.memory_mib, facts)
        tokens = room // facts.kv_bytes_per_token // BLOCK * BLOCK
        context = _context(slice_.memory_mib, facts, tokens, wanted)
        flags += [
            Flag(
                name="--kv-cache-memory-bytes",
                value=str(tokens * facts.kv_bytes_per_token),
                why=f"{LAW.usable_memory:.0%} of {slice_.memory_mib} MiB, less {facts.weights_bytes / _GB:.2f} GB of "
                f"weights and {LAW.reserved_bytes / _GB:.0f} GB to compute in: {tokens} tokens",
            ),
            Flag(
                name="--max-model-len", value=str(context), why="the longest request: the model's own, or all there is"
            ),
        ]
        longest = longest or context
        length = min(context, _length(wanted.lengths))
        if tokens // length < most:
            sequences, because = tokens // length, f"{tokens} tokens are so many requests of {length}"
    step = number(own.get("--max-num-batched-tokens"))
    if step is not None and step < sequences:
        sequences, because = step, "no more than tokens in a step"
    flags.append(Flag(name="--max-num-seqs", value=str(sequences), why=because))
    flags += _of_a_step(slice_, wanted, number(own.get("--max-num-seqs")) or sequences, longest)
    kept = tuple(flag for flag in flags if flag.name not in own)
    pairs = [text for flag in kept for text in (flag.name, flag.value)]
    return Plan(flags=kept, arguments=("serve", wanted.model, *pairs, *wanted.own))


def _of_a_step(slice_: Slice, wanted: Wanted, sequences: int, longest: int | None) -> tuple[Flag, ...]:
    """Not too few for vLLM, which refuses less than a token for each sequence, and less than an unchunked prompt."""
    tokens, why = _batched(slice_.compute_share), f"{slice_.compute_share} of it"
    if tokens < sequences:
        tokens, why = sequences, "a token for each sequence"
    if not is_chunked(wanted.own):
        if longest is None:  # and of what is not said vLLM takes enough
            return ()
        if tokens < longest:
            tokens, why = longest, "the longest prompt, which is not to be cut into chunks"
    return (Flag(name="--max-num-batched-tokens", value=str(tokens), why=why),)


def _batched(share: Fraction) -> int:
    """A power of two: kernels are tuned for those."""
    tokens = _BATCHED
    while tokens > _BATCHED * share:
        tokens //= 2
    return tokens


def _room(memory_mib: int, facts: ModelFacts) -> int:
    return int(LAW.usable_memory * memory_mib * _MIB - LAW.reserved_bytes) - facts.weights_bytes


def _context(memory_mib: int, facts: ModelFacts, tokens: int, wanted: Wanted) -> int:
    """The longest request that is taken: as the model has it, as far as there is room."""
    least = min(facts.context, _length(wanted.lengths))
    if tokens < least:
        needed = facts.weights_bytes + LAW.reserved_bytes + (least + BLOCK) * facts.kv_bytes_per_token
        raise NotStarted(
            Ending.DOES_NOT_FIT,
            f"{wanted.model} has {facts.weights_bytes / _GB:.2f} GB of weights and takes {facts.kv_bytes_per_token} "
            f"bytes a token; for {least} tokens the slice needs {_mib(needed / LAW.usable_memory)} MiB, "
            f"and has {memory_mib}",
        )
    return min(facts.context, tokens)


def _mib(size: float) -> int:
    return -int(-size // _MIB)


def _length(lengths: Lengths) -> int:
    if lengths.input_tokens is None and lengths.output_tokens is None:
        return _LENGTH
    return (lengths.input_tokens or _LENGTH // 2) + (lengths.output_tokens or _LENGTH // 2)
