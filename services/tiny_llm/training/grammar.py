"""The sentences that the model learns from, and so what is right and what is wrong for it to say.

Short stories, questions about them, and conversations. Each story has a hero, a friend, a thing and a place, and names
them again: whoever carries a story on correctly has read its beginning, which is what the tests look for. Everything is
drawn from a seeded generator.
"""

from random import Random
from typing import Final

from services.tiny_llm import tokenizer
from services.tiny_llm.tokenizer import Sign

HEROES: Final = ("Tom", "Mia", "Ben", "Lily", "Max", "Anna", "Sam", "Zoe")
FRIENDS: Final = ("Leo", "Ida", "Finn", "Nora", "Paul", "Rosa", "Jack", "Emma")
ANIMALS: Final = ("cat", "dog", "fox", "owl", "bear", "frog", "duck", "mouse", "horse", "goat")
SIZES: Final = ("little", "big", "young", "brave")
PLACES: Final = ("by the river", "in the forest", "on a hill", "near the lake", "in a barn", "under a tree")
COLOURS: Final = ("red", "blue", "green", "yellow", "white", "black")
THINGS: Final = ("ball", "hat", "key", "kite", "book", "bell", "boat", "cup")
TIMES: Final = ("One day", "In spring", "After lunch")

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
    hero, friend, place = draw.choice(HEROES), draw.choice(FRIENDS), draw.choice(PLACES)
    thing = f"{draw.choice(COLOURS)} {draw.choice(THINGS)}"
    sentences = [
        f"Once there was a {draw.choice(SIZES)} {animal or draw.choice(ANIMALS)} named {hero}.",
        f"{hero} lived {place}.",
        f"{draw.choice(TIMES)}, {hero} found a {thing}.",
        f"{friend} saw the {thing}.",
        f"{hero} and {friend} played {place}.",
    ]
    if draw.random() < 0.5:
        sentences.append(draw.choice((f"Who found the {thing}? {hero} did.", f"Who saw the {thing}? {friend} did.")))
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


def window(draw: Random, length: int) -> list[int]:
    """Documents one after the other, cut to that many tokens."""
    tokens: list[int] = []
    while len(tokens) < length:
        tokens += document(draw)
    return tokens[:length]
