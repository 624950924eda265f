"""CloudEvents are taken as the specification says, and nothing else is: no guess, no invented id, no exception."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings import http
from hypothesis import given
from hypothesis import strategies as st

from knative_mig.adapters.cloud_events import DEEPEST, LARGEST, LONGEST, decode, encode
from knative_mig.core.errors import BadInput
from knative_mig.core.events import Event, Rejected

Headers = list[tuple[str, str]]

WHOLE = {
    "specversion": "1.0",
    "id": "uid-1/7",
    "source": "/apis/v1/namespaces/team/services/tiny",
    "type": "dev.knative-mig.revision.pending.v1",
    "subject": "team/tiny-00001",
    "time": "2026-01-31T12:00:00Z",
    "migprofile": "1g.5gb+me",
    "count": 2,
    "data": {"why": "Unschedulable", "nodes": [1, 2.5, None]},
}
EVENT = Event(
    source="/apis/v1/namespaces/team/services/tiny",
    id="uid-1/7",
    type="dev.knative-mig.revision.pending.v1",
    subject="team/tiny-00001",
    time="2026-01-31T12:00:00+00:00",
    extensions={"migprofile": "1g.5gb+me", "count": "2"},
    data={"why": "Unschedulable", "nodes": [1, 2.5, None]},
)
STRUCTURED = [("Content-Type", "application/cloudevents+json; charset=UTF-8")]


def binary(**changed: str | None) -> Headers:
    """The headers of `WHOLE`; None takes one away."""
    whole = {f"ce-{name}": str(value) for name, value in WHOLE.items() if name != "data"}
    whole = {**whole, "content-type": "application/json"}
    both = {**whole, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return [(name, value) for name, value in both.items() if value is not None]


def structured(**changed: Any) -> bytes:
    return json.dumps({**WHOLE, **changed}).encode()


DATA = json.dumps(WHOLE["data"]).encode()


def test_an_event_is_the_same_from_both_modes() -> None:
    assert decode(binary(), DATA) == EVENT
    assert decode(STRUCTURED, structured()) == EVENT


def test_the_library_reads_the_same_where_it_reads_well() -> None:
    for headers, body in ((binary(), DATA), (STRUCTURED, structured())):
        theirs = http.from_http_event(http.HTTPMessage(dict(headers), body))
        ours = decode(headers, body)
        assert isinstance(ours, Event)
        assert (theirs.get_id(), theirs.get_source(), theirs.get_type()) == (ours.id, ours.source, ours.type)
        assert (theirs.get_subject(), theirs.get_data()) == (ours.subject, ours.data)
        assert str(theirs.get_extension("count")) == ours.extensions["count"]


def test_headers_are_told_apart_in_any_case_and_others_do_not_matter() -> None:
    headers = [(name.upper(), f" {value} ") for name, value in binary()]
    assert decode([*headers, ("Prefer", "reply"), ("Kn-Namespace", "team")], DATA) == EVENT


def test_the_content_type_decides_and_not_the_headers_beside_it() -> None:
    assert decode([*STRUCTURED, ("ce-id", "another"), ("ce-specversion", "0.3")], structured()) == EVENT


def test_an_event_may_have_no_data_no_time_and_no_subject() -> None:
    least = Event(source="/s", id="1", type="t")
    sent = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
    assert decode(sent, b"") == least
    few = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": None, "subject": None}
    assert decode(STRUCTURED, json.dumps(few).encode()) == least


def test_characters_beyond_ascii_are_percent_encoded_in_headers() -> None:
    told = decode(binary(ce_subject="t%C3%A9am/100%"), DATA)
    assert isinstance(told, Event)
    assert told.subject == "téam/100%"


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        pytest.param('"team"', "team", id="quoted"),
        pytest.param(r'"a \"b\" \\ c"', r'a "b" \ c', id="escaped within quotes"),
        pytest.param('"t%C3%A9am"', "téam", id="quoted, then percent-encoded"),
        pytest.param("%22team%22", '"team"', id="quotes that are meant"),
        pytest.param('"', '"', id="one quote"),
        pytest.param('a "b"', 'a "b"', id="quotes within"),
    ],
)
def test_a_header_says_the_same_in_quotes(sent: str, heard: str) -> None:
    told = decode(binary(ce_subject=sent), DATA)
    assert isinstance(told, Event)
    assert told.subject == heard


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456+00:00"),
        ("2026-01-31T12:00:00+14:00", "2026-01-31T12:00:00+14:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_times_are_kept_in_one_spelling(sent: str, kept: str) -> None:
    told = decode(binary(ce_time=sent), DATA)
    assert isinstance(told, Event)
    assert told.time == kept


@pytest.mark.parametrize(
    ("headers", "status", "why"),
    [
        pytest.param(binary(ce_id=None), 400, "ce-id is missing", id="no id"),
        pytest.param(binary(ce_source=None), 400, "ce-source is missing", id="no source"),
        pytest.param(binary(ce_type=None), 400, "ce-type is missing", id="no type"),
        pytest.param(binary(ce_specversion=None), 400, "ce-specversion is missing", id="no version"),
        pytest.param(binary(ce_specversion="0.3"), 400, "legal is 1.0", id="an old version"),
        pytest.param(binary(ce_id=""), 400, "id is empty", id="an empty id"),
        pytest.param(binary(ce_subject=" "), 400, "subject is empty", id="an empty subject"),
        pytest.param([*binary(), ("CE-Id", "2")], 400, "came twice", id="two ids"),
        pytest.param([*binary(), ("ce-mig-profile", "x")], 400, "no name of an attribute", id="a dash in a name"),
        pytest.param([*binary(), ("ce-data", "x")], 400, "no name of an attribute", id="an extension named data"),
        pytest.param([*binary(), ("ce-", "x")], 400, "no name of an attribute", id="a name of nothing"),
        pytest.param(binary(ce_datacontenttype="application/json"), 400, "it is Content-Type", id="the type twice"),
        pytest.param(binary(ce_id="%FF"), 400, "not UTF-8", id="no UTF-8"),
        pytest.param(binary(ce_id="é"), 400, "not ASCII", id="no ASCII"),
        pytest.param(binary(ce_id="a%0Ab"), 400, "control characters", id="a line break"),
        pytest.param(binary(ce_id="a" * (LONGEST + 1)), 400, "legal are 2048", id="an id without end"),
        pytest.param(binary(ce_time="yesterday"), 400, "time is 'yesterday'", id="no time"),
        pytest.param(binary(ce_time="2026-02-30T12:00:00Z"), 400, "time is", id="no such day"),
        pytest.param(binary(ce_time="2026-01-31T12:00:00"), 400, "time is", id="a time of no zone"),
        pytest.param(binary(ce_time="2026-01-31T12:00:00+99:99"), 400, "time is", id="no such zone"),
        pytest.param(binary(content_type=None), 415, "no Content-Type", id="data of no type"),
        pytest.param(binary(content_type=""), 415, "no Content-Type", id="data of an empty type"),
        pytest.param(binary(content_type=";;;"), 415, "no Content-Type", id="data of a type without a name"),
        pytest.param(binary(content_type="text/plain"), 415, "legal are", id="data of another type"),
        pytest.param(binary(content_type="application/json; charset=latin-1"), 415, "utf-8", id="another charset"),
        pytest.param([("content-type", "application/cloudevents-batch+json")], 415, "batch", id="a batch"),
        pytest.param([("content-type", "application/cloudevents+avro")], 415, "legal are", id="another format"),
        pytest.param([], 400, "ce-specversion is missing", id="no headers"),
    ],
)
def test_what_is_wrong_with_headers_is_said(headers: Headers, status: int, why: str) -> None:
    refused = decode(headers, DATA)
    assert isinstance(refused, Rejected)
    assert (refused.status, why in refused.reason) == (status, True), refused


BODIES = [
    pytest.param(b"[]", 400, "a list", id="a list"),
    pytest.param(b'"x"', 400, "a string", id="a string"),
    pytest.param(b"{", 400, "not JSON", id="broken JSON"),
    pytest.param(b'{"a": NaN}', 400, "no JSON number", id="no number"),
    pytest.param(b'{"a": 1e999}', 400, "too big", id="a number without end"),
    pytest.param(b'{"a": ' + b"9" * 5000 + b"}", 400, "not JSON", id="more digits than Python reads"),
    pytest.param(b'{"a": 1, "a": 2}', 400, "comes twice", id="a name twice"),
    pytest.param(b'{"a": "\xff"}', 400, "not UTF-8", id="no UTF-8"),
    pytest.param("{}".encode("utf-16"), 400, "not UTF-8", id="UTF-16"),
    pytest.param(b'{"a":' * 50_000, 413, "legal are 65536", id="deep and too big"),
    pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "deeper than", id="deep beyond the parser"),
    pytest.param(b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), 400, "deeper than", id="deep"),
    pytest.param(b'{"a": "' + b"x" * LARGEST + b'"}', 413, "legal are 65536", id="too big"),
]


@pytest.mark.parametrize("headers", [pytest.param(binary(), id="binary"), pytest.param(STRUCTURED, id="structured")])
@pytest.mark.parametrize(("body", "status", "why"), BODIES)
def test_what_is_wrong_with_a_body_is_said(headers: Headers, body: bytes, status: int, why: str) -> None:
    refused = decode(headers, body)
    assert isinstance(refused, Rejected)
    assert (refused.status, why in refused.reason) == (status, True), refused


@pytest.mark.parametrize(
    ("changed", "status", "why"),
    [
        pytest.param({"id": None}, 400, "id is missing", id="no id"),
        pytest.param({"id": 1}, 400, "legal is a string", id="an id that is a number"),
        pytest.param({"specversion": 1.0}, 400, "legal is a string", id="a version that is a number"),
        pytest.param({"time": 1}, 400, "legal is a string", id="a time that is a number"),
        pytest.param({"id": "\ud800"}, 400, "control characters", id="half a character"),
        pytest.param({"count": 2.0}, 400, "integer of 32 bits", id="an extension that is a fraction"),
        pytest.param({"count": 2**31}, 400, "integer of 32 bits", id="an extension of 64 bits"),
        pytest.param({"count": {}}, 400, "integer of 32 bits", id="an extension that is an object"),
        pytest.param({"migProfile": "x"}, 400, "no name of an attribute", id="a capital in a name"),
        pytest.param({"data": [1]}, 400, "data is a list", id="data that are a list"),
        pytest.param({"data": "x"}, 400, "data is a string", id="data that are a string"),
        pytest.param({"data_base64": "e30="}, 415, "data_base64", id="data in base64"),
        pytest.param({"datacontenttype": "text/plain"}, 415, "legal are application/json", id="data of another type"),
        pytest.param({"datacontenttype": "application/cloudevents+json"}, 415, "legal is", id="an event in an event"),
    ],
)
def test_what_is_wrong_with_a_structured_event_is_said(changed: dict[str, Any], status: int, why: str) -> None:
    refused = decode(STRUCTURED, structured(**changed))
    assert isinstance(refused, Rejected)
    assert (refused.status, why in refused.reason) == (status, True), refused


def test_a_boolean_is_written_as_in_a_header() -> None:
    told = decode(STRUCTURED, structured(urgent=True))
    assert isinstance(told, Event)
    assert told.extensions["urgent"] == "true"


# -- whatever comes ----------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in {*WHOLE, "datacontenttype", "dataschema"}
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(
    Event,
    source=TEXT,
    id=TEXT,
    type=TEXT,
    subject=st.just("") | TEXT,
    time=st.just("") | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    dataschema=st.just("") | TEXT,
    extensions=st.dictionaries(NAMES, st.just("") | TEXT, max_size=4),
    data=st.dictionaries(st.text(), JSON_VALUES, max_size=4),
)


@given(EVENTS)
def test_what_is_sent_is_what_is_read(event: Event) -> None:
    headers, body = encode(event)
    assert all(value.isascii() for value in headers.values())
    assert decode(headers.items(), body) == event


def test_nothing_is_sent_that_would_not_be_taken() -> None:
    for wrong in (
        replace(EVENT, id=""),
        replace(EVENT, source="a\nb"),
        replace(EVENT, time="noon"),
        replace(EVENT, extensions={"mig-profile": "x"}),
    ):
        with pytest.raises(BadInput):
            encode(wrong)


MUTATIONS = st.sampled_from([*binary(), ("ce-x", "1"), ("content-type", "application/cloudevents+json")])
PIECES = st.sampled_from([b'"id"', b'"uid-1/7"', b"{", b"}", b",", b'"1.0"', b'"data"', b"2", b'"time"', b'"count"'])


@given(
    dropped=st.sets(st.integers(0, 9), max_size=2),
    added=st.lists(st.tuples(st.text(max_size=8) | MUTATIONS.map(lambda m: m[0]), st.text(max_size=20)), max_size=2),
    taken=PIECES,
    put=st.binary(max_size=6) | PIECES,
    mode=st.sampled_from(["binary", "structured"]),
)
def test_an_event_that_is_nearly_one_raises_nothing_and_gets_no_id(
    dropped: set[int], added: Headers, taken: bytes, put: bytes, mode: str
) -> None:
    headers = STRUCTURED if mode == "structured" else binary()
    headers = [*(pair for at, pair in enumerate(headers) if at not in dropped), *added]
    body = (structured() if mode == "structured" else DATA).replace(taken, put, 1)
    told = decode(headers, body)
    if isinstance(told, Event):
        assert told.id == _id_that_was_sent(headers, body)
        assert decode(*_again(told)) == told
    else:
        assert told.status in {400, 413, 415}
        assert told.reason.isprintable()


def _id_that_was_sent(headers: Headers, body: bytes) -> str:
    sent = {name.lower(): value.strip(" \t") for name, value in headers}
    if sent["content-type"].startswith("application/cloudevents+json"):
        return str(json.loads(body)["id"])
    return unquote(sent["ce-id"], errors="strict")


def _again(event: Event) -> tuple[Headers, bytes]:
    headers, body = encode(event)
    return [*headers.items()], body


@given(st.lists(st.tuples(st.text(), st.text())), st.binary())
def test_noise_raises_nothing(headers: Headers, body: bytes) -> None:
    assert isinstance(decode(headers, body), Rejected | Event)
    assert isinstance(decode(STRUCTURED, body), Rejected)
