"""The sentences that the model learns from, and so what is right and what is wrong for it to say.

Short stories, questions about them, and conversations. Each story has one hero, one thing and one place, told early and
named again: whoever carries a story on correctly has read its beginning, which is what the tests look for. Everything
is drawn from a seeded generator.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

from services.tiny_llm import tokenizer
from services.tiny_llm.tokenizer import Sign

NAMES: Final = ("Tom", "Mia", "Ben", "Lily", "Max", "Anna", "Sam", "Zoe", "Leo", "Ida", "Finn", "Nora")
ANIMALS: Final = ("cat", "dog", "fox", "owl", "bear", "frog", "duck", "mouse", "horse", "goat")
SIZES: Final = ("little", "big", "young", "old", "brave", "clever")
PLACES: Final = ("by the river", "in the forest", "on a hill", "near the lake", "in a barn", "under a tree")
COLOURS: Final = ("red", "blue", "green", "yellow", "white", "black")
THINGS: Final = ("ball", "hat", "key", "kite", "book", "bell", "boat", "cup")
TIMES: Final = ("One day", "In the morning", "In spring", "After lunch")
ENDS: Final = ("until the sun went down", "all day long", "and were happy", "and laughed")

FACTS: Final = (
    ("What colour is grass?", "Grass is green."),
    ("What colour is snow?", "Snow is white."),
    ("What colour is the night?", "The night is black."),
    ("What does a cat say?", "A cat says meow."),
    ("What does a dog say?", "A dog says woof."),
    ("What does a duck say?", "A duck says quack."),
    ("Who are you?", "I am a tiny model on a small slice of a GPU."),
    ("Hello!", "Hello! How can I help you?"),
    ("How are you?", "I am well, thank you."),
    ("Thank you.", "You are welcome."),
)
SYSTEMS: Final = ("You are a helpful assistant.", "You tell stories.", "Be brief.")


def story(draw: Random, animal: str = "") -> str:
    hero, friend = draw.sample(NAMES, 2)
    animal = animal or draw.choice(ANIMALS)
    place, thing = draw.choice(PLACES), f"{draw.choice(COLOURS)} {draw.choice(THINGS)}"
    sentences = [
        f"Once there was a {draw.choice(SIZES)} {animal} named {hero}.",
        f"{hero} lived {place}.",
        f"{draw.choice(TIMES)}, {hero} found a {thing}.",
    ]
    if draw.random() < 0.5:
        sentences.append(f"{hero} was very happy with the {thing}.")
    sentences.append(f"{friend} came by and saw the {thing}.")
    if draw.random() < 0.5:
        sentences.append(f'"Is this your {thing}?" asked {friend}. "Yes," said {hero}.')
    sentences.append(f"{hero} and {friend} played {place} {draw.choice(ENDS)}.")
    if draw.random() < 0.5:
        sentences.append(draw.choice((f"Who found the {thing}? {hero} did.", f"Who came by? {friend} did.")))
    return " ".join(sentences)


def _story_asked_for(draw: Random) -> tuple[str, str]:
    animal = draw.choice(ANIMALS)
    return f"Tell me a story about {_a(animal)}.", story(draw, animal)


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def document(draw: Random) -> list[int]:
    """A text or a conversation, from its first sign to its last."""
    if draw.random() < 0.6:
        return [*tokenizer.of_prompt(story(draw)), Sign.END]
    turns = [(Sign.SYSTEM, draw.choice(SYSTEMS))] if draw.random() < 0.3 else []
    for _ in range(draw.choice((1, 1, 2, 3))):
        asked, said = _story_asked_for(draw) if draw.random() < 0.3 else draw.choice(FACTS)
        turns += [(Sign.USER, asked), (Sign.ASSISTANT, said)]
    return tokenizer.of_turns(turns)


def windows(draw: Random, length: int) -> Iterator[list[int]]:
    """Endlessly, documents one after the other, cut to that many tokens; each begins where a document does."""
    while True:
        window: list[int] = []
        while len(window) < length:
            window += document(draw)
        yield window[:length]
