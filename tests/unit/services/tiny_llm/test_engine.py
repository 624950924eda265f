"""Continuous batching: whoever joins, leaves, is preempted or hangs up, each generation says what it says alone."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from services.tiny_llm.attention import Work
from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked, Finish, Generation
from services.tiny_llm.kv_blocks import BLOCK
from services.tiny_llm.model import Model
from services.tiny_llm.sampler import Sampling, draw
from services.tiny_llm.scheduler import Limits
from services.tiny_llm.tokenizer import Sign
from tests.rigs.tiny_models import AMPLE, GREEDY, random_weights, said_alone

TIGHT = Limits(generations=3, tokens=24, blocks=6)


@dataclass(frozen=True)
class Visit:
    """A generation, the step before which it comes, and the one before which its client hangs up."""

    asked: Asked
    comes: int
    hangs_up: int | None


samplings = st.one_of(
    st.just(GREEDY),
    st.builds(
        Sampling,
        temperature=st.sampled_from((0.7, 1.5)),
        top_p=st.sampled_from((0.8, 1.0)),
        top_k=st.sampled_from((0, 5)),
        seed=st.integers(0, 2**64),
    ),
)
visits = st.builds(
    Visit,
    asked=st.builds(
        Asked,
        prompt=st.lists(st.integers(0, 260), min_size=1, max_size=2 * BLOCK).map(tuple),
        most_tokens=st.integers(1, BLOCK + 5),
        sampling=samplings,
        only_warms=st.sampled_from((False, False, True)),
    ),
    comes=st.integers(0, 30),
    hangs_up=st.one_of(st.none(), st.none(), st.integers(0, 60)),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(visits, min_size=1, max_size=6))
def test_whoever_joins_and_leaves_each_says_what_it_says_alone(came: list[Visit]) -> None:
    engine = Engine(random_weights(), TIGHT)
    there: dict[int, Generation] = {}
    step = 0
    while len(there) < len(came) or not engine.is_idle:
        for number, visit in enumerate(came):
            if visit.comes == step:
                there[number] = engine.add(visit.asked, float(step))
            if visit.hangs_up == step and number in there:
                engine.cancel(there[number])
        engine.step(float(step))
        assert len(engine.scheduler.running) <= TIGHT.generations
        step += 1
    assert engine.scheduler.blocks.free == TIGHT.blocks
    for number, visit in enumerate(came):
        said = there[number].tokens[len(visit.asked.prompt) :]
        alone = said_alone(random_weights(), visit.asked)[1]
        assert said == alone[: len(said)]
        assert len(said) == len(alone) or visit.hangs_up is not None


def test_each_token_is_drawn_from_the_models_logits_by_the_seed_and_its_number() -> None:
    asked = Asked(prompt=(Sign.BEGIN, 70), most_tokens=12, sampling=Sampling(seed=9, ignore_end=True))
    model, tokens = Model(random_weights(), 4), list(asked.prompt)
    start = 0
    for number in range(asked.most_tokens):
        logits = model.step([Work(tokens=tuple(tokens[start:]), start=start, table=(0, 1))])[0]
        start = len(tokens)
        tokens.append(draw(logits, asked.sampling, number).token)
    assert said_alone(random_weights(), asked)[1] == tokens[2:]


def test_when_blocks_run_out_the_youngest_waits_and_then_goes_on_as_if_nothing_had_been() -> None:
    engine = Engine(random_weights(), TIGHT)
    asked = [Asked(prompt=(first,) * 60, most_tokens=60, sampling=Sampling(seed=first)) for first in (1, 2, 3)]
    generations = [engine.add(each, 0.0) for each in asked]
    while not engine.is_idle:
        engine.step(0.0)
    assert engine.scheduler.preemptions > 0
    for each, generation in zip(asked, generations, strict=True):
        assert generation.tokens[60:] == said_alone(random_weights(), each)[1]


def test_who_hangs_up_has_no_block_after_the_call() -> None:
    engine = Engine(random_weights(), TIGHT)
    generation = engine.add(Asked(prompt=(1,) * 40, most_tokens=50, sampling=GREEDY), 0.0)
    for _ in range(3):
        engine.step(0.0)
    assert engine.scheduler.blocks.used > 0
    engine.cancel(generation)
    engine.cancel(generation)
    assert engine.scheduler.blocks.used == 0
    assert engine.is_idle


def test_a_long_prompt_holds_up_nobody_who_is_past_its_own() -> None:
    engine = Engine(random_weights(), Limits(generations=2, tokens=24, blocks=32))
    speaking = engine.add(Asked(prompt=(1,), most_tokens=40, sampling=Sampling(seed=1, ignore_end=True)), 0.0)
    engine.step(0.0)
    engine.add(Asked(prompt=(2,) * 200, most_tokens=1, sampling=GREEDY), 0.0)
    steps = 0
    while len(engine.scheduler.running) < 2 or engine.scheduler.running[1].cached < 200:
        step = engine.step(0.0)
        assert speaking in [generation for generation, _ in step.told]
        assert step.prompt_tokens <= 24
        steps += 1
        if engine.scheduler.running == [speaking]:
            break
    assert steps == -(-200 // 23)


def test_the_end_is_the_models_the_lengths_or_a_stop_strings() -> None:
    prompt = (Sign.BEGIN, 65)
    text, tokens, finish = said_alone(
        random_weights(), Asked(prompt=prompt, most_tokens=30, sampling=Sampling(seed=5, ignore_end=True))
    )
    assert finish is Finish.LENGTH
    assert len(tokens) == 30
    stop = next(each for each in text if each.isascii())
    stopped = said_alone(
        random_weights(),
        Asked(prompt=prompt, most_tokens=30, sampling=Sampling(seed=5, ignore_end=True), stops=(stop,)),
    )
    assert stopped[0] == text[: text.index(stop)]
    assert stopped[2] is Finish.STOP


def test_what_is_asked_may_fill_the_cache_to_its_last_token() -> None:
    engine = Engine(random_weights(), Limits(generations=1, tokens=16, blocks=2))
    assert engine.longest == 2 * BLOCK
    generation = engine.add(
        Asked(prompt=(1,) * 40, most_tokens=2 * BLOCK - 40, sampling=Sampling(seed=1, ignore_end=True)), 0.0
    )
    while not engine.is_idle:
        engine.step(0.0)
    assert len(generation.tokens) == 2 * BLOCK
    assert Engine(random_weights(), AMPLE).longest == 512


def steps_of(engine: Engine, asked: Asked) -> tuple[list[int], int]:
    """What it says, and how many tokens were computed before it said the first."""
    generation = engine.add(asked, 0.0)
    computed = 0
    while not engine.is_idle:
        step = engine.step(0.0)
        computed += step.prompt_tokens + step.decoded if generation.drawn <= len(asked.said) + 1 else 0
    return generation.tokens[len(asked.prompt) :], computed


def test_who_goes_on_from_a_warm_up_has_only_the_rest_to_compute_and_says_the_same() -> None:
    prompt, sampling = tuple(range(100)), Sampling(seed=3, ignore_end=True)
    asked = Asked(prompt=prompt, most_tokens=90, sampling=sampling)
    whole = said_alone(random_weights(), asked)[1]
    engine = Engine(random_weights(), Limits(generations=2, tokens=24, blocks=16))
    for said, to_compute in ((10, 110), (30, 20), (40, 10)):
        warm = Asked(prompt=prompt, most_tokens=90, sampling=sampling, said=tuple(whole[:said]), only_warms=True)
        assert steps_of(engine, warm) == (whole[: said + 1], to_compute)
        assert engine.scheduler.blocks.used == 0, "what is kept is nobody's"
    rest = Asked(prompt=prompt, most_tokens=90, sampling=sampling, said=tuple(whole[:45]))
    assert steps_of(engine, rest) == (whole, 5)
    assert steps_of(engine, rest) == (whole, 145), "taken over, and not shared"


def test_a_warm_up_that_is_called_off_keeps_what_it_has() -> None:
    engine = Engine(random_weights(), Limits(generations=2, tokens=24, blocks=16))
    asked = Asked(prompt=(1,) * 100, most_tokens=5, sampling=GREEDY, only_warms=True)
    engine.cancel(engine.add(asked, 0.0))
    generation = engine.add(asked, 0.0)
    engine.step(0.0)
    engine.step(0.0)
    engine.cancel(generation)
    assert engine.scheduler.blocks.free == 16
    assert steps_of(engine, asked)[1] == 100 - 48


def test_who_has_to_wait_for_room_loses_nothing_of_what_was_kept() -> None:
    engine = Engine(random_weights(), Limits(generations=2, tokens=256, blocks=8))
    prompt = (1,) * 2 * BLOCK
    steps_of(engine, Asked(prompt=prompt, most_tokens=9, sampling=GREEDY, only_warms=True))
    other = engine.add(Asked(prompt=(2,) * 4 * BLOCK, most_tokens=9, sampling=GREEDY), 0.0)
    engine.step(0.0)
    said, computed = steps_of(engine, Asked(prompt=prompt, said=(3,) * BLOCK, most_tokens=40, sampling=GREEDY))
    assert other.drawn > 1
    assert computed < 3 * BLOCK + other.drawn, "what was kept is not computed again"
    assert said[:BLOCK] == [3] * BLOCK
    assert engine.scheduler.blocks.free == 8


def test_what_is_kept_holds_up_nobody() -> None:
    engine = Engine(random_weights(), TIGHT)
    for first in (1, 2, 3):
        steps_of(engine, Asked(prompt=(first,) * 60, most_tokens=5, sampling=GREEDY, only_warms=True))
    asked = Asked(prompt=(9,) * 100, most_tokens=90, sampling=Sampling(seed=1))
    assert steps_of(engine, asked)[0] == said_alone(random_weights(), asked)[1]
    assert engine.scheduler.preemptions == 0
