"""A weights file as the model multiplies with it.

Made once at start. Linear layers that read the same input lie side by side, and the norm before them is multiplied in.
The subtle thing is the panels: a BLAS splits a big matrix among its threads, whose number and whims would then decide
how sums round (and cost more than they bring at this size); no panel is big enough for that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from knative_mig.core.errors import BadInput
from services.tiny_llm import safetensors
from services.tiny_llm.shape import EMBEDDING, LAST_NORM, Shape, of_layer

Floats = NDArray[np.float32]
_LARGEST_PANEL: Final = 9_000  # numbers; OpenBLAS goes parallel from 9,216


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix that is multiplied with each row by itself, so that a row's result does not depend on its neighbours.

    One call with all rows would be another BLAS kernel for each number of rows, and each sums in its own order.
    """

    panels: Floats  # panel, input, output

    @classmethod
    def of(cls, rows_are_outputs: Floats) -> Self:
        outputs, inputs = rows_are_outputs.shape
        count = next(n for n in range(1, outputs + 1) if outputs % n == 0 and outputs // n * inputs <= _LARGEST_PANEL)
        return cls(np.ascontiguousarray(rows_are_outputs.reshape(count, -1, inputs).swapaxes(1, 2)))

    def __call__(self, rows: Floats) -> Floats:
        out: Floats = rows[:, None, None, :] @ self.panels
        return out.reshape(len(rows), -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    qkv: Linear
    o: Linear
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    shape: Shape
    embedding: Floats
    layers: tuple[Layer, ...]
    logits: Linear

    @classmethod
    def load(cls, path: Path) -> Self:
        """BadInput: they are not what they say they are."""
        tensors, metadata = safetensors.read(path)
        return cls.of(Shape.of_metadata(metadata), tensors)

    @classmethod
    def of(cls, shape: Shape, tensors: dict[str, NDArray[Any]]) -> Self:
        for name, size in shape.parameters():
            if name not in tensors or tensors[name].shape != size:
                raise BadInput(f"the weights' {name} is not there, or not of the shape {size}")

        def side_by_side(norm: str, *names: str) -> Linear:
            return Linear.of(np.concatenate([tensors[name] for name in names]) * tensors[norm])

        def layer(number: int) -> Layer:
            name = [of_layer(number, f"self_attn.{each}_proj") for each in "qkvo"]
            gate, up, down = (of_layer(number, f"mlp.{each}_proj") for each in ("gate", "up", "down"))
            return Layer(
                qkv=side_by_side(of_layer(number, "input_layernorm"), *name[:3]),
                o=Linear.of(tensors[name[3]]),
                gate_up=side_by_side(of_layer(number, "post_attention_layernorm"), gate, up),
                down=Linear.of(tensors[down]),
            )

        return cls(
            shape=shape,
            embedding=tensors[EMBEDDING],
            layers=tuple(layer(number) for number in range(shape.layers)),
            logits=side_by_side(LAST_NORM, EMBEDDING),
        )
