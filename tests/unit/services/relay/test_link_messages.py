"""Messages between relays: what is written is read, and what a broken or foreign peer says is refused in one way."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relay.link_messages import (
    Alive,
    Go,
    Leave,
    Message,
    Misunderstood,
    Onward,
    Open,
    Prompt,
    Refuse,
    Said,
    Stays,
    Stuck,
    Tokens,
    Warm,
    line_of,
    message_of,
)

ids = st.lists(st.integers(0, 200_000)).map(tuple)
counts = st.integers(0, 1 << 20)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Open, path=st.text(), body=st.dictionaries(st.text(), st.text() | st.integers() | st.none())),
    st.builds(Prompt, ids=ids),
    st.builds(Tokens, at=counts, ids=ids),
    st.builds(Go, at=counts, ids=ids),
    st.just(Leave()),
    st.builds(Warm, count=counts),
    st.builds(Said, at=counts, ids=ids, chunks=st.lists(st.text()).map(tuple), last=st.booleans(), whole=st.booleans()),
    st.builds(Stuck, why=st.text()),
    st.builds(Stays, why=st.text()),
    st.builds(Onward, to=st.text()),
    st.builds(Refuse, why=st.text()),
    st.just(Alive()),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(messages)
def test_what_is_written_is_read_and_is_one_line(message: Message) -> None:
    line = line_of(message)
    assert line.count(b"\n") == 1
    assert message_of(line) == message


@given(messages, st.data())
def test_a_message_with_one_field_changed_is_understood_or_refused(message: Message, data: st.DataObject) -> None:
    value = json.loads(line_of(message))
    ((name, fields),) = value.items()
    fields[data.draw(st.sampled_from([*fields, "more"]))] = data.draw(anything)
    try:
        read = message_of(json.dumps({name: fields}).encode())
    except Misunderstood:
        return
    assert type(read) is type(message)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"go": {"at": 1, "ids": []}, "leave": {}}',
        b'{"go": null}',
        b'{"warm": {"count": true}}',
        b'{"warm": {"count": -1}}',
        b'{"warm": {"count": 1e3}}',
        b'{"go": {}}',
        b'{"go": {"at": 1, "ids": [], "more": 1}}',
        b'{"warm": {"count": 99999999999}}',
        b'{"tokens": {"at": 0, "ids": [1, "2"]}}',
        b'{"tokens": {"at": 0, "ids": [-1]}}',
        b'{"open": {"path": "/", "body": {}}}',
        b'{"open": {"path": "/", "body": {}, "version": 1}}',
        b'{"fly": {}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(Misunderstood):
        message_of(line)


def test_a_message_of_json_by_hand() -> None:
    value: dict[str, Any] = {"said": {"at": 2, "ids": [7], "chunks": ["{}"], "last": False, "whole": True}}
    assert message_of(json.dumps(value).encode()) == Said(at=2, ids=(7,), chunks=("{}",))
