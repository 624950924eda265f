"""A generation: what was asked, how far it is, and what its client is told step by step.

Made by `openai_request` (Asked) and `engine` (the rest). `Generation` is the one mutable value here; the engine's
thread owns it, and others see `Delta`s only.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from services.tiny_llm.sampler import Drawn, Sampling
from services.tiny_llm.text_stream import TextStream


class Finish(StrEnum):
    STOP = "stop"  # the model ended, or a stop string came
    LENGTH = "length"
    ABORT = "abort"  # its client went away


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One generation, as a client asked for it."""

    prompt: tuple[int, ...]
    most_tokens: int
    sampling: Sampling
    stops: tuple[str, ...] = ()
    said: tuple[int, ...] = ()  # tokens that another engine has drawn for it: it goes on behind them
    only_warms: bool = False  # it ends with its next token, and what it has computed is kept for who goes on from here


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What a step brought to one generation. The text may lag behind the tokens."""

    text: str
    drawn: Drawn
    finish: Finish | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Generation:
    asked: Asked
    arrived_s: float
    stream: TextStream
    tokens: list[int]  # the prompt's and those that were drawn, here or before it came here
    blocks: list[int] = field(default_factory=list)
    cached: int = 0  # how many of the tokens have keys and values
    kept: int = 0  # how many of them had been kept for it when it was first taken in
    scheduled_s: float | None = None  # when it was first taken into a step
    first_token_s: float | None = None
    last_token_s: float | None = None

    @classmethod
    def of(cls, asked: Asked, now: float) -> "Generation":
        stream = TextStream(asked.stops)
        for token in asked.said:  # whose text is out, or held back as it was there
            stream.feed(token)
        return cls(asked=asked, arrived_s=now, stream=stream, tokens=[*asked.prompt, *asked.said])

    def token_came(self, now: float) -> None:
        self.last_token_s = now
        if self.first_token_s is None:
            self.first_token_s = now

    @property
    def drawn(self) -> int:
        return len(self.tokens) - len(self.asked.prompt)

    @property
    def uncached(self) -> int:
        return len(self.tokens) - self.cached
