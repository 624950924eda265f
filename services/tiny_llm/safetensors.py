"""Reads and writes `.safetensors`, as far as we need it: float32 tensors, and a table of strings.

The format: eight bytes with the length of a JSON header, the header (for each tensor its type, its shape and where its
bytes begin and end), then the bytes. A file is data from outside: everything it says is held against its size before
anything is made of it.
"""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knative_mig.core.errors import BadInput

_LARGEST_HEADER: Final = 1 << 20
_ALIGNMENT: Final = 8  # of the first tensor's bytes, as the format's own library has it
_METADATA: Final = "__metadata__"

Tensors = dict[str, NDArray[np.float32]]


def write(path: Path, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]) -> None:
    """The same values give the same bytes."""
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.size * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor, "<f4").tobytes())


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """BadInput: it is none, or holds something else than float32."""
    try:
        return _read(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except (BadInput, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(f"{path} is no safetensors file of ours: {error}") from None


def _read(whole: bytes) -> tuple[Tensors, dict[str, str]]:
    length = int.from_bytes(whole[:8], "little")
    if len(whole) < 8 or length > min(_LARGEST_HEADER, len(whole) - 8):
        raise BadInput(f"a header of {length} bytes in a file of {len(whole)}")
    header = json.loads(whole[8 : 8 + length])
    metadata = {str(name): str(text) for name, text in header.pop(_METADATA, {}).items()}
    data = memoryview(whole)[8 + length :]
    spans = sorted(tuple(each["data_offsets"]) for each in header.values())
    if any(left[1] != right[0] for left, right in pairwise([(0, 0), *spans, (len(data), 0)])):
        raise BadInput("the tensors do not fill the file, or lie on each other")
    return {name: _tensor(name, each, data) for name, each in header.items()}, metadata


def _tensor(name: str, told: dict[str, Any], data: memoryview) -> NDArray[np.float32]:
    begin, end = told["data_offsets"]
    shape = tuple(told["shape"])
    if told["dtype"] != "F32":
        raise BadInput(f"{name} is {told['dtype']}: legal is F32")
    if min(shape, default=1) < 0 or math.prod(shape) * 4 != end - begin:
        raise BadInput(f"{name} of the shape {shape} has {end - begin} bytes")
    return np.frombuffer(data[begin:end], "<f4").reshape(shape).astype(np.float32, copy=False)
