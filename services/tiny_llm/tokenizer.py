"""Text to tokens and back: a token is a byte, or one of five signs that no text can contain.

Used by training and by the server alike, so that a prompt looks as it did when the model learned. The subtle thing is
that text never becomes a sign: a prompt that spells one is bytes, so nobody can end a turn by writing that it ended.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final


class Sign(IntEnum):
    BEGIN = 256  # a text
    END = 257  # of a text, or of what the assistant said: generation stops here
    SYSTEM = 258
    USER = 259
    ASSISTANT = 260


VOCABULARY: Final = 261
ROLES: Final = {"system": Sign.SYSTEM, "developer": Sign.SYSTEM, "user": Sign.USER, "assistant": Sign.ASSISTANT}


def of_text(text: str) -> list[int]:
    return list(text.encode(errors="replace"))


def of_prompt(text: str) -> list[int]:
    """A text that the model is to carry on."""
    return [Sign.BEGIN, *of_text(text)]


def of_turns(turns: Iterable[tuple[Sign, str]]) -> list[int]:
    """A conversation. What the assistant said is over when the next turn begins."""
    tokens: list[int] = []
    for role, text in turns:
        tokens += [role, *of_text(text)]
        if role is Sign.ASSISTANT:
            tokens.append(Sign.END)
    return tokens


def of_chat(turns: Iterable[tuple[Sign, str]]) -> list[int]:
    """A conversation in which it is the assistant's turn."""
    return [*of_turns(turns), Sign.ASSISTANT]


def bytes_of(tokens: Sequence[int]) -> bytes:
    """Signs are no text."""
    return bytes(token for token in tokens if token < Sign.BEGIN)


def shown(token: int) -> str:
    """One token as logprobs name it: as OpenAI does, a byte that is no character by itself is spelt out."""
    if token >= Sign.BEGIN:
        return f"<|{Sign(token).name.lower()}|>"
    return chr(token) if token < 0x80 else f"bytes:\\x{token:02x}"
