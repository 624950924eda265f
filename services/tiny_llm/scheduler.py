"""Who takes part in the next step, with how many tokens: continuous batching.

Called by `engine` between steps. Generations join when a place and blocks for all that they have are free, in the order
they came; they leave when they end. Those that have their prompt behind them go first, a token each; what is left of a
step's tokens goes to prompts, in chunks. When blocks run out the youngest gives its own back and comes in again later,
computing anew what it had; it says the same then, as sampling has no other state than what was drawn. What a warm-up
has computed is kept while nobody needs the room, for who goes on from its tokens.
"""

from collections import deque
from dataclasses import dataclass

from services.tiny_llm.generation import Generation
from services.tiny_llm.kv_blocks import BLOCK, Blocks, blocks_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    generations: int  # at once
    tokens: int = 256  # a step: so long may a prompt hold up everybody else
    blocks: int

    @property
    def kv_tokens(self) -> int:
        return self.blocks * BLOCK


@dataclass(frozen=True, slots=True)
class Turn:
    generation: Generation
    count: int  # tokens, from the first that is not cached


class Scheduler:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.blocks = Blocks(limits.blocks)
        self.running: list[Generation] = []  # the eldest first
        self.waiting: deque[Generation] = deque()
        self.preemptions = 0

    def add(self, generation: Generation) -> None:
        self.waiting.append(generation)

    def remove(self, generation: Generation) -> None:
        """It has ended, or is not wanted any more. Its blocks are free for the next step."""
        if generation in self.running:
            self.running.remove(generation)
            if generation.asked.only_warms:
                self._keep(generation)
            self._free(generation)
        elif generation in self.waiting:
            self.waiting.remove(generation)

    def next_step(self) -> tuple[Turn, ...]:
        preempted = self.preemptions
        turns: list[Turn] = []
        left = self.limits.tokens
        # A list of its own: whoever is preempted on the way has left the other one, and is passed over.
        for each in sorted(self.running, key=lambda each: each.uncached > 1):
            count = min(each.uncached, left)
            if each in self.running and count and self._make_room(each, count):
                turns.append(Turn(each, count))
                left -= count
        while left and self.preemptions == preempted and (joined := self._join()):
            count = min(joined.uncached, left)
            turns.append(Turn(joined, count))
            left -= count
        return tuple(turn for turn in turns if turn.generation in self.running)

    def _make_room(self, generation: Generation, count: int) -> bool:
        """Whether it has a place for its next tokens, or is itself the youngest and has had to go."""
        wanted = blocks_for(generation.cached + count) - len(generation.blocks)
        while wanted > 0 and (taken := self.blocks.take(wanted)) is None:
            youngest = self.running.pop()
            self._free(youngest)
            self.waiting.appendleft(youngest)
            self.preemptions += 1
            if youngest is generation:
                return False
        if wanted > 0:
            assert taken is not None
            generation.blocks += taken
        return True

    def _join(self) -> Generation | None:
        if not self.waiting or len(self.running) >= self.limits.generations:
            return None
        tokens = self.waiting[0].tokens
        cached, kept = self.blocks.take_kept(tokens)
        # With room for what it says next, lest it is the first to go again.
        blocks = self.blocks.take(blocks_for(len(tokens) + 1) - len(kept))
        if blocks is None:
            if kept:
                self.blocks.keep(tokens[:cached], kept)
            return None
        joined = self.waiting.popleft()
        joined.blocks = kept + blocks
        joined.cached = min(cached, len(tokens) - 1)  # the last one says what comes next
        if joined.scheduled_s is None:
            joined.kept = joined.cached
        self.running.append(joined)
        return joined

    def _keep(self, generation: Generation) -> None:
        count = blocks_for(generation.cached)
        if count:
            self.blocks.keep(generation.tokens[: generation.cached], generation.blocks[:count])
            del generation.blocks[:count]

    def _free(self, generation: Generation) -> None:
        self.blocks.give_back(generation.blocks)
        generation.blocks, generation.cached = [], 0
