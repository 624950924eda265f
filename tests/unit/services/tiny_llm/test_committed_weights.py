"""The weights that are committed say what the grammar says: its words, its facts, and of a story's hero what is so."""

import re
from random import Random

import numpy as np
import pytest

from services.tiny_llm import tokenizer
from services.tiny_llm.attention import Work
from services.tiny_llm.generation import Asked, Finish
from services.tiny_llm.kv_blocks import blocks_for
from services.tiny_llm.model import Model
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.settings import WEIGHTS
from services.tiny_llm.tokenizer import Sign
from services.tiny_llm.training.grammar import FACTS, FRIENDS, HEROES, story
from tests.rigs.tiny_models import GREEDY, committed_weights, said_alone

BEGINNING = "Once there was a little fox named Mia. Mia lived by the river. One day, Mia found a red ball."


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", text))


KNOWN = set.union(*(words(story(Random(seed))) for seed in range(400)))


def said(prompt: list[int], sampling: Sampling = GREEDY) -> tuple[str, Finish | None]:
    text, _, finish = said_alone(committed_weights(), Asked(prompt=tuple(prompt), most_tokens=400, sampling=sampling))
    return text, finish


def test_the_file_is_about_a_megabyte() -> None:
    assert 0.5e6 < WEIGHTS.stat().st_size < 1.2e6
    assert committed_weights().shape.context >= 4096


def test_a_story_is_carried_on_in_words_and_stays_with_its_hero() -> None:
    text, finish = said(tokenizer.of_prompt(BEGINNING))
    assert finish is Finish.STOP
    assert words(text) <= KNOWN
    assert words(text) & set(HEROES) == {"Mia"}
    assert words(text) & set(FRIENDS)
    assert "red ball" in text


@pytest.mark.parametrize("seed", range(4))
def test_drawn_by_chance_it_is_still_english(seed: int) -> None:
    text, finish = said([Sign.BEGIN], Sampling(seed=seed, top_p=0.9))
    assert finish is Finish.STOP
    assert text.startswith("Once there was ")
    assert len(words(text) - KNOWN) <= 1


@pytest.mark.parametrize(("question", "answer"), FACTS)
def test_what_it_was_taught_it_knows(question: str, answer: str) -> None:
    assert said(tokenizer.of_chat([(Sign.USER, question)])) == (answer, Finish.STOP)


def test_a_story_that_is_asked_for_is_about_what_was_asked() -> None:
    text, _ = said(tokenizer.of_chat([(Sign.SYSTEM, "Be brief."), (Sign.USER, "Tell me a story about an owl.")]))
    assert " owl named " in text
    assert words(text) <= KNOWN


def test_the_right_name_is_likelier_than_a_wrong_one_however_long_ago_it_was_told() -> None:
    """Half of the context filled with other stories does not make it forget the last one's hero."""
    draw = Random(1)
    tokens: list[int] = []
    while len(tokens) < 2048:
        tokens += [*tokenizer.of_prompt(story(draw)), Sign.END]
    tokens += tokenizer.of_prompt(f"{BEGINNING} Leo saw the ")
    model = Model(committed_weights(), 128)
    table = tuple(range(blocks_for(len(tokens))))
    logits = model.step([Work(tokens=tuple(tokens), start=0, table=table)])[0]
    assert chr(int(np.argmax(logits))) == "r"  # red
