"""The real kn and kubectl with Brokers and Triggers, and an event that goes through them."""

from collections.abc import Iterator

import pytest

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.dev.api.admission import Hook, Phase
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.eventing import webhook
from knative_mig.dev.eventing.eventing import Eventing
from knative_mig.dev.loop import Loop
from tests.dev.client import Client
from tests.dev.conftest import SaidLogs
from tests.rigs.eventing import PATIENCE_S, Subscriber, post_event


@pytest.fixture(scope="module")
def api(logs: SaidLogs) -> Iterator[ApiServer]:
    """With Eventing's webhooks."""
    hooks = [
        Hook(name=name, phase=phase, ask=ask, resources=webhook.RESOURCES)
        for name, phase, ask in (
            (webhook.DEFAULTING, Phase.MUTATE, webhook.default),
            (webhook.VALIDATING, Phase.VALIDATE, webhook.validate),
        )
    ]
    with Loop() as loop:
        server = ApiServer(logs=logs, hooks=lambda: hooks)
        loop.run(server.start())
        yield server
        loop.run(server.stop())


class _OnlyUrls:
    def of(self, host: str) -> None:  # noqa: ARG002  the port's
        return None


@pytest.fixture
def eventing(api: ApiServer) -> Iterator[Eventing]:
    eventing = Eventing(KubeClient.of_url(api.url), _OnlyUrls())
    eventing.start()
    assert eventing.wait_synced(PATIENCE_S)
    yield eventing
    eventing.stop()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    subscriber = Subscriber()
    yield subscriber
    subscriber.shutdown()
    subscriber.server_close()


@pytest.mark.usefixtures("eventing")
def test_a_broker_and_a_trigger_are_made_by_kn_and_deliver(
    kn: Client, kubectl: Client, namespace: str, subscriber: Subscriber
) -> None:
    kn("broker", "create", "default")
    kubectl("wait", "--for=condition=Ready", "broker/default", "--timeout=30s")
    url = kubectl("get", "broker", "default", "-o", "jsonpath={.status.address.url}")
    assert url.endswith(f"/{namespace}/default")
    kn("trigger", "create", "t", "--broker", "default", "--filter", "type=asked", "--sink", subscriber.url)
    kubectl("wait", "--for=condition=Ready", "trigger/t", "--timeout=30s")
    assert post_event(url, {"Ce-Type": "asked"}) == 202
    assert subscriber.hears(1)[0].headers["kn-namespace"] == namespace
    header, row = kubectl("get", "trigger").splitlines()
    assert header.split() == ["NAME", "BROKER", "SUBSCRIBER_URI", "AGE", "READY", "REASON"]
    assert row.split()[:3] == ["t", "default", subscriber.url]
    kn("trigger", "create", "nobodys", "--broker", "nobody", "--sink", "http://127.0.0.1:9")
    kubectl("wait", "--for=condition=Ready=false", "trigger/nobodys", "--timeout=30s")
    assert "BrokerDoesNotExist" in kn("trigger", "describe", "nobodys")


BAD = """apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: bad}
spec: {broker: b, subscriber: {uri: "http://here"}, delivery: {backoffDelay: 1s}}
"""


def test_a_trigger_that_says_it_wrong_is_refused_in_knatives_words(kubectl: Client) -> None:
    said = kubectl.fails("apply", "-f", "-", stdin=BAD)
    assert 'admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed' in said
    assert "invalid value: 1s: spec.delivery.backoffDelay" in said
