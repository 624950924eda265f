"""The loop between threads that wait and the one that takes steps."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from services.tiny_llm.capacity import Pace
from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked
from services.tiny_llm.loop import Crowded, Draining, Loop, Ticket
from services.tiny_llm.metrics import Metrics
from services.tiny_llm.sampler import Sampling
from tests.rigs.tiny_models import AMPLE, random_weights, said_alone

PATIENCE_S = 60
ASKED = [Asked(prompt=(1, 2), most_tokens=9, sampling=Sampling(seed=seed, ignore_end=True)) for seed in range(12)]


@contextmanager
def running(*, most_waiting: int = 4, pace: Pace | None = None) -> Iterator[tuple[Loop, Engine]]:
    engine = Engine(random_weights(), AMPLE)
    metrics = Metrics(CollectorRegistry(), "tiny", AMPLE.blocks)
    loop = Loop(engine, metrics, clock=lambda: 0.0, most_waiting=most_waiting, pace=pace)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop, engine
    finally:
        loop.interrupt()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def heard(ticket: Ticket) -> dict[int, str]:
    """The text of each generation, when all are finished."""
    texts = dict.fromkeys(range(len(ticket.asked)), "")
    left = set(texts)
    while left:
        came = ticket.deltas.get(timeout=PATIENCE_S)
        assert came is not None
        number, delta = came
        texts[number] += delta.text
        if delta.finish:
            left.remove(number)
    return texts


def test_each_of_many_hears_its_own() -> None:
    with running() as (loop, _):
        tickets = [loop.submit(ASKED[:2]), loop.submit(ASKED[2:3]), loop.submit(ASKED[3:12])]
        said = [text for ticket in tickets for _, text in sorted(heard(ticket).items())]
    assert said == [said_alone(random_weights(), each)[0] for each in ASKED]


def test_as_many_wait_as_may_and_a_request_is_taken_whole_or_not() -> None:
    with running() as (loop, _):
        first = loop.submit(ASKED[:10])
        with pytest.raises(Crowded):
            loop.submit(ASKED[:3])
        second = loop.submit(ASKED[:2])
        loop.close(first)
        loop.close(first)
        third = loop.submit(ASKED[:10])
        assert len(heard(second)) == 2
        assert len(heard(third)) == 10


def test_who_drains_waits_for_what_is_open_and_takes_no_more() -> None:
    with running() as (loop, engine):
        ticket = loop.submit(ASKED[:1])
        draining = threading.Thread(target=loop.drain)
        draining.start()
        heard(ticket)
        assert draining.is_alive()
        loop.close(ticket)
        draining.join(PATIENCE_S)
        assert not draining.is_alive()
        with pytest.raises(Draining):
            loop.submit(ASKED[:1])
        assert engine.is_idle


def test_a_step_is_told_when_its_pace_allows_and_an_interrupt_does_not_wait_for_it() -> None:
    paced = threading.Event()

    def pace(_: object) -> float:
        paced.set()
        return 1e6

    with running(pace=pace) as (loop, _):
        ticket = loop.submit(ASKED[:1])
        assert paced.wait(PATIENCE_S)
        assert ticket.deltas.empty()
    assert ticket.deltas.get(timeout=PATIENCE_S) is None


def test_when_the_engine_fails_everybody_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(random_weights(), AMPLE)
    loop = Loop(engine, Metrics(CollectorRegistry(), "t", 1), clock=lambda: 0.0, most_waiting=1)
    ticket = loop.submit(ASKED[:1])
    monkeypatch.setattr(engine, "step", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert ticket.deltas.get(timeout=PATIENCE_S) is None
    with pytest.raises(Draining):
        loop.submit(ASKED[:1])
