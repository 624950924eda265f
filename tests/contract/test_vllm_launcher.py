"""`python -m services.vllm` around a stand-in for vLLM, which takes what the pinned release takes."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import vllm_stub
from tests.rigs.kept_ports import kept_ports

PATIENCE_S = 60.0
STUB = shlex.join([sys.executable, vllm_stub.__file__])
SLICE = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
ON_A_SLICE = {
    "NVIDIA_VISIBLE_DEVICES": SLICE,
    "KNATIVE_MIG_MEMORY_MIB": "19968",
    "KNATIVE_MIG_COMPUTE_SHARE": "1/7",
    "KNATIVE_MIG_SM": "14",
    "KNATIVE_MIG_PROFILE": "1g.20gb",
    "KNATIVE_MIG_SLICE": "GPU-0/1g.20gb/0",
}


@dataclass
class Container:
    """What a function's pod would run, with its environment and nothing of ours."""

    folder: Path
    port: int

    def start(self, model: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        ours = ("KNATIVE_MIG", "CUDA_VISIBLE")
        others = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        return subprocess.Popen(
            [sys.executable, "-m", "services.vllm", model, "--engine", STUB, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **others,
                **ON_A_SLICE,
                "PORT": str(self.port),
                "HF_HOME": str(self.folder),
                "STUB_SEEN": str(self.folder / "seen"),
                **environment,
            },
        )

    def ends(self, model: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """The code, and what it wrote to stderr."""
        process = self.start(model, *arguments, **environment)
        _, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, err

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the engine was started with; None: it was not."""
        path = self.folder / "seen"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found

    def engine(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_S
        while (seen := self.seen) is None:
            assert time.monotonic() < until, "the engine was not started"
            time.sleep(0.05)
        return seen


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with kept_ports(1) as (port,):
        yield Container(tmp_path, port)


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()  # and so its engine, which outlives it otherwise
        process.communicate(timeout=PATIENCE_S)


def until_healthy(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "healthy after" in line:
            return
    pytest.fail("".join(lines))


def llama(folder: Path) -> str:
    """Llama-3-8B's shape, and weights of its size that take no room on the disk."""
    folder.mkdir()
    config = {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
    }
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(16_060_000_000)
    return str(folder)


def test_the_engine_gets_the_flags_of_its_slice_and_an_environment_that_it_understands(
    container: Container, started: list["subprocess.Popen[str]"]
) -> None:
    model = llama(container.folder / "llama")
    annotations = container.folder / "annotations"
    annotations.write_text('knative-mig.dev/input-tokens="384"\nknative-mig.dev/output-tokens="128"\n')
    process = container.start(
        model, "--annotations", str(annotations), "--", "--dtype", "half", CUDA_VISIBLE_DEVICES=SLICE
    )
    started.append(process)
    until_healthy(process)
    seen = container.engine()
    asked = vllm_stub.parser().parse_args(seen["arguments"][1:])
    assert (asked.model_tag, asked.port, asked.dtype) == (model, container.port, "half")
    assert asked.kv_cache_memory_bytes == 13_600 * 131_072
    assert asked.max_num_seqs == 26
    assert "CUDA_VISIBLE_DEVICES" not in seen["environment"]
    assert seen["environment"]["NVIDIA_VISIBLE_DEVICES"] == SLICE
    assert "vllm:num_requests_running" in container.get("/metrics")[1]


def test_told_to_end_it_tells_the_engine_and_ends_with_zero(
    container: Container, started: list["subprocess.Popen[str]"]
) -> None:
    process = container.start("a/model")
    started.append(process)
    until_healthy(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Shutting down" in out  # what the engine writes is the container's log


def test_told_to_end_while_it_loads_it_waits_for_nothing(
    container: Container, started: list["subprocess.Popen[str]"]
) -> None:
    process = container.start("a/model", STUB_HEALTHY_AFTER_S="600")
    started.append(process)
    while True:  # until its server answers, so that it hears
        container.engine()
        try:
            assert container.get("/health")[0] == 503
            break
        except OSError:
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("fails", "code", "says"),
    [
        ("memory", 3, "does not fit: torch.OutOfMemoryError: CUDA out of memory."),
        ("slice", 4, "wrong slice: RuntimeError: No CUDA GPUs are available"),
        ("model", 5, "unknown model: ValueError: Invalid repository ID or local directory specified: 'no/such'."),
        ("otherwise", 1, "failed: the engine ended with 1 before it was ready: KeyError: 'x'"),
    ],
)
def test_a_start_that_fails_ends_with_its_cause_in_the_last_line(
    container: Container, fails: str, code: int, says: str
) -> None:
    returncode, err = container.ends("no/such", STUB_FAILS=fails)
    assert returncode == code, err
    assert err.splitlines()[-1].startswith(f"vllm: {says}")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        (["/no/such/model"], {}, 5, "unknown model: there is no config.json in /no/such/model"),
        (["a/model"], {"CUDA_VISIBLE_DEVICES": "MIG-other"}, 4, "wrong slice: CUDA_VISIBLE_DEVICES names MIG-other"),
        (["LLAMA"], {"KNATIVE_MIG_MEMORY_MIB": "9728"}, 3, "does not fit: "),
        (["a/model", "--compute-share", "9/7"], {}, 2, "the compute share is '9/7'"),
        (["a/model", "--engine", "/no/such/vllm"], {}, 1, "[Errno 2] No such file"),
        (["a/model", "--", "--port", "9"], {}, 2, "--port is the launcher's own"),
        (["a/model", "--", "--ssl-keyfile=k"], {}, 2, "--ssl-keyfile is the launcher's own"),
        (["LLAMA", "--", "--dtype", "float32"], {}, 3, "does not fit: "),
        (["a/model", "--engine", "a 'b"], {}, 2, '--engine is "a \'b", which is no command'),
        (["a/model", "--engine", ""], {}, 2, "--engine is empty"),
        (["a/model", "--annotations", "/"], {}, 2, "/ holds no annotations"),
        ([""], {}, 2, "the model has no name"),
    ],
    ids=[
        "no such folder",
        "another slice",
        "a slice too small",
        "a share above one",
        "no engine",
        "another port",
        "another protocol",
        "wide numbers",
        "an engine that is no command",
        "no command",
        "no annotations",
        "no name",
    ],
)
def test_what_cannot_come_up_is_not_started(
    container: Container, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    model, *rest = arguments
    model = llama(container.folder / "llama") if model == "LLAMA" else model
    returncode, err = container.ends(model, *rest, **environment)
    assert returncode == code, err
    assert err.splitlines()[-1].startswith(f"vllm: {says}")
    assert container.seen is None


def test_a_flag_that_the_release_does_not_know_is_bad_input(container: Container) -> None:
    code, err = container.ends("a/model", "--", "--no-such-flag")
    assert code == 2, err
    assert "unrecognized arguments: --no-such-flag" in err.splitlines()[-1]
    code, err = container.ends("a/model", "--", "--dtype", "fp3")
    assert code == 2, err
    assert "invalid choice" in err.splitlines()[-1]


def test_what_would_be_too_little_for_a_step_is_made_enough_or_bad_input(
    container: Container, started: list["subprocess.Popen[str]"]
) -> None:
    code, err = container.ends("a/model", "--", "--max-num-batched-tokens", "64", "--max-num-seqs", "65")
    assert code == 2, err
    assert "must be greater than or equal to max_num_seqs (65)" in err.splitlines()[-1]
    process = container.start("a/model", "--", "--max-num-seqs", "2000")
    started.append(process)
    until_healthy(process)


def test_an_engine_that_does_not_come_up_in_time_is_given_up(container: Container) -> None:
    code, err = container.ends("a/model", "--healthy-within-s", "1", STUB_HEALTHY_AFTER_S="600")
    assert code == 6, err
    assert err.splitlines()[-1] == "vllm: not healthy in time: the engine did not answer /health within 1 s"


def test_nothing_of_an_engine_that_dies_stays_on_the_slice(
    container: Container, started: list["subprocess.Popen[str]"]
) -> None:
    """Its processes outlive it, and with them what they hold of the GPU."""
    child = container.folder / "child"
    process = container.start("a/model", STUB_CHILD=str(child))
    started.append(process)
    until_healthy(process)
    os.kill(container.engine()["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "vllm: failed: the engine ended with -9 while it served"
    until = time.monotonic() + PATIENCE_S
    while not gone(int(child.read_text())):
        assert time.monotonic() < until, "a process of the engine is still there"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Or dead, and not waited for by whoever got it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
