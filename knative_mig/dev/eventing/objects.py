"""The objects that Eventing's stand-in looks at, as the API has them. Nobody changes one that was seen."""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.kinds import FUNCTION, Kind
from knative_mig.ports.kube import Key

Object = dict[str, Any]
Seen = Mapping[Kind, Mapping[Key, Object]]

BROKER: Final = Kind("eventing.knative.dev/v1", "Broker", "brokers")
TRIGGER: Final = Kind("eventing.knative.dev/v1", "Trigger", "triggers")
SERVICE: Final = Kind("v1", "Service", "services")
WATCHED: Final = (BROKER, TRIGGER, FUNCTION, SERVICE)

CLASS_ANNOTATION: Final = "eventing.knative.dev/broker.class"
CLASS: Final = "MTChannelBasedBroker"


def key_of(body: Object) -> Key:
    return Key(body["metadata"].get("namespace", ""), body["metadata"]["name"])


def annotations(body: Object) -> Mapping[str, str]:
    return body["metadata"].get("annotations") or {}
