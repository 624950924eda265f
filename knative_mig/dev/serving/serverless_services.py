"""A ServerlessService: whether a revision's pods or the activator stand behind its name.

Called by `loop` for one whenever it or a pod of its revision changes. The Services and Endpoints that it has on a
cluster are not made here: the gateway goes by the pods themselves. What remains is its status, by which the autoscaler
knows since when requests come by the activator.
"""

from typing import Final

from knative_mig.adapters.kube.kinds import POD
from knative_mig.dev.conditions import Conditions
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import REVISION_LABEL, SERVERLESS_SERVICE, Seen
from knative_mig.dev.serving.pods import is_ready
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

NEEDED: Final = ("EndpointsPopulated",)
_PROXIED: Final = "ActivatorEndpointsPopulated"
_BACKED: Final = "Revision is backed by Activator"  # whichever way it stands


def decide(seen: Seen, key: Key) -> Decided:
    body = seen.get(SERVERLESS_SERVICE, key)
    if body is None or objects.is_ending(body):
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(body, NEEDED, seen.now)
    pods = [each for each in seen.all(POD, key.namespace) if objects.labels(each).get(REVISION_LABEL) == key.name]
    serves = any(is_ready(each) for each in pods)
    if serves:
        conditions.true(*NEEDED)
    else:
        conditions.unknown(*NEEDED, "NoHealthyBackends", "K8s Service is not ready")
    proxied = not serves or objects.spec(body).get("mode") == "Proxy"
    conditions.told(_PROXIED, "True" if proxied else "False", _PROXIED, _BACKED)
    fields = {
        **objects.status(body),
        "serviceName": key.name,
        "privateServiceName": objects.child_name(key.name, "-private"),
        "observedGeneration": body["metadata"]["generation"],
        "conditions": conditions.written(),
    }
    wanted.status(SERVERLESS_SERVICE, body, fields, "what stands behind it")
    return wanted.decided()
