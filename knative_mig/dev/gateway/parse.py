"""Routes, Revisions, Pods and ServerlessServices: of the API's JSON as much as the gateway decides from.

Called by `mirrors`. The subtle thing is which traffic of a Route counts: its status's, which has only what can be
served and names every revision; so a new revision gets nothing before it is ready.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.parse import REVISION_LABEL
from knative_mig.core.errors import BadInput
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts, Traffic
from knative_mig.dev.gateway.timeouts import DEFAULT_S, Limits
from knative_mig.ports.kube import Key

_VISIBILITY: Final = "networking.knative.dev/visibility"
_USER_PORT: Final = 8080  # where a container names none


def route(body: Mapping[str, Any]) -> RouteFacts:
    top = Fields(body)
    return RouteFacts(
        traffic=_traffic(top.child("status").children("traffic")),
        is_local=top.child("metadata").labels("labels").get(_VISIBILITY) == "cluster-local",
    )


def traffic(targets: Sequence[Mapping[str, Any]]) -> tuple[Traffic, ...]:
    """Of a Route's status."""
    return _traffic([Fields(each) for each in targets])


def _traffic(targets: Iterable[Fields]) -> tuple[Traffic, ...]:
    return tuple(
        Traffic(revision=each.name("revisionName"), percent=each.optional_integer("percent") or 0, tag=each.text("tag"))
        for each in targets
    )


def revision(body: Mapping[str, Any]) -> RevisionFacts:
    top = Fields(body)
    spec = top.child("spec")
    return RevisionFacts(
        uid=top.child("metadata").name("uid"),
        concurrency=spec.optional_integer("containerConcurrency") or 0,
        limits=Limits(
            whole_s=spec.optional_integer("timeoutSeconds") or DEFAULT_S,
            answer_begins_s=spec.optional_integer("responseStartTimeoutSeconds") or 0,
            idle_s=spec.optional_integer("idleTimeoutSeconds") or 0,
        ),
    )


def pod(body: Mapping[str, Any]) -> PodFacts:
    """BadInput: of no revision."""
    top = Fields(body)
    about, status = top.child("metadata"), top.child("status")
    namespace = about.name("namespace")
    owner = about.labels("labels").get(REVISION_LABEL)
    if not owner:
        raise BadInput(f"has no label {REVISION_LABEL}")
    takes = status.text("phase") == "Running" and not about.has("deletionTimestamp") and _is_ready(status)
    address = status.text("podIP")
    at = Pod(address, _port(top.child("spec")), Key(namespace, about.name("name"))) if takes and address else None
    return PodFacts(revision=Key(namespace, owner), at=at)


def _is_ready(status: Fields) -> bool:
    return any(each.text("type") == "Ready" and each.text("status") == "True" for each in status.children("conditions"))


def _port(spec: Fields) -> int:
    """Of the one container that is served: no other names a port."""
    ports = [port for container in spec.children("containers") for port in container.children("ports")]
    return ports[0].integer("containerPort", 1) if ports else _USER_PORT


def is_direct(body: Mapping[str, Any]) -> bool:
    """Of a ServerlessService, which has its revision's name: whether requests go past the activator."""
    return Fields(body).child("spec").text("mode") == "Serve"
