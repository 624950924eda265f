"""What is filled in on Brokers and Triggers, and what is refused, in Knative's words."""

import base64
import json
from typing import Any

import pytest

from knative_mig.dev.eventing import webhook
from tests.fake_api.patches import patched

TWO_DIALECTS = "multiple dialects found, filters can have only one dialect set"
FN = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "fn"}


def review(
    kind: str,
    spec: dict[str, Any] | None,
    old: dict[str, Any] | None = None,
    *,
    old_class: str = "C",
    **request: Any,
) -> bytes:
    def whole(its: dict[str, Any] | None, class_: str = "C") -> dict[str, Any]:
        about = {"name": "x", "namespace": "team", "annotations": {"eventing.knative.dev/broker.class": class_}}
        return {"kind": kind, "metadata": about, **({} if its is None else {"spec": its})}

    body = {"uid": "1", "kind": {"kind": kind}, "userInfo": {"username": "ann"}, "object": whole(spec), **request}
    before = {} if old is None else {"oldObject": whole(old, old_class)}
    return json.dumps({"request": {**body, **before}}).encode()


def filled_in(kind: str, spec: dict[str, Any] | None) -> dict[str, Any]:
    asked = review(kind, spec)
    response = json.loads(webhook.default(asked))["response"]
    found: dict[str, Any] = patched(
        json.loads(asked)["request"]["object"], json.loads(base64.b64decode(response["patch"]))
    )
    return found


def complaint(kind: str, spec: dict[str, Any], old: dict[str, Any] | None = None, *, old_class: str = "C") -> str:
    response = json.loads(webhook.validate(review(kind, spec, old, old_class=old_class)))["response"]
    return "" if response["allowed"] else str(response["status"]["message"]).removeprefix("validation failed: ")


def test_a_broker_of_no_words_gets_a_class_a_channel_and_a_delivery() -> None:
    found = filled_in("Broker", None)
    assert found["spec"]["delivery"] == {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
    assert found["spec"]["config"]["name"] == "config-br-default-channel"
    assert found["metadata"]["annotations"] == {
        "eventing.knative.dev/broker.class": "C",
        "eventing.knative.dev/creator": "ann",
        "eventing.knative.dev/lastModifier": "ann",
    }


def test_a_triggers_refs_are_of_its_namespace_and_it_is_labelled_with_its_broker() -> None:
    found = filled_in("Trigger", {"broker": "b", "subscriber": {"ref": FN}})
    assert found["spec"] == {"broker": "b", "filter": {}, "subscriber": {"ref": {**FN, "namespace": "team"}}}
    assert found["metadata"]["labels"] == {"eventing.knative.dev/broker": "b"}
    assert complaint("Trigger", found["spec"]) == ""


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Trigger", {"broker": "b", "subscriber": "x"}),
        ("Trigger", {"broker": "b", "subscriber": {"ref": "x"}}),
        ("Trigger", {"broker": "b", "delivery": ["x"]}),
        ("Broker", {"config": "x"}),
        ("Broker", {"delivery": {"deadLetterSink": "x"}}),
    ],
)
def test_what_is_of_another_form_is_left_for_the_api_server_to_refuse(kind: str, spec: dict[str, Any]) -> None:
    response = json.loads(webhook.default(review(kind, spec)))["response"]
    assert (response["allowed"], "patch" in response) == (True, False)


def test_a_status_passes_by() -> None:
    asked = review("Trigger", {}, subResource="status")
    for answer in (webhook.default(asked), webhook.validate(asked)):
        assert json.loads(answer)["response"] == {"uid": "1", "allowed": True}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"broker": ""}, "missing field(s): spec.broker"),
        ({"subscriber": {}}, "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri"),
        ({"subscriber": {"ref": {"name": "f", "kind": "K"}}}, "missing field(s): spec.subscriber.ref.apiVersion"),
        ({"delivery": {"backoffDelay": "1s"}}, "invalid value: 1s: spec.delivery.backoffDelay"),
        ({"delivery": {"backoffPolicy": "random"}}, "invalid value: random: spec.delivery.backoffPolicy"),
        ({"delivery": {"retry": -1}}, "invalid value: -1: spec.delivery.retry"),
        ({"delivery": {"timeout": "PT0S"}}, "invalid value: PT0S: spec.delivery.timeout"),
        ({"delivery": {"retryAfterMax": "PT1S"}}, "must not set the field(s): spec.delivery.retryAfterMax"),
        ({"filters": [{"exact": {"a": "b"}, "not": {}}]}, f"{TWO_DIALECTS}: "),
    ],
)  # fmt: skip
def test_a_trigger_that_says_it_wrong_is_told_where(spec: dict[str, Any], expected: str) -> None:
    assert complaint("Trigger", {"broker": "b", "subscriber": {"uri": "http://here"}, **spec}) == expected


def test_a_trigger_keeps_its_broker() -> None:
    old, new = ({"broker": each, "subscriber": {"uri": "http://here"}} for each in ("one", "other"))
    assert complaint("Trigger", new, old).startswith("Immutable fields changed (-old +new): broker, spec")


def test_of_a_broker_only_the_delivery_may_change() -> None:
    before = {"config": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}}
    assert complaint("Broker", {**before, "delivery": {"retry": 1}}, before) == ""
    assert complaint("Broker", {"config": {**before["config"], "name": "d"}}, before).startswith("Immutable fields")
    assert complaint("Broker", before, before, old_class="Kafka").startswith("Immutable annotations changed")
