"""Pods, nodes and quotas: of the API's JSON that which decisions need, as the values of `core.cluster.objects`.

Called by the mirrors of these kinds. Unknown fields are passed over; what is there but of no sense is BadInput, and
that one object is left out. The subtle thing is `ends_at`: the API server writes deletionTimestamp as the time of the
request plus the grace period, so nothing is added to it here; of a function's pod the grace is taken away again.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from knative_mig.adapters.kube import conditions, pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.cluster import slice_condition
from knative_mig.core.cluster.draining import drained_at
from knative_mig.core.cluster.objects import (
    HOSTNAME,
    Effect,
    NodeFacts,
    Operator,
    Phase,
    PodFacts,
    QuotaFacts,
    Requirement,
    Taint,
    Term,
    Toleration,
)
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import Condition
from knative_mig.core.inventory import NodeName

MOVABLE: Final = "knative-mig.dev/movable"
PRIORITY: Final = "knative-mig.dev/priority"
ROLLOUT: Final = "knative-mig.dev/rollout"
PINNED: Final = "knative-mig.dev/node"  # where the planner has put this into the node selector, by its hostname
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
REVISION_LABEL: Final = "serving.knative.dev/revision"
SERVICE_LABEL: Final = "serving.knative.dev/service"
_QUOTA_PREFIX: Final = "requests."
_LEAST_SECONDS: Final = -(2**63)  # of a toleration, where less than none is none


def pod(body: Mapping[str, Any]) -> PodFacts:
    top = Fields(body)
    about, spec, status = top.child("metadata"), top.child("spec"), top.child("status")
    labels, annotations = about.labels("labels"), about.labels("annotations")
    asked = pod_requests.of_pod(spec)
    selector = spec.labels("nodeSelector")
    return PodFacts(
        namespace=about.name("namespace"),
        name=about.name("name"),
        uid=about.text("uid"),
        created=about.time("creationTimestamp") or 0.0,
        phase=_phase(status),
        reason=status.text("reason"),
        node=NodeName(spec.text("nodeName")) if spec.has("nodeName") else None,
        owner=next((each.text("kind") for each in about.children("ownerReferences") if each.flag("controller")), ""),
        revision=labels.get(REVISION_LABEL) or None,
        service=labels.get(SERVICE_LABEL) or None,
        wants={profile: count for profile, count in pod_requests.slices(asked).items() if count},
        asks=pod_requests.resources(asked, pods=1),
        gates=tuple(each.name("name") for each in spec.children("schedulingGates")),
        ends_at=_ends_at(about, of_a_function=bool(labels.get(REVISION_LABEL))),
        priority=_priority(spec, annotations),
        movable=annotations.get(MOVABLE) == "true",
        recreates=annotations.get(ROLLOUT) == "recreate",
        ready=_is_ready(status),
        deletion_cost=_whole(annotations.get(DELETION_COST)),
        node_selector=selector,
        pinned=HOSTNAME in selector and annotations.get(PINNED) == selector[HOSTNAME],
        node_terms=_node_terms(spec.child("affinity").child("nodeAffinity")),
        tolerations=tuple(tolerations(spec)),
        told=_told(status),
    )


def _ends_at(about: Fields, *, of_a_function: bool) -> float | None:
    ends = about.time("deletionTimestamp")
    if ends is None or not of_a_function:
        return ends
    grace = about.optional_integer("deletionGracePeriodSeconds")
    return ends if grace is None else drained_at(ends - grace, grace)


def _phase(status: Fields) -> Phase:
    try:
        return Phase(status.text("phase") or "Pending")
    except ValueError:
        return Phase.UNKNOWN


def _told(status: Fields) -> Condition | None:
    """One that cannot be read is as none: a pod that were left out for it would be taken for gone."""
    for each in status.children("conditions"):
        if each.text("type") == slice_condition.TYPE:
            with suppress(BadInput):
                return conditions.read(slice_condition.TYPE, each)
    return None


def _priority(spec: Fields, annotations: Mapping[str, str]) -> int:
    """The pod's own where it has one; else what its Service was annotated with."""
    value = spec.values.get("priority")
    if isinstance(value, int) and value:
        return int(value)
    return _whole(annotations.get(PRIORITY)) or 0


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _is_ready(status: Fields) -> bool:
    return any(each.text("type") == "Ready" and each.text("status") == "True" for each in status.children("conditions"))


def _node_terms(affinity: Fields) -> tuple[Term, ...] | None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    if not affinity.has(required):
        return None
    terms = (
        Term(
            labels=tuple(_requirement(each) for each in term.children("matchExpressions")),
            fields=tuple(_requirement(each) for each in term.children("matchFields")),
        )
        for term in affinity.child(required).children("nodeSelectorTerms")
    )
    # To Kubernetes an empty term is one that no node meets.
    return tuple(term for term in terms if term.labels or term.fields)


def _requirement(fields: Fields) -> Requirement:
    try:
        operator = Operator(fields.text("operator"))
    except ValueError:
        raise fields.bad("operator", f"one of {', '.join(Operator)}") from None
    return Requirement(key=fields.name("key"), operator=operator, values=fields.texts("values"))


def tolerations(spec: Fields) -> list[Toleration]:
    found = []
    for each in spec.children("tolerations"):
        operator = each.text("operator") or "Equal"
        if operator in ("Equal", "Exists"):  # a newer one tolerates nothing here: at worst a node is passed over
            found.append(
                Toleration(
                    key=each.text("key"),
                    exists=operator == "Exists",
                    value=each.text("value"),
                    effect=_effect(each) if each.has("effect") else None,
                    seconds=each.optional_integer("tolerationSeconds", least=_LEAST_SECONDS),
                )
            )
    return found


def _effect(fields: Fields) -> Effect:
    try:
        return Effect(fields.text("effect"))
    except ValueError:
        raise fields.bad("effect", f"one of {', '.join(Effect)}") from None


def node(body: Mapping[str, Any]) -> NodeFacts:
    top = Fields(body)
    about, spec, status = top.child("metadata"), top.child("spec"), top.child("status")
    allocatable = pod_requests.amounts(status.child("allocatable"))
    return NodeFacts(
        name=NodeName(about.name("name")),
        labels=about.labels("labels"),
        taints=tuple(
            Taint(key=each.name("key"), value=each.text("value"), effect=_effect(each))
            for each in spec.children("taints")
        ),
        unschedulable=spec.flag("unschedulable"),
        ready=_is_ready(status),
        allocatable=pod_requests.resources(allocatable, pods=int(allocatable.get("pods", 0))),
        slices=pod_requests.slices(allocatable),
    )


def quota(body: Mapping[str, Any]) -> QuotaFacts:
    top = Fields(body)
    spec, status = top.child("spec"), top.child("status")
    # What is enforced is in the status; a quota that was just made has none yet.
    hard = status.child("hard") if status.has("hard") else spec.child("hard")
    return QuotaFacts(
        namespace=top.child("metadata").name("namespace"),
        hard=pod_requests.slices(pod_requests.amounts(hard), _QUOTA_PREFIX),
        used=pod_requests.slices(pod_requests.amounts(status.child("used")), _QUOTA_PREFIX),
    )
