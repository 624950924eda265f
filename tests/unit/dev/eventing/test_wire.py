"""Events with their data as they came, in and out."""

import json

import pytest

from knative_mig.core.events import Rejected, Why
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.wire import read, written

ABOUT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
STRUCTURED = ("Content-Type", "application/cloudevents+json; charset=utf-8")


def binary(content_type: str, body: bytes) -> Event | Rejected:
    said = [("Content-Type", content_type)] if content_type else []
    return read([*((f"Ce-{name}", value) for name, value in ABOUT.items()), *said, ("X-Other", "x")], body)


def structured(**more: object) -> Event | Rejected:
    return read([STRUCTURED], json.dumps({**ABOUT, **more}).encode())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/plain", b"hello"), ("image/png", b"\x89PNG\xff"), ("application/json", b" [1, 2] "), ("", b""), ("", b"?")],
)
def test_data_of_any_type_go_out_as_they_came_in(content_type: str, body: bytes) -> None:
    event = binary(content_type, body)
    assert isinstance(event, Event)
    headers, content = written(event)
    assert (headers.get("content-type", ""), content) == (content_type, body)
    assert read(headers.items(), content) == event


@pytest.mark.parametrize(
    ("more", "content_type", "content"),
    [
        ({}, "application/json", b""),
        ({"data": {"n": [1, None]}}, "application/json", b'{"n":[1,null]}'),
        ({"data": "hello"}, "application/json", b'"hello"'),
        ({"data": "hello", "datacontenttype": "text/plain"}, "text/plain", b"hello"),
        ({"data": "hello", "datacontenttype": "application/x+json"}, "application/x+json", b'"hello"'),
        ({"data_base64": "/w==", "datacontenttype": "image/png"}, "image/png", b"\xff"),
    ],
)
def test_data_of_a_structured_event_are_taken_out_of_it(
    more: dict[str, object], content_type: str, content: bytes
) -> None:
    event = structured(**more, tier="gold")
    assert isinstance(event, Event)
    assert (event.id, event.extensions, event.content_type, event.content) == (
        "1",
        {"tier": "gold"},
        content_type,
        content,
    )


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([STRUCTURED], b"{"),
        ([STRUCTURED], b"[]"),
        ([STRUCTURED], b"[" * 60_000),
        ([STRUCTURED], b'{"data": {}}'),
        ([STRUCTURED], json.dumps({**ABOUT, "data_base64": "?"}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "data_base64": 1}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "datacontenttype": "a\r\nb"}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "extension": {}}).encode()),
        ([("Content-Type", "application/cloudevents-batch+json")], b"[]"),
        ([("Ce-Id", "1")], b""),
    ],
)
def test_what_is_no_event_is_refused_as_malformed(headers: list[tuple[str, str]], body: bytes) -> None:
    found = read(headers, body)
    assert isinstance(found, Rejected)
    assert found.status == 400


@pytest.mark.parametrize("more", [[], [(f"ce-{name}", value) for name, value in ABOUT.items()]])
def test_a_batch_is_refused_as_one_whatever_else_is_said_of_it(more: list[tuple[str, str]]) -> None:
    found = read([("Content-Type", "Application/CloudEvents-Batch+JSON; charset=utf-8"), *more], b"[]")
    assert found == Rejected(status=Why.MALFORMED, reason="this is a batch: events are taken one by one")


def test_what_is_too_large_is_told_so() -> None:
    found = binary("text/plain", b"x" * 65_537)
    assert isinstance(found, Rejected)
    assert found.status == 413


OLD = [("ce-specversion", "0.3"), *((f"ce-{name}", value) for name, value in ABOUT.items() if name != "specversion")]


def test_an_event_of_the_version_before_goes_out_as_it_came_in() -> None:
    event = read([*OLD, ("ce-schemaurl", "/schema"), ("ce-tier", "gold"), ("Content-Type", "text/plain")], b"hello")
    assert isinstance(event, Event)
    assert (event.specversion, event.dataschema, event.extensions) == ("0.3", "/schema", {"tier": "gold"})
    headers, content = written(event)
    assert {name.lower(): value for name, value in headers.items()} == {
        "ce-specversion": "0.3",
        "ce-id": "1",
        "ce-source": "/s",
        "ce-type": "t",
        "ce-schemaurl": "/schema",
        "ce-tier": "gold",
        "content-type": "text/plain",
    }
    assert content == b"hello"
    assert read(headers.items(), content) == event


def test_the_version_before_may_be_in_quotes_as_any_header_may() -> None:
    event = read([("ce-specversion", '"0.3"'), *OLD[1:]], b"")
    assert isinstance(event, Event)
    assert event.specversion == "0.3"


@pytest.mark.parametrize(
    ("more", "content"),
    [
        ({"data": {"n": 1}}, b'{"n":1}'),
        ({"data": "/w==", "datacontentencoding": "base64", "datacontenttype": "image/png"}, b"\xff"),
        ({"datacontentencoding": "base64"}, b""),
    ],
)
def test_a_structured_event_of_the_version_before_says_otherwise_that_its_data_are_base64(
    more: dict[str, object], content: bytes
) -> None:
    event = structured(**{"specversion": "0.3", "schemaurl": "/schema", **more})
    assert isinstance(event, Event)
    assert (event.specversion, event.dataschema, event.content) == ("0.3", "/schema", content)
    assert not event.extensions


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([*OLD, ("ce-datacontentencoding", "base64")], b""),
        ([*OLD, ("ce-schemaurl", "/a"), ("ce-schemaurl", "/b")], b""),
        ([STRUCTURED], json.dumps({**ABOUT, "specversion": "0.3", "datacontentencoding": "gzip"}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "specversion": "0.3", "data_base64": "/w=="}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "specversion": "0.2"}).encode()),
        ([STRUCTURED], json.dumps({**ABOUT, "specversion": []}).encode()),
    ],
)
def test_what_is_no_event_of_the_version_before_is_refused(headers: list[tuple[str, str]], body: bytes) -> None:
    found = read(headers, body)
    assert isinstance(found, Rejected)
    assert found.status == 400


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([("ce-specversion", "0.2"), *OLD[1:]], b""),
        ([STRUCTURED], json.dumps({**ABOUT, "specversion": "0.2"}).encode()),
    ],
)
def test_who_sends_another_version_is_told_of_both_that_are_taken(headers: list[tuple[str, str]], body: bytes) -> None:
    found = read(headers, body)
    assert isinstance(found, Rejected)
    assert found.reason.endswith("'0.2': legal are 0.3 and 1.0")
