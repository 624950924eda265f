"""What becomes of a pod that a scheduler binds to a node, and which bindings the API server refuses."""

from datetime import UTC, datetime
from typing import Any

from tests.fake_api.refusals import conflict, invalid

Body = dict[str, Any]


def bound(pod: Body, binding: Body) -> Body:
    about, spec = pod["metadata"], pod.get("spec", {})
    if binding["metadata"].get("uid") not in (None, about["uid"]):
        raise conflict(f"Precondition failed: UID in precondition: {binding['metadata']['uid']}")
    if spec.get("nodeName"):
        raise conflict(f'pod {about["name"]} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise invalid("pod has non-empty .spec.schedulingGates")
    if about.get("deletionTimestamp"):
        raise conflict(f"pod {about['name']} is being deleted, cannot be assigned to a host")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    status = pod.get("status", {})
    others = [each for each in status.get("conditions", []) if each["type"] != "PodScheduled"]
    return {
        **pod,
        "spec": {**spec, "nodeName": binding["target"]["name"]},
        "status": {**status, "conditions": [*others, scheduled]},
    }
