"""Parses what is being written, which the API server has not checked yet: Knative Services and Pods.

Called by `adapters.admission_review`. BadInput where a field that counts is not of its type.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube import parse, pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.admission.choice import FIRST_BYTE, SERVICE_LINKS, TIMEOUT
from knative_mig.core.admission.function import Asks, Function, Part, Place, Setting
from knative_mig.core.admission.limits import KNATIVE_CAP_S, KnativeDefaults
from knative_mig.core.admission.pods import NewContainer, NewPod

_CAP: Final = "max-revision-timeout-seconds"
_LINKS: Final = "enable-service-links"
_TRI_STATE: Final = {"true": True, "false": False}  # all else is to Knative no default at all
_TIMEOUTS: Final = (TIMEOUT, FIRST_BYTE)


def function(body: Mapping[str, Any]) -> Function:
    """Of a serving.knative.dev/v1 Service."""
    top = Fields(body)
    about, template = top.child("metadata"), top.child("spec").child("template")
    spec = template.child("spec")
    annotations = template.child("metadata").labels("annotations")
    settings: dict[Place, Setting] = {Place(Part.ANNOTATIONS, key): value for key, value in annotations.items()}
    for place in _TIMEOUTS:
        seconds = spec.optional_integer(place.name)
        # To Knative a timeout of 0 is none; a response may be allowed to start at any time.
        if seconds or (seconds == 0 and place != TIMEOUT):
            settings[place] = seconds
    return Function(
        annotations=about.labels("annotations"),
        settings=settings,
        containers=_asks(spec, "containers"),
        init_containers=_asks(spec, "initContainers"),
        idle_s=spec.optional_integer("idleTimeoutSeconds") or 0,
        service_links=spec.optional_flag(SERVICE_LINKS.name),
        deleting=about.has("deletionTimestamp"),
    )


def _asks(spec: Fields, containers: str) -> tuple[Asks, ...]:
    return tuple(
        Asks(
            name=each.text("name"),
            limits=each.child("resources").labels("limits"),
            requests=each.child("resources").labels("requests"),
        )
        for each in spec.children(containers)
    )


def new_pod(body: Mapping[str, Any], namespace: str) -> NewPod:
    about, spec = Fields(body).child("metadata"), Fields(body).child("spec")
    wants = pod_requests.slices(pod_requests.of_pod(spec))
    return NewPod(
        namespace=namespace,
        service=about.labels("labels").get(parse.SERVICE_LABEL, ""),
        movable=about.labels("annotations").get(parse.MOVABLE) == "true",
        wants={profile: count for profile, count in wants.items() if count},
        gates=tuple(each.text("name") for each in spec.children("schedulingGates")),
        tolerations=tuple(parse.tolerations(spec)),
        bound=spec.has("nodeName"),
        containers=tuple(map(_new_container, spec.children("containers"))),
        volumes=frozenset(each.text("name") for each in spec.children("volumes")),
    )


def _new_container(fields: Fields) -> NewContainer:
    return NewContainer(
        wants_slice=any(pod_requests.slices(pod_requests.of_container(fields)).values()),
        variables=frozenset(each.text("name") for each in fields.children("env")),
        mounts=frozenset(each.text("mountPath").rstrip("/") for each in fields.children("volumeMounts")),
    )


def knative_defaults(body: Mapping[str, Any]) -> KnativeDefaults:
    """Of its ConfigMap config-defaults."""
    data = Fields(body).child("data")
    return KnativeDefaults(
        longest_timeout_s=_cap_s(data),
        service_links=_TRI_STATE.get(data.text(_LINKS).lower()) if _LINKS in data.values else False,
    )


def _cap_s(data: Fields) -> int:
    if not (text := data.text(_CAP).strip()):
        return KNATIVE_CAP_S
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise data.bad(_CAP, "a whole number of seconds")
    return int(text)
