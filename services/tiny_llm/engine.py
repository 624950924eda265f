"""Takes one step: asks the scheduler who, the model what, and tells what each generation's client may see of it.

Called by `loop` on its one thread; it does no I/O, and `now` is an argument. Nothing of one generation reaches another:
a test holds a batch, whoever joins and leaves it, to what each of its members says alone.
"""

from dataclasses import dataclass

from services.tiny_llm.attention import Work
from services.tiny_llm.generation import Asked, Delta, Finish, Generation
from services.tiny_llm.model import Model
from services.tiny_llm.sampler import Drawn, draw
from services.tiny_llm.scheduler import Limits, Scheduler, Turn
from services.tiny_llm.tokenizer import Sign
from services.tiny_llm.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was done, for whoever measures or paces it."""

    told: tuple[tuple[Generation, Delta], ...] = ()
    prompt_tokens: int = 0  # of prompts, or of what is computed anew
    decoded: int = 0  # generations that got one token from one
    context: float = 0.0  # tokens that those look back on, on average


class Engine:
    def __init__(self, weights: Weights, limits: Limits) -> None:
        self.scheduler = Scheduler(limits)
        self.shape = weights.shape
        self._model = Model(weights, limits.blocks)

    @property
    def longest(self) -> int:
        """Tokens of a prompt and what follows it."""
        return min(self.shape.context, self.scheduler.limits.kv_tokens)

    @property
    def is_idle(self) -> bool:
        return not self.scheduler.running and not self.scheduler.waiting

    def add(self, asked: Asked, now: float) -> Generation:
        assert asked.most_tokens >= 1
        assert 1 <= len(asked.prompt) <= self.longest - asked.most_tokens
        assert len(asked.said) < asked.most_tokens
        generation = Generation.of(asked, now)
        self.scheduler.add(generation)
        return generation

    def cancel(self, generation: Generation) -> None:
        self.scheduler.remove(generation)

    def step(self, now: float) -> Step:
        turns = self.scheduler.next_step()
        if not turns:
            return Step()
        for turn in turns:
            if turn.generation.scheduled_s is None:
                turn.generation.scheduled_s = now
        logits = self._model.step([_work(turn) for turn in turns])
        alone = [turn.generation for turn in turns if turn.generation.uncached == 1]
        context = sum(each.cached for each in alone) / max(1, len(alone))
        told = []
        for turn, row in zip(turns, logits, strict=True):
            generation = turn.generation
            generation.cached += turn.count
            if generation.uncached == 0:
                drawn = draw(row, generation.asked.sampling, generation.drawn)
                generation.tokens.append(drawn.token)
                told.append((generation, _told(generation, drawn)))
        for generation, delta in told:
            if delta.finish:
                self.scheduler.remove(generation)
        return Step(
            told=tuple(told),
            prompt_tokens=sum(turn.count for turn in turns) - len(alone),
            decoded=len(alone),
            context=context,
        )


def _work(turn: Turn) -> Work:
    generation = turn.generation
    return Work(
        tokens=tuple(generation.tokens[generation.cached : generation.cached + turn.count]),
        start=generation.cached,
        table=tuple(generation.blocks),
    )


def _told(generation: Generation, drawn: Drawn) -> Delta:
    text = generation.stream.feed(drawn.token)
    if drawn.token == Sign.END or generation.stream.stopped:
        finish: Finish | None = Finish.STOP
    else:
        is_all = generation.asked.only_warms or generation.drawn == generation.asked.most_tokens
        finish = Finish.LENGTH if is_all else None
    return Delta(text=text + (generation.stream.finish() if finish else ""), drawn=drawn, finish=finish)
