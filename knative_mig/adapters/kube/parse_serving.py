"""Revisions, PodAutoscalers and their pods: of the API's JSON as much as `core.pending` judges from.

Called by the mirrors of the pending source, and by the planner's of Revisions for what a quota says. The values are
small on purpose: an object whose change says nothing about demand parses to the same value as before, and a mirror then
wakes nobody.

The subtle thing is when a PodAutoscaler was told its desired scale, which no field of it says. The API server notes who
wrote what and when (`managedFields`); of its status there is one writer, the autoscaler.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube import pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.parse import REVISION_LABEL
from knative_mig.core.floor.values import Denied
from knative_mig.core.gpu_node import GATE
from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Replica, RevisionFacts, Scale, Stand
from knative_mig.core.profile import RESOURCE_PREFIX, ProfileName

OF_REVISIONS: Final = "serving.knative.dev/revisionUID"  # the label by which their pods are known
_OVER_QUOTA: Final = "exceeded quota"  # as the API server's quota admission says it
_LONGEST_REASON: Final = 500


def revision(body: Mapping[str, Any]) -> RevisionFacts:
    top = Fields(body)
    about = top.child("metadata")
    resources = _condition(top.child("status"), "ResourcesAvailable")
    return RevisionFacts(
        uid=about.name("uid"),
        profile=_profile(top.child("spec")),
        told_at=_turned(resources),
        over_quota=_over_quota(resources),
        leaving=about.has("deletionTimestamp"),
    )


def denied(top: Fields) -> Denied | None:
    """Of a whole Revision, for the planner."""
    resources = _condition(top.child("status"), "ResourcesAvailable")
    why = _over_quota(resources)
    profile = _profile(top.child("spec")) if why else None
    return Denied(profile=profile, why=why, since=_turned(resources)) if profile else None


def _over_quota(resources: Fields | None) -> str:
    if resources is None or resources.text("status") != "False":
        return ""
    message = resources.text("message")
    return message[:_LONGEST_REASON] if _OVER_QUOTA in message else ""


def _turned(resources: Fields | None) -> float:
    return (resources.time("lastTransitionTime") if resources is not None else None) or 0.0


def _profile(spec: Fields) -> ProfileName | None:
    asked = {profile: count for profile, count in pod_requests.slices(pod_requests.of_pod(spec)).items() if count}
    return next(iter(asked)) if sum(asked.values()) == 1 else None


def scale(body: Mapping[str, Any]) -> Scale:
    top = Fields(body)
    about, status = top.child("metadata"), top.child("status")
    desired = status.optional_integer("desiredScale", least=-1)
    return Scale(
        generation=about.integer("generation"),
        desired=-1 if desired is None else desired,
        told_at=_status_written(about) or _became_active(status) or 0.0,
    )


def _status_written(about: Fields) -> float | None:
    times = (each.time("time") for each in about.children("managedFields") if each.text("subresource") == "status")
    return max((time for time in times if time), default=None)


def _became_active(status: Fields) -> float | None:
    active = _condition(status, "Active")
    return active.time("lastTransitionTime") if active is not None else None


def replica(body: Mapping[str, Any]) -> Replica:
    top = Fields(body)
    about, spec, status = top.child("metadata"), top.child("spec"), top.child("status")
    name = about.labels("labels").get(REVISION_LABEL, "")
    return Replica(
        function=Function(about.name("namespace"), name),
        stand=_stand(about, spec, status),
        created=about.time("creationTimestamp") or 0.0,
    )


def _stand(about: Fields, spec: Fields, status: Fields) -> Stand:
    if about.has("deletionTimestamp") or status.text("phase") in ("Succeeded", "Failed"):
        return Stand.GONE
    if spec.has("nodeName"):
        return Stand.BOUND
    if any(each.text("name") != GATE for each in spec.children("schedulingGates")):
        return Stand.HELD
    scheduled = _condition(status, "PodScheduled")
    if scheduled is None or scheduled.text("reason") != "Unschedulable":
        return Stand.WAITING
    return Stand.WAITING if RESOURCE_PREFIX in scheduled.text("message") else Stand.HELD


def _condition(status: Fields, kind: str) -> Fields | None:
    return next((each for each in status.children("conditions") if each.text("type") == kind), None)
