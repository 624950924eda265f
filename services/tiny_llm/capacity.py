"""What a slice is good for: how many generations at once, how many tokens of keys and values, and how fast.

Called by `process` with what the agent wrote into the pod's environment. The model would fit a thousand times over, so
both are fractions on purpose, the same for each slice: a bigger one carries more, and on a full one requests wait, as
with a model that matters. Paced as such a model, the slice has what that one would have on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

from knative_mig.core.errors import BadInput
from knative_mig.core.performance import GPUS, LLMS, SliceSpeed, kv_tokens, step_s
from services.tiny_llm.engine import Step
from services.tiny_llm.kv_blocks import BLOCK, blocks_for
from services.tiny_llm.scheduler import Limits
from services.tiny_llm.shape import Shape

Pace = Callable[[Step], float]  # the seconds that a step takes at least
_GENERATIONS: Final = 56  # at once on a whole GPU: eight for each of seven compute slices
_OF_MEMORY: Final = 256  # one part in so many of the slice's memory is taken, on a host that has less than its GPUs
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """By default the smallest there is, for who runs this by hand."""

    memory_mib: int = 4864
    compute_share: Fraction = Fraction(1, 7)
    multiprocessors: int = 14

    @classmethod
    def of(cls, *, memory_mib: int, compute_share: str, multiprocessors: int) -> Self:
        """BadInput: the share is no part of a whole."""
        try:
            share = Fraction(compute_share)
        except (ValueError, ZeroDivisionError):
            share = Fraction(0)
        if not 0 < share <= 1:
            raise BadInput(f"the compute share is {compute_share!r}: it is written like 3/7")
        return cls(memory_mib=memory_mib, compute_share=share, multiprocessors=multiprocessors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    limits: Limits
    pace: Pace | None = None

    @classmethod
    def of(cls, slice_: Slice, shape: Shape, *, paced_as: str = "", gpu: str = "A100-80GB") -> Self:
        """BadInput: the slice does not hold the model that is to be stood for, or so little that nothing fits."""
        generations = max(1, round(_GENERATIONS * slice_.compute_share))
        tokens = slice_.memory_mib * _MIB // _OF_MEMORY // shape.kv_bytes_per_token
        pace: Pace | None = None
        if paced_as:
            cost = LLMS[paced_as]
            speed = SliceSpeed.of(GPUS[gpu], memory_mib=slice_.memory_mib, multiprocessors=slice_.multiprocessors)
            tokens = kv_tokens(cost, slice_.memory_mib)

            def pace(step: Step) -> float:
                return step_s(
                    cost, speed, decoding=step.decoded, context=step.context, prompt_tokens=step.prompt_tokens
                )

        # More than every generation at its longest is never used.
        blocks = min(tokens // BLOCK, generations * blocks_for(shape.context))
        if blocks < 2:
            raise BadInput(f"{slice_.memory_mib} MiB are too little for {paced_as or 'the model'}")
        return cls(limits=Limits(generations=generations, blocks=blocks), pace=pace)
