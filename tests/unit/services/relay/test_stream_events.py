"""An engine's stream: its tokens come out, its client's bytes stay what they were, and an end comes whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relay.stream_events import (
    DONE,
    EngineStream,
    Envelope,
    Piece,
    Reading,
    StreamBroken,
    event_of,
    in_envelope,
)

HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 5, "model": "m"}


def chunk(text: str, ids: list[int] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice | ({} if ids is None else {"token_ids": ids})], **more}


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def read(*events: bytes, wants: bool = False) -> list[Piece]:
    return EngineStream(Reading(keeps_tokens=wants)).feed(b"".join(events))


def test_tokens_come_out_and_the_client_sees_what_it_would_have_seen() -> None:
    (piece,) = read(event(chunk("Once", [7])))
    assert piece.ids == (7,)
    assert event_of(piece.chunks[0]) == event(chunk("Once"))


def test_a_token_without_text_is_told_and_not_shown_unless_asked_for() -> None:
    assert read(event(chunk("", [7]))) == [Piece(ids=(7,), chunks=())]
    (piece,) = read(event(chunk("", [7])), wants=True)
    assert event_of(piece.chunks[0]) == event(chunk("", [7]))


def test_whoever_wants_its_tokens_gets_a_chunk_as_it_came_and_in_one_line() -> None:
    as_it_came = b'{"choices" : [{"text":"\xc3\xa9", "token_ids":[7]}]}'
    assert read(b"data: " + as_it_came + b"\n\n", wants=True) == [Piece(ids=(7,), chunks=(as_it_came.decode(),))]
    (piece,) = read(b"data: " + as_it_came.replace(b" ", b"\ndata: ") + b"\n\n", wants=True)
    assert event_of(piece.chunks[0]).count(b"\n") == 2
    assert json.loads(piece.chunks[0]) == json.loads(as_it_came)


def test_an_opening_is_shown() -> None:
    opening = {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    assert read(event(opening)) == [Piece(ids=(), chunks=(json.dumps(opening),))]


def test_an_end_comes_whole_or_not_at_all() -> None:
    stream = EngineStream()
    usage = {**HEAD, "choices": [], "usage": {"total_tokens": 3}}
    assert stream.feed(event(chunk("a", [1]))) == [Piece(ids=(1,), chunks=(json.dumps(chunk("a")),))]
    assert stream.feed(event(chunk("b", [2], "stop")) + event(usage)) == []
    assert stream.feed(DONE) == [
        Piece(ids=(2,), chunks=(json.dumps(chunk("b", None, "stop")), json.dumps(usage)), last=True)
    ]


def test_the_prompt_is_counted_where_the_engine_tells_it() -> None:
    stream = EngineStream()
    (piece,) = stream.feed(event(chunk("a", [1], prompt_token_ids=[1, 2, 3])))
    assert stream.prompt == (1, 2, 3)
    assert piece.chunks == (json.dumps(chunk("a")),)


def vllm(text: str, ids: list[int] | None, prompt: list[int] | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": None, "prompt_token_ids": prompt, "token_ids": ids, **more}
    return {**HEAD, "choices": [choice]}


def test_where_an_engine_writes_nulls_what_was_not_asked_for_is_null_and_each_token_has_its_chunk() -> None:
    stream = EngineStream(Reading(has_nulls=True))
    half, whole = stream.feed(event(vllm("", [7], [1, 2])) + event(vllm("é", [8])))
    assert half == Piece(ids=(7,), chunks=(json.dumps(vllm("", None)),), whole=False)
    assert whole == Piece(ids=(8,), chunks=(json.dumps(vllm("é", None)),))
    assert (stream.prompt, stream.stuck) == ((1, 2), "")


def test_a_client_that_asked_for_tokens_is_told_its_prompts_once() -> None:
    reading = Reading(keeps_tokens=True, has_nulls=True, said_before=2)
    (piece,) = EngineStream(reading).feed(event(vllm("a", [7], [1, 5, 6])))
    assert piece.chunks == (json.dumps(vllm("a", [7])),)


def chat(delta: dict[str, Any], ids: list[int] | None, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "token_ids": ids, "finish_reason": None}], **more}


OPENING = {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "prompt_token_ids": [1]}


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ((OPENING, chat({"content": "a"}, [2])), ""),
        ((OPENING, chat({"reasoning": "a"}, [2])), "more out of its text"),
        ((OPENING, chat({}, [2])), "more out of its text"),
        ((OPENING, chat({"content": "a"}, None)), "the tokens of its text"),
        ((chat({"content": "a"}, [2]),), "its prompt's tokens"),
        ((OPENING, chat({"content": "a"}, [2], usage={"prompt_tokens": 1})), "usage"),
    ],
)
def test_a_chat_that_a_completion_could_not_go_on_with_is_stuck(chunks: tuple[dict[str, Any], ...], why: str) -> None:
    stream = EngineStream(Reading(has_nulls=True))
    stream.feed(b"".join(map(event, chunks)))
    assert why in stream.stuck
    assert bool(why) == bool(stream.stuck)


def test_what_a_parser_holds_back_is_told_without_a_word() -> None:
    _, piece = EngineStream(Reading(has_nulls=True)).feed(event(OPENING) + event(chat({}, [2])))
    assert (piece.ids, piece.chunks) == ((2,), ())


@given(
    texts=st.lists(st.text(), min_size=1, max_size=5),
    spaced=st.booleans(),
    spelt_out=st.booleans(),
    size=st.integers(1, 40),
)
def test_however_it_is_cut_and_written_the_same_comes_out(
    *, texts: list[str], spaced: bool, spelt_out: bool, size: int
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")

    def written(value: dict[str, Any]) -> bytes:
        text = json.dumps(value, separators=separators, ensure_ascii=spelt_out)
        return b"data: " + text.encode(errors="surrogatepass") + b"\n\n"

    texts = [text.encode(errors="replace").decode() + "." for text in texts]
    whole = b"".join(written(chunk(text, [n])) for n, text in enumerate(texts))
    stream = EngineStream()
    pieces = [piece for at in range(0, len(whole), size) for piece in stream.feed(whole[at : at + size])]
    assert [piece.ids for piece in pieces] == [(n,) for n in range(len(texts))]
    assert [event_of(piece.chunks[0]) for piece in pieces] == [written(chunk(text)) for text in texts]


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n", b"data: []\n\n", b'data: {"choices": [1]}\n\n', b'data: {"error": {"message": "full"}}\n\n',
        b'data: {"choices": [], "id": "\xff"}\n\n', DONE,
    ],
)  # fmt: skip
def test_what_is_no_stream_is_broken(data: bytes) -> None:
    with pytest.raises(StreamBroken):
        read(data)


def test_comments_and_empty_events_are_nothing() -> None:
    assert read(b": ping\n\n", b"event: x\n\n", b"\n\n") == []


def test_another_engines_chunk_looks_like_the_first_ones() -> None:
    other = chunk("b") | {"id": "cmpl-9", "created": 9, "model": "n"}
    envelope = Envelope(id="cmpl-1", created=5, model="m")
    assert in_envelope(json.dumps(other), envelope) == json.dumps(chunk("b"))
    with pytest.raises(StreamBroken):
        in_envelope("[]", envelope)
