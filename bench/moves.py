"""What a relay costs a token, and what a client sees of a move: the second half of `bench.serving`.

A token's way is told by an engine that writes into each token when it said it; what a move costs by the tiny model, as
slow as Llama 2 7B on a slice. Direct and relayed streams take turns, so that a busy moment meets both.
"""

import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import click
import numpy as np

from services.relay.engine_port import answers, free_port, own_number
from services.tiny_llm.settings import MODEL

PATH: Final = "/v1/completions"
_PATIENCE_S: Final = 120.0
_SECRET: Final = "a-secret"  # noqa: S105 - of two processes that live for seconds
_STAMPING: Final = (sys.executable, "-m", "bench.stamping_engine")
_SLICE: Final = ("--memory-mib", "19968", "--sm", "28", "--compute-share", "2/7")  # a 2g.20gb of an A100-80GB
_PACED: Final = (sys.executable, "-m", "services.tiny_llm", "--pace", "llama-2-7b", *_SLICE)
_WARM_TOKENS: Final = 20  # of a stream, before anything is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Milliseconds from an engine to a client."""

    direct: float
    relayed: float

    @property
    def added(self) -> float:
        return self.relayed - self.direct


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTimes:
    input_tokens: int
    output_tokens: int  # when it was asked for
    took_s: float
    gap_s: float  # the longest between two tokens, at the client
    token_s: float  # between two tokens, median
    one_shot_s: float  # stopped, computed anew from the same tokens, gone on

    @property
    def over_goal(self) -> float:
        return self.gap_s / (2 * self.token_s + 0.1)


def overhead(rounds: int, tokens: int) -> Overhead:
    direct: list[float] = []
    relayed: list[float] = []
    with _relays(1, _STAMPING) as (relay,), _alone() as port:
        for _ in range(rounds):
            direct += _ways_ms(port, tokens)
            relayed += _ways_ms(relay.port, tokens)
    return Overhead(direct=median(direct), relayed=median(relayed))


def holds_ms(moves: int, tokens: int) -> list[float]:
    """From an engine to a client, each token of streams that move in their middle."""
    ways: list[float] = []
    for _ in range(moves):
        with _relays(2, _STAMPING) as (source, target):
            ways += _ways_ms(source.port, tokens, at=tokens // 2, then=lambda: source.migrate(target))
    return ways


def moved(count: int, seed: int) -> list[MoveTimes]:
    chance = random.Random(seed)
    return [_moved(chance.randrange(900, 1400), chance.randrange(50, 400), number) for number in range(count)]


def fitted(times: list[MoveTimes]) -> tuple[float, float, float, float]:
    """Seconds: a constant, for an input token, for an output token, and the median error of that."""
    places = np.array([[1.0, each.input_tokens, each.output_tokens] for each in times])
    took = np.array([each.took_s for each in times])
    law, *_ = np.linalg.lstsq(places, took, rcond=None)
    return float(law[0]), float(law[1]), float(law[2]), float(np.median(np.abs(places @ law - took)))


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[-1]


# -- streams -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stream:
    """A stream that is read to its end, with when each token came; `then` is called when the first `at` have come."""

    at_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    is_done: bool = False

    def read(self, port: int, asks: dict[str, Any], *, at: int = -1, then: threading.Event | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        connection.request("POST", PATH, json.dumps({**asks, "stream": True, "return_token_ids": True}))
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                self.at_s.append(time.monotonic())
                (choice,) = json.loads(line[6:])["choices"]
                self.texts.append(choice["text"])
                self.tokens += choice.get("token_ids", ())
                if then is not None and len(self.at_s) == at:
                    then.set()
            self.is_done = self.is_done or line.startswith(b"data: [DONE]")
        connection.close()


def _ways_ms(port: int, tokens: int, *, at: int = -1, then: Any = None) -> list[float]:
    stream, reached = _Stream(), threading.Event()
    asks = {"model": "stamps", "prompt": "", "max_tokens": tokens, "seed": 1}
    reading = threading.Thread(target=stream.read, args=(port, asks), kwargs={"at": at, "then": reached})
    reading.start()
    if then is not None and reached.wait(_PATIENCE_S):
        then()
    reading.join()
    if not stream.is_done or stream.tokens != list(range(tokens)):
        raise click.ClickException("a stream of time stamps is not what it was")
    ways = [came - int(text) / 1e9 for came, text in zip(stream.at_s, stream.texts, strict=True)]
    return [way * 1000 for way in ways[_WARM_TOKENS:]]


def _moved(input_tokens: int, output_tokens: int, number: int) -> MoveTimes:
    asks = {
        "model": MODEL, "prompt": "Once there was a little fox. " * 100, "max_tokens": output_tokens + 100,
        "seed": number, "ignore_eos": True, "temperature": 0.8,
    }  # fmt: skip
    asks["prompt"] = str(asks["prompt"])[: input_tokens - 1]
    with _relays(2, _PACED) as (source, target):
        stream, reached = _Stream(), threading.Event()
        reading = threading.Thread(
            target=stream.read, args=(source.port, asks), kwargs={"at": output_tokens, "then": reached}
        )
        reading.start()
        if not reached.wait(_PATIENCE_S):
            raise click.ClickException("a stream did not come to where it was to move")
        began = time.monotonic()
        outcome = source.migrate(target)
        took = time.monotonic() - began
        reading.join()
        if not (stream.is_done and outcome["moved"]):
            raise click.ClickException(f"a generation did not move: {outcome}")
        gaps = [after - before for before, after in zip(stream.at_s, stream.at_s[1:], strict=False)]
        again, began = _Stream(), time.monotonic()
        again.read(target.port, {**asks, "resume_token_ids": stream.tokens[:output_tokens]})
        return MoveTimes(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            took_s=took,
            gap_s=max(gaps),
            token_s=median(gaps),
            one_shot_s=again.at_s[0] - began,
        )


# -- processes ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Relay:
    process: "subprocess.Popen[str]"
    port: int = 0
    move_port: int = 0

    def migrate(self, to: "_Relay") -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.move_port, timeout=_PATIENCE_S)
        body = json.dumps({"to": f"http://127.0.0.1:{to.move_port}"})
        connection.request("POST", "/migrate", body, {"Authorization": f"Bearer {_SECRET}"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        (outcome,) = told["generations"]
        return dict(outcome)


@contextmanager
def _relays(count: int, engine: tuple[str, ...]) -> Iterator[list[_Relay]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "secret").write_text(_SECRET)
        command = [
            sys.executable, "-m", "services.relay", "--host", "127.0.0.1", "--port", "0", "--move-port", "0",
            "--secret-file", str(folder / "secret"), "--slice-dir", str(folder / "none"), "--", *engine,
        ]  # fmt: skip
        started = [_Relay(process=stack.enter_context(running(command))) for _ in range(count)]
        for each in started:
            assert each.process.stderr is not None
            said: list[str] = []
            while not (found := re.search(r"relayed on port (\d+), moves on port (\d+)", "".join(said[-1:]))):
                said.append(each.process.stderr.readline())
                if not said[-1]:
                    raise click.ClickException(f"a relay did not start: {said}")
            each.port, each.move_port = int(found[1]), int(found[2])
        yield started


@contextmanager
def _alone() -> Iterator[int]:
    port = free_port(own_number())
    with running(list(_STAMPING), PORT=str(port)):
        while not answers(port):
            time.sleep(0.01)
        yield port


@contextmanager
def running(command: list[str], **environment: str) -> Iterator["subprocess.Popen[str]"]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KNATIVE_MIG_")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**kept, **environment})
    assert process.stderr is not None
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
        process.stderr.close()
