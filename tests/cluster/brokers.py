"""A namespace's Broker: who is told of which events, and what is sent to it. Tests reach Services as pods do."""

from dataclasses import dataclass

from tests.cluster.api import BROKER, CORE_SERVICE, TRIGGER, Api, Object
from tests.cluster.function import ask
from tests.cluster.waits import is_true, until

_NAME = "default"


@dataclass(frozen=True, slots=True)
class Broker:
    api: Api
    namespace: str

    def make(self) -> "Broker":
        self.api.create(BROKER, {"metadata": {"name": _NAME}, **_of(BROKER.group, "Broker")}, self.namespace)
        until(self.api, BROKER.named(_NAME, self.namespace), "is Ready", is_true)
        return self

    def subscribe(self, function: str, event: str) -> None:
        subscriber = {"ref": {**_of("serving.knative.dev/v1", "Service"), "name": function}}
        spec = {"broker": _NAME, "filter": {"attributes": {"type": event}}, "subscriber": subscriber}
        trigger = {"metadata": {"name": function}, "spec": spec, **_of(TRIGGER.group, "Trigger")}
        self.api.create(TRIGGER, trigger, self.namespace)
        until(self.api, TRIGGER.named(function, self.namespace), "is Ready", is_true)

    def publish(self, event: str, identity: str) -> int:
        """The status that it answers."""
        ingress = self.api.get(CORE_SERVICE, "broker-ingress", "knative-eventing")["spec"]["clusterIP"]
        headers = {"Ce-Specversion": "1.0", "Ce-Id": identity, "Ce-Source": "/tests", "Ce-Type": event}
        headers["Content-Type"] = "application/json"
        return ask(ingress, ingress, f"/{self.namespace}/{_NAME}", body='{"n": 1}', headers=headers).status


def _of(group: str, kind: str) -> Object:
    return {"apiVersion": group, "kind": kind}
