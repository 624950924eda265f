"""Events sent over real sockets: what each answer means, what goes with an event, and what is never written down."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from knative_mig.adapters.event_sender import EventSender
from knative_mig.adapters.event_sender import Sink as Where
from knative_mig.core.errors import BadInput
from knative_mig.core.events import PENDING, Delivered, Delivery, Event, PendingRevision
from tests.cluster.tls import Certificate, self_signed
from tests.contract.sinks import Answer, Sink, sink

EVENT = Event(
    source="/apis/serving.knative.dev/v1/namespaces/team/revisions/tiny-00001",
    id="uid-1/7/3g.20gb/1/1767225600-0",
    type=PENDING,
    subject="team/tiny-00001",
    time="2026-01-01T00:00:00+00:00",
    extensions={"migprofile": "3g.20gb", "count": "1", "revisionuid": "uid-1"},
    data={"cause": "NoSlice"},
)


@pytest.fixture
def there() -> Iterator[Sink]:
    with sink() as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"), "sink", "127.0.0.1")


def sender(url: str, *, within_s: float = 5.0, **settings: str) -> EventSender:
    return EventSender(Where.parse(url, **settings), within_s=within_s)


class TestAnswers:
    def test_an_event_arrives_as_it_was_sent_and_is_taken(self, there: Sink) -> None:
        assert sender(there.url).send(EVENT) == Delivery(outcome=Delivered.TAKEN)
        assert there.events == [EVENT]
        assert PendingRevision.of(there.events[0]).profile == PendingRevision.of(EVENT).profile

    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_every_2xx_takes_it_whatever_it_says(self, there: Sink, status: int) -> None:
        body = b"" if status == 204 else b'{"specversion": "1.0"}'
        there.answer = Answer(status=status, body=body, headers={"Content-Type": "application/cloudevents+json"})
        assert sender(there.url).send(EVENT).outcome is Delivered.TAKEN

    @pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503, 504])
    def test_what_knative_would_repeat_is_worth_another_try(self, there: Sink, status: int) -> None:
        there.answer = Answer(status=status)
        found = sender(there.url).send(EVENT)
        assert found == Delivery(outcome=Delivered.FAILED, reason=f"{there.url} answered {status}")

    @pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 405, 413, 415, 422])
    def test_all_else_is_refused_for_good_and_no_redirect_followed(self, there: Sink, status: int) -> None:
        there.answer = Answer(status=status, headers={"Location": f"{there.url}/elsewhere"})
        found = sender(there.url).send(EVENT)
        assert found == Delivery(outcome=Delivered.REFUSED, reason=f"{there.url} answered {status}")
        assert len(there.events) == 1

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [("7", 7.0), ("86400", 60.0), ("", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-1", 0.0), ("1e9", 0.0)],
    )
    def test_a_sink_that_names_a_time_is_heard_up_to_a_minute(self, there: Sink, said: str, seconds: float) -> None:
        there.answer = Answer(status=503, headers={"Retry-After": said})
        assert sender(there.url).send(EVENT).retry_after_s == seconds

    def test_one_that_closes_without_an_answer_has_failed(self, there: Sink) -> None:
        there.answer = Answer(cut=True)
        found = sender(there.url).send(EVENT)
        assert found.outcome is Delivered.FAILED
        assert found.reason.startswith(f"{there.url}: the connection broke off")

    def test_one_that_hangs_has_failed_in_time(self, there: Sink) -> None:
        there.answer = Answer(hang=True)
        began = time.monotonic()
        found = sender(there.url, within_s=0.3).send(EVENT)
        assert found == Delivery(outcome=Delivered.FAILED, reason=f"{there.url}: no answer in time")
        assert time.monotonic() - began >= 0.25

    def test_one_that_is_not_there_has_failed(self) -> None:
        with sink() as gone:
            url = gone.url
        assert sender(url).send(EVENT) == Delivery(outcome=Delivered.FAILED, reason=f"{url}: no connection")

    def test_one_whose_name_is_not_known_has_failed(self) -> None:
        found = sender("http://nowhere.invalid").send(EVENT)
        assert found.outcome is Delivered.FAILED
        assert found.reason == "http://nowhere.invalid: its name is not known"

    def test_a_connection_serves_many_events(self, there: Sink) -> None:
        there.answer = Answer(body=b"thank you")
        mine = sender(there.url)
        for number in range(20):
            assert mine.send(replace(EVENT, id=str(number))).outcome is Delivered.TAKEN
        assert len(there.connections) == 1

    def test_a_connection_that_the_sink_has_closed_meanwhile_is_made_anew(self) -> None:
        with sink() as first:
            mine = sender(first.url)
            assert mine.send(EVENT).outcome is Delivered.TAKEN
            port = int(first.url.rpartition(":")[2])
        with sink(port=port) as second:
            found = [mine.send(EVENT).outcome for _ in range(2)]
            assert found[-1] is Delivered.TAKEN
            assert second.events[-1] == EVENT

    def test_what_is_no_event_is_refused_before_it_is_sent(self, there: Sink) -> None:
        found = sender(there.url).send(replace(EVENT, id="x" * 5000))
        assert found.outcome is Delivered.REFUSED
        assert there.events == []


class TestOverrides:
    def test_each_event_gets_the_extensions(self, there: Sink) -> None:
        mine = sender(there.url, overrides='{"extensions": {"cluster": "west", "traceparent": "00-1-2-01"}}')
        assert mine.send(EVENT).outcome is Delivered.TAKEN
        assert there.events[0].extensions == {**EVENT.extensions, "cluster": "west", "traceparent": "00-1-2-01"}

    @pytest.mark.parametrize("overrides", ["", " ", "{}", '{"extensions": {}}', '{"extensions": null}'])
    def test_none_are_none(self, overrides: str) -> None:
        assert Where.parse("http://sink", overrides=overrides).extensions == {}

    @pytest.mark.parametrize(
        ("overrides", "why"),
        [
            ("{", "is no JSON"),
            ("[" * 100_000, "is no JSON"),
            ("[]", "legal is"),
            ('{"extensions": []}', "legal is"),
            ('{"extensions": {"a": 1}}', "each value a text"),
            ('{"extensions": {"Not-Legal": "x"}}', "no name of an attribute"),
            ('{"extensions": {"a": "\\u0000"}}', "control characters"),
            ('{"extensions": {"id": "x"}}', "id is what the event says"),
            ('{"extensions": {"migprofile": "1g.5gb"}}', "migprofile is what the event says"),
        ],
    )
    def test_what_would_spoil_every_event_is_refused_at_the_start(self, overrides: str, why: str) -> None:
        with pytest.raises(BadInput, match=why):
            Where.parse("http://sink", overrides=overrides)


class TestTls:
    def test_a_sink_whose_authority_is_told_is_trusted(self, certificate: Certificate) -> None:
        with sink(certificate) as safe:
            for bundle in (certificate.text, f"# Zertifizierungsstelle für alle\n{certificate.text}# another: é\n"):
                assert sender(safe.url, ca_certs=bundle).send(EVENT).outcome is Delivered.TAKEN
            assert safe.events == [EVENT] * 2

    def test_one_that_nobody_vouches_for_gets_nothing(self, certificate: Certificate) -> None:
        with sink(certificate) as strange:
            found = sender(strange.url).send(EVENT)
            assert found.outcome is Delivered.FAILED
            assert found.reason.endswith("its certificate is not trusted, or it speaks no TLS")
            assert strange.events == []

    def test_nor_one_that_goes_by_another_name(self, certificate: Certificate) -> None:
        with sink(certificate) as strange:
            url = strange.url.replace("127.0.0.1", "localhost")
            assert sender(url, ca_certs=certificate.text).send(EVENT).outcome is Delivered.FAILED
            assert strange.events == []

    def test_certificates_that_are_none_are_refused_at_the_start(self) -> None:
        with pytest.raises(BadInput, match="K_CA_CERTS holds no certificates"):
            Where.parse("https://sink", ca_certs="-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----")


SECRETS = ("s3cret", "t0ken", "h1dden")


class TestSecrets:
    def test_a_password_goes_in_its_header_and_path_and_query_to_the_sink(self, there: Sink) -> None:
        url = there.url.replace("http://", "http://us%65r:s3cret@") + "/h1dden/in?key=t0ken"
        assert sender(url).send(EVENT).outcome is Delivered.TAKEN
        [(path, headers)] = there.requests
        assert path == "/h1dden/in?key=t0ken"
        assert headers["Authorization"] == "Basic dXNlcjpzM2NyZXQ="

    def test_a_token_is_read_anew_for_each_event(self, there: Sink, tmp_path: Path) -> None:
        file = tmp_path / "token"
        mine = sender(there.url, token_file=str(file))
        for text in ("one", "two\n", "not\nlegal"):
            file.write_text(text)
            assert mine.send(EVENT).outcome is Delivered.TAKEN
        sent = [headers.get("Authorization") for _, headers in there.requests]
        assert sent == ["Bearer one", "Bearer two", None]

    @pytest.mark.parametrize("trouble", [None, Answer(status=401), Answer(cut=True), Answer(status=500)])
    def test_none_is_ever_written_down(
        self, there: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Answer | None
    ) -> None:
        file = tmp_path / "token"
        file.write_text("t0ken")
        caplog.set_level(logging.DEBUG, "knative_mig")
        url = there.url.replace("http://", "http://user:s3cret@") + "/h1dden?key=t0ken"
        where = Where.parse(url, token_file=str(file))
        if trouble is None:
            where = Where.parse("http://user:s3cret@nowhere.invalid/h1dden?key=t0ken", token_file=str(file))
        there.answer = trouble or Answer()
        found = EventSender(where).send(EVENT)
        written = [repr(where), where.shown, repr(found), caplog.text]
        assert [text for text in written for secret in SECRETS if secret in text] == []

    @pytest.mark.parametrize(
        "url", ["", "planner", "ftp://s3cret", "http://", "http://us er:s3cret@sink", "http://sink:s3cret", "http://[s3cret"]
    )  # fmt: skip
    def test_a_url_that_is_none_is_refused_and_not_quoted(self, url: str) -> None:
        with pytest.raises(BadInput, match=r"http://planner\.knative-mig\.svc") as refused:
            Where.parse(url)
        assert "s3cret" not in str(refused.value)
