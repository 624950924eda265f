"""`python -m services.relay --engine vllm` before the launcher of vLLM: streams of the pinned release move, or stay."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.relay.child import descendants
from services.relay.resumable import CHAT, COMPLETIONS
from tests.rigs import vllm_stub
from tests.rigs.relay_processes import SECRET, SLOWLY, Reader, RelayProcess, relays, slowly, until
from tests.rigs.relay_processes import asked as asked_by
from tests.rigs.tiny_server import PATIENCE_S
from tests.rigs.vllm_model import Saying

STUB = shlex.join([sys.executable, vllm_stub.__file__])
ENGINE = [sys.executable, "-m", "services.vllm", "stub", "--engine", STUB]
GREEDY = {"model": "stub", "temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}
LONG = {**GREEDY, "prompt": "Es war é", "max_tokens": 300}
TALK = {**GREEDY, "messages": [{"role": "user", "content": "語?"}], "max_completion_tokens": 300}


@contextmanager
def vllm_relays(folder: Path, count: int = 2, **changes: Any) -> Iterator[list[RelayProcess]]:
    with relays(folder, count, "--engine", "vllm", engine=ENGINE, **changes) as started:
        yield started


@contextmanager
def three(folder: Path, count: int) -> Iterator[list[RelayProcess]]:
    """So many, and one more, which is where any replica of the function is reached."""
    with (
        vllm_relays(folder, 1) as others,
        vllm_relays(folder, count, function_url=f"http://127.0.0.1:{others[0].port}") as started,
    ):
        yield [*started, *others]


def generations(relay: RelayProcess) -> list[Any]:
    _, told = asked_by(relay.move_port, "GET", "/generations", Authorization=f"Bearer {SECRET}")
    return list(told["generations"])


@pytest.fixture(autouse=True)
def _paced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that there is a middle of a stream, and a launcher that is not told of a slice of whoever runs the tests."""
    monkeypatch.setenv("STUB_TOKEN_S", "0.004")
    monkeypatch.setenv("STUB_SLOWLY", str(tmp_path / SLOWLY))
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "all")


def unmoved(path: str, body: dict[str, Any]) -> list[Any]:
    """From the engine's own mouth, as a client without a relay reads it."""
    chunks = [json.loads(each) for each in Saying.of(path, body).events() if each != "[DONE]"]
    return [{name: value for name, value in chunk.items() if name not in {"id", "created"}} for chunk in chunks]


def test_completions_and_chats_are_moved_in_their_middle_and_read_as_of_one_vllm(tmp_path: Path) -> None:
    asked = [(COMPLETIONS, LONG), (CHAT, TALK), (CHAT, {**TALK, "return_token_ids": True})]
    with vllm_relays(tmp_path) as (source, target):
        with slowly(tmp_path):
            readers = [Reader(source.port, path, body) for path, body in asked]
            for reader in readers:
                reader.read_until(40)
            status, answer = source.migrate(target)
            assert (status, [each["moved"] for each in answer["generations"]]) == (200, [True] * 3), answer
            assert {each["input_tokens"] for each in answer["generations"]} == {
                len(Saying.of(path, body).prompt) for path, body in asked
            }
            until(lambda: not source.engine_lives, "the engine's end")
            assert any(not reader.is_done for reader in readers), "the relay streams on without its slice"
        for reader, (path, body) in zip(readers, asked, strict=True):
            assert reader.read_all().is_done
            assert reader.told == unmoved(path, body)
            assert len(reader.identities) == 1


def test_a_chat_without_a_limit_ends_where_the_context_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_TOKEN_S", "0.001")
    endless = {name: value for name, value in TALK.items() if name != "max_completion_tokens"}
    with vllm_relays(tmp_path) as (source, target):
        with slowly(tmp_path):
            reader = Reader(source.port, CHAT, endless)
            reader.read_until(40)
            assert source.migrate(target)[1]["generations"][0]["moved"]
        assert reader.read_all().is_done
        assert reader.told == unmoved(CHAT, endless)


def test_an_engine_that_dies_is_gone_on_from_by_any_replica(tmp_path: Path) -> None:
    asked = [(COMPLETIONS, LONG), (CHAT, TALK)]
    with three(tmp_path, 1) as (relay, other):
        with slowly(tmp_path):
            readers = [Reader(relay.port, path, body) for path, body in asked]
            for reader in readers:
                reader.read_until(40)
            engine = descendants(relay.engine)
            os.kill(relay.engine, signal.SIGKILL)  # the launcher, and what it has started is in a session of its own
            until(lambda: len(generations(other)) == 2, "both at the other replica")
        for reader, (path, body) in zip(readers, asked, strict=True):
            assert reader.read_all().is_done
            assert reader.told == unmoved(path, body)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in engine), "the end of all that it had started")


def test_a_target_whose_engine_dies_later_is_gone_on_from_too(tmp_path: Path) -> None:
    with three(tmp_path, 2) as (source, target, other):
        with slowly(tmp_path):
            reader = Reader(source.port, CHAT, TALK)
            reader.read_until(40)
            assert source.migrate(target)[1]["generations"][0]["moved"]
            target.signal_engine(signal.SIGKILL)
            until(lambda: len(generations(other)) == 1, "it at the other replica")
        assert reader.read_all().is_done
        assert reader.told == unmoved(CHAT, TALK)


def test_what_has_come_is_moved_on(tmp_path: Path) -> None:
    with vllm_relays(tmp_path, 3) as (source, middle, last):
        with slowly(tmp_path):
            reader = Reader(source.port, CHAT, TALK)
            reader.read_until(20)
            assert source.migrate(middle)[1]["generations"][0]["moved"]
            reader.read_until(100)
            assert middle.migrate(last)[1]["generations"][0]["moved"]
            until(lambda: not middle.engine_lives, "the engine's end")
            assert not reader.is_done
        assert reader.read_all().told == unmoved(CHAT, TALK)


def test_what_is_drawn_moves_too_and_has_the_length_that_was_asked_for(tmp_path: Path) -> None:
    with vllm_relays(tmp_path) as (source, target):
        with slowly(tmp_path):
            reader = Reader(source.port, CHAT, {**TALK, "temperature": 1.0})
            reader.read_until(40)
            assert source.migrate(target)[1]["generations"][0]["moved"]
        assert reader.read_all().is_done
        assert reader.chunks[-2]["choices"][0]["finish_reason"] == "length"
        assert reader.chunks[-1]["usage"]["completion_tokens"] == 300


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (COMPLETIONS, {**LONG, "stop": ["zzz"]}, "holds back"),
        (CHAT, {**TALK, "temperature": 1.0, "seed": 4}, "seed's step"),
        (CHAT, {**TALK, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, "usage"),
    ],
)
def test_what_cannot_be_a_longer_prompt_is_finished_where_it_is(
    tmp_path: Path, path: str, body: dict[str, Any], why: str
) -> None:
    with vllm_relays(tmp_path) as (source, target):
        with slowly(tmp_path):
            reader = Reader(source.port, path, body)
            reader.read_until(40)
            (told,) = source.migrate(target)[1]["generations"]
            assert not told["moved"]
            assert why in told["why"]
        assert reader.read_all().is_done


def test_a_start_that_fails_ends_the_relay_with_the_launchers_code_and_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.relay", "--engine", "vllm", "--host", "127.0.0.1", "--port", "0", "--"]
    failing = {**os.environ, "STUB_FAILS": "memory", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, *ENGINE], check=False, env=failing, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("vllm: does not fit")
