"""`python -m bench.serving [--quick] [--json]`: the tiny model's server, from process start to tokens per second.

Time to ready is that of the whole process, told by a client that starts it and reads the first token from its stream.
Tokens per second by batch size are measured twice: of the engine, and at the client of a server on this machine, which
shares its cores. The sizes are measured in turns, so that a busy moment meets them all.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

import click

from bench.report import Goal, flags, print_goals, print_json, print_table
from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.scheduler import Limits
from services.tiny_llm.settings import MODEL, WEIGHTS
from services.tiny_llm.tokenizer import of_prompt
from services.tiny_llm.weights import Weights

KEYS: Final = ("ready_s", "tokens_per_s_b1", "tokens_per_s_b16")
BATCHES: Final = (1, 2, 4, 8, 16, 32)
READY_AT_MOST_S: Final = 1.5
PROMPT: Final = "Once there was a little fox named Mia."
_PATIENCE_S: Final = 60.0


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    if quick:
        click.echo("--quick: few starts and short texts; take the figures of a full run")
    starts, rounds, tokens = (3, 2, 100) if quick else (10, 5, 300)
    ready = sorted(_ready_s() for _ in range(starts))
    weights = Weights.load(WEIGHTS)
    engine: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    client: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with _server() as port:
        for number in range(rounds):
            for batch in BATCHES:
                engine[batch].append(_engine_tokens_per_s(weights, batch, tokens, seed + number))
                client[batch].append(_client_tokens_per_s(port, batch, tokens, seed + number))
    print_table(
        f"Process start to first token, {starts} starts",
        ("", "median", "worst"),
        ("s", f"{median(ready):.2f}", f"{ready[-1]:.2f}"),
    )
    print_table(
        f"Tokens per second, {tokens} tokens a generation, median of {rounds}",
        ("generations at once", "engine", "at the client"),
        *((str(batch), f"{median(engine[batch]):.0f}", f"{median(client[batch]):.0f}") for batch in BATCHES),
    )
    print_goals([Goal(what="process start to first token, s", value=median(ready), at_most=READY_AT_MOST_S)])
    if as_json:
        figures = (median(ready), median(engine[1]), median(engine[16]))
        print_json(dict(zip(KEYS, figures, strict=True)))


def _ready_s() -> float:
    began = time.monotonic()
    with _server() as port:
        connection, answer = _ask(port, 1, 4, 1)
        answer.readline()
        took = time.monotonic() - began
        answer.read()
        connection.close()
    return took


def _engine_tokens_per_s(weights: Weights, batch: int, tokens: int, seed: int) -> float:
    engine = Engine(weights, Limits(generations=batch, tokens=256 + batch, blocks=batch * 32))
    for number in range(batch):
        sampling = Sampling(seed=seed + number, ignore_end=True)
        engine.add(Asked(prompt=tuple(of_prompt(PROMPT)), most_tokens=tokens, sampling=sampling), 0.0)
    while any(each.uncached > 1 for each in engine.scheduler.running) or not engine.scheduler.running:
        engine.step(0.0)
    began, drawn = time.monotonic(), 0
    while not engine.is_idle:
        drawn += len(engine.step(0.0).told)
    return drawn / (time.monotonic() - began)


def _client_tokens_per_s(port: int, batch: int, tokens: int, seed: int) -> float:
    connection, answer = _ask(port, batch, tokens, seed)
    answer.readline()
    began, drawn = time.monotonic(), 0
    for line in answer:
        drawn += line.startswith(b"data: {")
    took = time.monotonic() - began
    connection.close()
    return drawn / took


def _ask(port: int, n: int, tokens: int, seed: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    asks: dict[str, Any] = {"model": MODEL, "prompt": PROMPT, "n": n, "max_tokens": tokens, "seed": seed}
    connection.request("POST", "/v1/completions", json.dumps({**asks, "stream": True, "ignore_eos": True}))
    return connection, connection.getresponse()


@contextmanager
def _server() -> Iterator[int]:
    """On a whole GPU's share, which no batch size here fills."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.tiny_llm", "--host", "127.0.0.1", "--port", "0", "--compute-share", "1",
         "--memory-mib", "40192"],
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("KNATIVE_MIG_")},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        found = re.search(r"port (\d+):", process.stderr.readline())
        if not found:
            raise click.ClickException(f"the server did not start: {process.stderr.read()}")
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


if __name__ == "__main__":
    main()
