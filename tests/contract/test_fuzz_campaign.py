"""A seeded part of `make campaign-fuzz`, and that the campaign sees a door that answers wrongly."""

import base64
import json
import threading
from typing import Any

import pytest

from knative_mig.adapters import cloud_events
from tests.fuzz_campaign.campaign import judged, run, summary
from tests.fuzz_campaign.draft import Degree, Sent
from tests.fuzz_campaign.mix import Door, Mix
from tests.fuzz_campaign.observed import MARK, Watcher
from tests.fuzz_campaign.wire import Answer

REQUESTS = 3_000
EVENT = Sent(kind="a binary event", degree=Degree.VALID, data=b"")
REVIEW = Sent(kind="a pod", degree=Degree.VALID, data=b"", uid="1-7", object={"spec": {}})
CHANGED = Sent(kind="a long text", degree=Degree.ONE, data=b"")
CUT_OFF = Sent(kind="cut off", degree=Degree.ONE, data=b"", framed=False)


@pytest.mark.timeout(600)
def test_requests_a_change_from_valid_are_refused_and_valid_ones_are_taken() -> None:
    result = run(requests=REQUESTS, seed=1, connections=4, watch_every=3)
    assert result.passed, "\n".join(summary(result))
    by_degree = {degree: sum(n for (_, d, _), n in result.sent.items() if d is degree) for degree in Degree}
    assert by_degree[Degree.ONE] >= REQUESTS / 2
    assert by_degree[Degree.VALID] >= REQUESTS / 6


@pytest.mark.parametrize("door", Door)
def test_a_seed_draws_the_same_requests_each_time(door: Door) -> None:
    one, other = ([[each.data for each in parcel] for parcel in Mix(door, "5").drawn(200)] for _ in range(2))
    assert one == other
    assert [[each.data for each in parcel] for parcel in Mix(door, "6").drawn(200)] != one


def answer(status: int, body: bytes = b"", *, closes: bool = False) -> Answer:
    return Answer(status=status, body=body, closes=closes)


def reviewed(patch: Any = None, **changed: Any) -> Answer:
    response: dict[str, Any] = {"uid": REVIEW.uid, "allowed": True, **changed}
    if patch is not None:
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    whole = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    return answer(200, json.dumps(whole).encode())


APPENDED = [{"op": "add", "path": "/spec/tolerations", "value": []}]
NOWHERE = [{"op": "add", "path": "/spec/no/such", "value": 1}]


@pytest.mark.parametrize(
    ("door", "sent", "answers"),
    [
        (Door.SINK, EVENT, [answer(202)]),
        (Door.SINK, CHANGED, [answer(202)]),
        (Door.SINK, CHANGED, [answer(413, b"too big\n", closes=True)]),
        (Door.SINK, CUT_OFF, []),
        (Door.WEBHOOK, REVIEW, [reviewed(APPENDED)]),
        (Door.WEBHOOK, CHANGED, [answer(404, b"reviews are taken at /mutate\n")]),
    ],
)
def test_proper_answers_are_let_pass(door: Door, sent: Sent, answers: list[Answer]) -> None:
    assert judged(door, [sent], answers) == ""


@pytest.mark.parametrize(
    ("door", "sent", "answers", "why"),
    [
        (Door.SINK, EVENT, [answer(400, b"no\n")], "a valid request is refused"),
        (Door.SINK, EVENT, [answer(202, b"thanks")], "a body that a Broker would take for an event"),
        (Door.SINK, EVENT, [], "0 answers to 1"),
        (Door.SINK, CHANGED, [], "0 answers to 1"),
        (Door.SINK, CHANGED, [answer(500, b"oh\n")], "no status that this door may answer with"),
        (Door.SINK, CUT_OFF, [answer(503, b"oh\n")], "no status that this door may answer with"),
        (Door.SINK, CHANGED, [answer(404, b"nothing here\n")], "no status that this door may answer with"),
        (Door.SINK, CHANGED, [answer(400, b"two\nlines\n")], "not one short line"),
        (Door.SINK, CHANGED, [answer(400, b"x" * 2000)], "not one short line"),
        (Door.WEBHOOK, REVIEW, [reviewed(uid="1-6")], "the answer to another review"),
        (Door.WEBHOOK, REVIEW, [reviewed(allowed=False)], "refused"),
        (Door.WEBHOOK, REVIEW, [reviewed(NOWHERE)], "a patch that cannot be applied"),
        (Door.WEBHOOK, REVIEW, [answer(200, b"{}")], "no AdmissionReview"),
        (Door.WEBHOOK, CHANGED, [answer(200, b"[]")], "no AdmissionReview"),
    ],
)
def test_what_a_door_must_not_answer_is_seen(door: Door, sent: Sent, answers: list[Answer], why: str) -> None:
    assert why in judged(door, [sent], answers)


def watched(what: Any) -> None:
    """On a thread as a connection has it."""

    def body() -> None:
        watcher.begin()
        what()

    watcher = Watcher(every=1)
    thread = threading.Thread(target=body, name="Thread-1 (process_request_thread)")
    thread.start()
    thread.join()


def test_an_exception_outside_the_error_tree_is_seen_though_somebody_catches_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def caught() -> None:
        headers: Any = [("Content-Type", 7)]
        with pytest.raises(AttributeError):
            cloud_events.decode(headers, b"")

    watched(caught)
    assert MARK in capfd.readouterr().err


def test_what_is_named_anew_where_it_was_met_is_no_such_exception(capfd: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        for body in (b"{", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b'{"a": 1e999}', b"[" * 100_000):
            assert cloud_events.decode([("Content-Type", cloud_events.STRUCTURED)], body)

    watched(refused)
    assert capfd.readouterr().err == ""
