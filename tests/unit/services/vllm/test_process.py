"""Signals that come around the engine's start. The rest of its life is the contract's: tests/contract."""

import signal
from dataclasses import dataclass, field

from services.vllm.process import Told


@dataclass
class Engine:
    heard: list[int] = field(default_factory=list)

    def send_signal(self, sig: int, /) -> None:
        self.heard.append(sig)


def test_the_engine_hears_what_came_before_it_and_what_comes_after() -> None:
    told, engine = Told(), Engine()
    told.hear(signal.SIGTERM)
    told.follow(engine)
    assert engine.heard == [signal.SIGTERM]
    told.hear(signal.SIGINT)
    assert engine.heard == [signal.SIGTERM, signal.SIGINT]
