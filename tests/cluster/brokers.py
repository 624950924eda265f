"""A Broker: who is told of which events, and what is sent to it. Tests reach Services as pods do."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.cluster.api import BROKER, CORE_SERVICE, TRIGGER, Api, Object
from tests.cluster.function import ask
from tests.cluster.waits import is_true, until


@dataclass(frozen=True, slots=True)
class Broker:
    """A namespace's own, unless it is named."""

    api: Api
    namespace: str
    name: str = "default"
    ingress: str = ""  # its address, where it is not that of a cluster's Service

    def make(self) -> "Broker":
        self.api.create(BROKER, {"metadata": {"name": self.name}, **_of(BROKER.group, "Broker")}, self.namespace)
        until(self.api, BROKER.named(self.name, self.namespace), "is Ready", is_true)
        return self

    def subscribe(self, function: str, event: str, *, of: str = "") -> None:
        """A function of the same namespace, or of another."""
        service = {**_of("serving.knative.dev/v1", "Service"), "name": function, "namespace": of or self.namespace}
        spec = {"broker": self.name, "filter": {"attributes": {"type": event}}, "subscriber": {"ref": service}}
        trigger = {"metadata": {"name": function}, "spec": spec, **_of(TRIGGER.group, "Trigger")}
        self.api.create(TRIGGER, trigger, self.namespace)
        until(self.api, TRIGGER.named(function, self.namespace), "is Ready", is_true)

    def unsubscribe(self, function: str) -> None:
        self.api.delete(TRIGGER, function, self.namespace)

    def publish(self, event: str, identity: str, attributes: Mapping[str, str] | None = None) -> int:
        """The status that it answers."""
        ingress = self.ingress or self.api.get(CORE_SERVICE, "broker-ingress", "knative-eventing")["spec"]["clusterIP"]
        headers = {"Ce-Specversion": "1.0", "Ce-Id": identity, "Ce-Source": "/tests", "Ce-Type": event}
        headers |= {"Content-Type": "application/json", **(attributes or {})}
        return ask(ingress, ingress, f"/{self.namespace}/{self.name}", body='{"n": 1}', headers=headers).status


def _of(group: str, kind: str) -> Object:
    return {"apiVersion": group, "kind": kind}
