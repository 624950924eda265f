import json
from pathlib import Path

import numpy as np
import pytest

from knative_mig.core.errors import BadInput
from services.tiny_llm import safetensors

TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(1, np.float32)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.write(path, TENSORS, {"width": "3"})
    tensors, metadata = safetensors.read(path)
    assert metadata == {"width": "3"}
    assert tensors.keys() == TENSORS.keys()
    assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.write(path, {"a": np.array([1, 2], np.float32)}, {})
    header = b'{"__metadata__":{},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    assert len(header) % 8 == 0
    assert path.read_bytes() == len(header).to_bytes(8, "little") + header + b"\0\0\x80\x3f\0\0\0\x40"


def file_of(header: object, data: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 8, id="a header as long as the sea"),
        pytest.param((20).to_bytes(8, "little") + b"{}", id="a header longer than the file"),
        pytest.param((2).to_bytes(8, "little") + b"[]", id="a header that is a list"),
        pytest.param(file_of({"a": {"dtype": "F32", "shape": [2]}}), id="no offsets"),
        pytest.param(file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}}), id="past the end"),
        pytest.param(file_of({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}), id="another size"),
        pytest.param(file_of({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}), id="negative"),
        pytest.param(file_of({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}), id="another type"),
        pytest.param(file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}), id="bytes left over"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(whole)
    with pytest.raises(BadInput, match="no safetensors file"):
        safetensors.read(path)
