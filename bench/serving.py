"""`python -m bench.serving [--quick] [--json]`: the tiny model's server, and the relay that moves its generations.

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

from bench.moves import MoveTimes, fitted, holds_ms, moved, overhead, p99
from bench.releases import early_release_s
from bench.report import Goal, flags, print_goals, print_json, print_table
from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.scheduler import Limits
from services.tiny_llm.settings import MODEL, WEIGHTS
from services.tiny_llm.tokenizer import of_prompt
from services.tiny_llm.weights import Weights

KEYS: Final = (
    "ready_s", "tokens_per_s_b1", "tokens_per_s_b16", "relay_ms_p50", "move_hold_ms_p99", "move_hold_ms_max",
    "migration_gap_over_goal", "early_release_s",
)  # fmt: skip
BATCHES: Final = (1, 2, 4, 8, 16, 32)
READY_AT_MOST_S: Final = 1.5
RELAY_AT_MOST_MS: Final = 0.3
FIT_OF_AT_LEAST: Final = 10  # moves: three lie on any law
RELEASE_AT_MOST_S: Final = 1.0
HOLD_AT_MOST_MS: Final = (5.0, 50.0)  # p99, and the longest
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
    relay = overhead(*((1, 200) if quick else (5, 400)))
    holds = holds_ms(*((1, 200) if quick else (5, 400)))
    moves = moved(3 if quick else 20, seed)
    gap = sorted(each.over_goal for each in moves)[max(0, len(moves) * 19 // 20 - 1)]
    releases = sorted(early_release_s() for _ in range(starts))
    print_table(
        "From the engine to the client, ms a token",
        ("", "median", "p99", "worst"),
        ("direct", f"{relay.direct:.2f}", "", ""),
        ("relayed", f"{relay.relayed:.2f}", "", ""),
        ("relayed, moved in the middle", f"{median(holds):.2f}", f"{p99(holds):.2f}", f"{max(holds):.2f}"),
    )
    _print_moves(moves)
    print_table(
        f"From the word that an idle replica's pod was deleted until its slice is given back, {starts} times",
        ("", "median", "worst"),
        ("s", f"{median(releases):.2f}", f"{releases[-1]:.2f}"),
    )
    print_goals(
        [
            Goal(what="process start to first token, s", value=median(ready), at_most=READY_AT_MOST_S),
            Goal(what="the relay's part of a token, ms, median", value=relay.added, at_most=RELAY_AT_MOST_MS),
            Goal(what="engine to client around a move, ms, p99", value=p99(holds), at_most=HOLD_AT_MOST_MS[0]),
            Goal(what="engine to client around a move, ms, worst", value=max(holds), at_most=HOLD_AT_MOST_MS[1]),
            Goal(what="a deleted pod's slice given back, s, worst", value=releases[-1], at_most=RELEASE_AT_MOST_S),
            Goal(what="longest gap of a move / (2 tokens + 100 ms), 19 of 20", value=gap, at_most=1.0),
        ]
    )
    if as_json:
        rates = (median(engine[1]), median(engine[16]))
        figures = (median(ready), *rates, relay.added, p99(holds), max(holds), gap, releases[-1])
        print_json(dict(zip(KEYS, figures, strict=True)))


def _print_moves(moves: list[MoveTimes]) -> None:
    print_table(
        "Moves of generations as slow as Llama 2 7B on a 2g.20gb of an A100, seconds",
        ("input + output tokens", "move", "longest gap", "between tokens", "one shot"),
        *(
            (
                f"{each.input_tokens} + {each.output_tokens}",
                f"{each.took_s:.2f}",
                f"{each.gap_s:.3f}",
                f"{each.token_s:.3f}",
                f"{each.one_shot_s:.2f}",
            )
            for each in moves
        ),
    )
    if len(moves) < FIT_OF_AT_LEAST:
        return
    constant, an_input, an_output, error = fitted(moves)
    click.echo(
        f"A move takes {constant:.2f} s + {an_input * 1000:.2f} ms an input token "
        f"+ {an_output * 1000:.2f} ms an output token, with a median error of {error:.2f} s"
    )


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
