import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiny_llm.text_stream import TextStream


def fed(stream: TextStream, text: bytes) -> list[str]:
    return [stream.feed(byte) for byte in text]


def test_a_character_goes_out_whole() -> None:
    assert fed(TextStream(()), "é!".encode()) == ["", "é", "!"]


def test_what_may_become_a_stop_string_is_held_back_until_it_is_known() -> None:
    assert fed(TextStream(("end.",)), b"the es") == ["t", "h", "", "e ", "", "es"]
    assert "".join(fed(TextStream(("end.",)), b"an en")) == "an "
    assert "".join(fed(TextStream(("end.",)), b"an ends")) == "an ends"


def test_a_stop_string_and_what_follows_it_are_nobodys() -> None:
    stream = TextStream(("b\n", "xx"))
    assert "".join(fed(stream, b"aab\nmore")) + stream.finish() == "aa"
    assert stream.stopped


def test_half_a_stop_string_at_the_end_is_text() -> None:
    stream = TextStream(("stop",))
    assert "".join(fed(stream, b"a sto")) == "a "
    assert stream.finish() == "sto"
    assert not stream.stopped


def test_bytes_that_are_no_text_are_replaced() -> None:
    stream = TextStream(())
    assert "".join(fed(stream, b"a\xffb\xc3")) + stream.finish() == "a\ufffdb\ufffd"


@given(
    text=st.text(st.sampled_from("abé"), max_size=20),
    stops=st.lists(st.text(st.sampled_from("abé"), min_size=1, max_size=4), max_size=3),
)
def test_in_pieces_it_is_the_text_up_to_the_first_stop_string(text: str, stops: list[str]) -> None:
    stream = TextStream(stops)
    out = "".join(fed(stream, text.encode())) + stream.finish()
    # The stop string that is complete first decides; of several that are, the one that begins first.
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)]
    if ends:
        whole = text[: ends[0]]
        assert out == whole[: min(whole.find(stop) for stop in stops if stop in whole)]
    else:
        assert out == text
    assert stream.stopped == bool(ends)


@pytest.mark.parametrize("stop", ["aa", "aba", "abab"])
def test_a_stop_string_that_begins_within_itself_is_found(stop: str) -> None:
    stream = TextStream((stop,))
    assert "".join(fed(stream, b"ab" + stop.encode())) in {"ab", "a", ""}
    assert stream.stopped
