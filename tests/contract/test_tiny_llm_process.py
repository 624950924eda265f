"""`python -m services.tiny_llm` as Knative runs it: how soon it answers, and how it ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.tiny_llm import safetensors
from tests.rigs.tiny_models import SMALL, random_parameters
from tests.rigs.tiny_server import PATIENCE_S, asks


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "services.tiny_llm", "--host", "127.0.0.1", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PORT": "0", **environment},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"port (\d+): (.*)", line)
        assert found, line + process.stderr.read()
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "small.safetensors"
    safetensors.write(path, random_parameters(), SMALL.metadata())
    return str(path)


def test_the_slice_is_what_the_agent_says_and_the_port_what_knative_says(weights: str) -> None:
    environment = {
        "KNATIVE_MIG_MEMORY_MIB": "9728",
        "KNATIVE_MIG_COMPUTE_SHARE": "2/7",
        "KNATIVE_MIG_SM": "28",
        "KNATIVE_MIG_PROFILE": "2g.10gb",
        "KNATIVE_MIG_SLICE": "GPU-0/2g.10gb/0",
    }
    with running("--weights", weights, **environment) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", "/metrics")
        assert b'num_gpu_blocks="256"' in connection.getresponse().read()
        # Idle, with a connection that is kept: nothing is waited for.
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        connection.close()


def test_told_to_end_it_finishes_the_stream_and_is_gone(weights: str) -> None:
    whole = ("--memory-mib", "144384", "--sm", "132", "--compute-share", "1", "--pace-gpu", "H200-141GB")
    with running("--weights", weights, *whole, "--pace", "llama-3-8b") as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("POST", "/v1/completions", json.dumps(asks(max_tokens=60, stream=True)))
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data: ")
        process.send_signal(signal.SIGTERM)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert process.wait(PATIENCE_S) == 0
        connection.close()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--compute-share", "9/7"], 2, "compute share"),
        (["--memory-mib", "4864", "--pace", "llama-2-7b"], 2, "too little for llama-2-7b"),
        (["--weights", __file__], 2, "no safetensors file"),
        (["--weights", "/no/such"], 2, "/no/such cannot be read: No such file or directory"),
        (["--model", ""], 2, "the model has no name"),
    ],
    ids=["a share above one", "a slice too small", "weights that are none", "no weights", "no name"],
)
def test_bad_input_ends_it_with_one_line(weights: str, arguments: list[str], code: int, says: str) -> None:
    command = [sys.executable, "-m", "services.tiny_llm", "--port", "0", "--weights", weights, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == code
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
