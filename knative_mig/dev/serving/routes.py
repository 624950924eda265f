"""A Route: its URL, where its traffic goes, and whether the gateway has it.

Called by `loop` for a Route whenever it, a Configuration or a Revision of its namespace or what the gateway knows of it
changes. The gateway reads the traffic from the status written here and then says that it has it, by `Gateway`: only
then is the Route ready, so that whoever waited for that and sends a request is served.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from knative_mig.dev.conditions import Conditions
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import ROUTE, Object, Seen
from knative_mig.dev.serving.settings import CLUSTER_DOMAIN
from knative_mig.dev.serving.traffic import BadTarget, Target, targets_of
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

NEEDED: Final = ("AllTrafficAssigned", "IngressReady", "CertificateProvisioned")
_ASSIGNED, _INGRESS, _CERTIFICATE = NEEDED
_NOT_CONFIGURED: Final = ("IngressNotConfigured", "Ingress has not yet been reconciled.")
_WAITING: Final = ("Uninitialized", "Waiting for load balancer to be ready")
_VISIBILITY: Final = "networking.knative.dev/visibility"


class Gateway(Protocol):
    """Who takes requests to URLs. Whoever implements it pokes the loop when its answer for a Route changes."""

    def serves(self, route: Key, traffic: Sequence[Object]) -> bool:
        """Whether requests for it go where `traffic`, a Route's status.traffic, says."""
        ...


def decide(seen: Seen, key: Key, gateway: Gateway) -> Decided:
    route = seen.get(ROUTE, key)
    if route is None or objects.is_ending(route):
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(route, NEEDED, seen.now)
    before = objects.status(route)
    if not objects.is_observed(route):
        conditions.unknown(_INGRESS, *_NOT_CONFIGURED)
    fields: Object = {name: each for name, each in before.items() if name != "conditions"}
    fields["url"] = _url(seen, route, key.name)
    targets = targets_of(seen, route)
    if isinstance(targets, BadTarget):
        mark = conditions.false if targets.has_failed else conditions.unknown
        mark(_ASSIGNED, targets.reason, targets.message)
    else:
        fields["traffic"] = [_written(seen, route, each) for each in targets]
        fields["address"] = {"url": f"http://{key.name}.{key.namespace}.{CLUSTER_DOMAIN}"}
        conditions.true(_ASSIGNED)
        conditions.true(_CERTIFICATE, "TLSNotEnabled", "external-domain-tls is not enabled")
        # What it was asked about has been in the status before, where it reads it.
        if not gateway.serves(key, before.get("traffic") or ()) or before.get("traffic") != fields["traffic"]:
            known = before.get("traffic") == fields["traffic"]
            conditions.unknown(_INGRESS, *(_WAITING if known else _NOT_CONFIGURED))
        else:
            conditions.true(_INGRESS)
    fields["observedGeneration"] = route["metadata"]["generation"]
    fields["conditions"] = conditions.written()
    wanted.status(ROUTE, route, fields, "where its traffic goes")
    return wanted.decided()


def _written(seen: Seen, route: Object, target: Target) -> Object:
    found: Object = {
        "revisionName": target.revision,
        "percent": target.percent,
        "latestRevision": target.latest,
    }
    if target.tag:
        name = f"{target.tag}-{route['metadata']['name']}"
        found |= {"tag": target.tag, "url": _url(seen, route, name)}
    return found


def _url(seen: Seen, route: Object, name: str) -> str:
    namespace = route["metadata"]["namespace"]
    if objects.labels(route).get(_VISIBILITY) == "cluster-local":
        return f"http://{name}.{namespace}.{CLUSTER_DOMAIN}"
    settings = seen.settings
    port = "" if settings.port == 80 else f":{settings.port}"
    return f"http://{name}.{namespace}.{settings.domain}{port}"
