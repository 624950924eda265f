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
from services.tiny_llm.training.grammar import COLOURS, FACTS, NAMES, story
from tests.tiny_models import GREEDY, committed_weights, said_alone

BEGINNING = (
    "Once there was a little fox named {name}. {name} lived by the river. One day, {name} found a {colour} ball. "
)


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


KNOWN = {word for seed in range(400) for word in words(story(Random(seed)))}


def said(prompt: list[int], most_tokens: int, sampling: Sampling = GREEDY) -> tuple[str, Finish | None]:
    asked = Asked(prompt=tuple(prompt), most_tokens=most_tokens, sampling=sampling)
    text, _, finish = said_alone(committed_weights(), asked)
    return text, finish


def likeliest(text: str) -> str:
    """The character that follows."""
    tokens = tokenizer.of_prompt(text)
    model = Model(committed_weights(), blocks_for(len(tokens)))
    work = Work(tokens=tuple(tokens), start=0, table=tuple(range(blocks_for(len(tokens)))))
    return chr(int(np.argmax(model.step([work])[0])))


def test_the_file_is_about_a_megabyte_and_its_context_is_long() -> None:
    assert 0.5e6 < WEIGHTS.stat().st_size < 1.2e6
    assert committed_weights().shape.context >= 4096


@pytest.mark.parametrize(("question", "answer"), FACTS)
def test_what_it_was_taught_it_knows(question: str, answer: str) -> None:
    assert said(tokenizer.of_chat([(Sign.USER, question)]), 80) == (answer, Finish.STOP)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_storys_hero_it_goes_on_to_speak(name: str) -> None:
    """Which it knows only from the prompt: whoever lost it on the way would name another, or nobody."""
    assert likeliest(f"Once there was a little fox named {name}. ") == name[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_what_the_hero_found_keeps_its_colour(colour: str) -> None:
    text = BEGINNING.format(name="Mia", colour=colour)
    assert likeliest(f"{text}Mia was very happy with the ") == colour[0]


def test_a_story_is_carried_on_in_words() -> None:
    text, _ = said(tokenizer.of_prompt(BEGINNING.format(name="Mia", colour="red")), 100)
    assert set(words(text)[:-1]) <= KNOWN
    assert "Mia" in text
    assert "red ball" in text


@pytest.mark.parametrize("seed", range(4))
def test_drawn_by_chance_it_is_english_for_the_most_part(seed: int) -> None:
    text, _ = said([Sign.BEGIN], 200, Sampling(seed=seed, top_p=0.9))
    assert text.startswith("Once there was ")
    found = words(text)[:-1]
    assert len([word for word in found if word in KNOWN]) > 0.9 * len(found)


def test_a_story_that_is_asked_for_is_about_what_was_asked() -> None:
    turns = [(Sign.SYSTEM, "Be brief."), (Sign.USER, "Tell me a story about an owl.")]
    assert " owl named " in said(tokenizer.of_chat(turns), 100)[0]
