from hypothesis import given
from hypothesis import strategies as st

from services.tiny_llm import tokenizer
from services.tiny_llm.tokenizer import Sign


@given(st.text())
def test_text_survives_and_is_never_a_sign(text: str) -> None:
    tokens = tokenizer.of_text(text)
    assert max(tokens, default=0) < Sign.BEGIN
    assert tokenizer.bytes_of(tokens) == text.encode()


def test_a_conversation_ends_with_the_assistants_turn() -> None:
    turns = [(Sign.SYSTEM, "s"), (Sign.USER, "u"), (Sign.ASSISTANT, "a"), (Sign.USER, "v")]
    assert tokenizer.of_chat(turns) == [
        Sign.SYSTEM, 115, Sign.USER, 117, Sign.ASSISTANT, 97, Sign.END, Sign.USER, 118, Sign.ASSISTANT,
    ]  # fmt: skip


def test_a_token_is_shown_as_what_it_is() -> None:
    assert [tokenizer.shown(token) for token in (97, 0xC3, Sign.END)] == ["a", "bytes:\\xc3", "<|end|>"]
