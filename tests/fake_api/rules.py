"""Which writes the API server refuses: those of its rules that the adapters lean on, by kind."""

from typing import Any

from tests.fake_api.refusals import invalid

Body = dict[str, Any]


def check(plural: str, new: Body, old: Body | None) -> None:
    """Refusal for what the real one refuses."""
    match plural:
        case "gpunodes":
            _gpu_node(new, old)
        case "revisions":
            _revision(new["metadata"].get("annotations") or {})
        case "pods" if old is not None:
            _pod_update(new.get("spec", {}), old.get("spec", {}))


def _gpu_node(new: Body, old: Body | None) -> None:
    spec = new.get("spec")
    if not isinstance(spec, dict) or "fencingToken" not in spec or "gpus" not in spec:
        raise invalid("spec, spec.fencingToken, spec.gpus: Required value")
    if spec["fencingToken"] < 0 or (old is not None and spec["fencingToken"] < old["spec"]["fencingToken"]):
        raise invalid("spec.fencingToken: Invalid value: fencingToken is lower than the one there")
    uuids = [gpu["uuid"] for gpu in spec["gpus"]]
    if len(set(uuids)) != len(uuids):
        raise invalid("spec.gpus: Duplicate value")
    for gpu in spec["gpus"]:
        taken: set[int] = set()
        for each in gpu.get("slices", []):
            units = set(range(each["start"], each["start"] + each["size"]))
            if units & taken:
                raise invalid("spec.gpus.slices: Invalid value: two slices lie on the same memory units")
            taken |= units


def _revision(annotations: dict[str, str]) -> None:
    """Knative's own webhook."""
    least, most = (int(annotations.get(f"autoscaling.knative.dev/{each}-scale", 0)) for each in ("min", "max"))
    if most and most < least:
        raise invalid(f"admission webhook denied the request: max-scale={most} is less than min-scale={least}")


def _pod_update(new: Body, old: Body) -> None:
    gates_before, gates = old.get("schedulingGates", []), new.get("schedulingGates", [])
    if any(gate not in gates_before for gate in gates):
        raise invalid("spec.schedulingGates: Forbidden: only deletion is allowed")
    before, after = old.get("nodeSelector", {}), new.get("nodeSelector", {})
    if before != after and not (gates_before and before.items() <= after.items()):
        raise invalid("spec.nodeSelector: Invalid value: only additions to spec.nodeSelector are allowed")
    for key in {*new, *old} - {"schedulingGates", "nodeSelector", "tolerations", "activeDeadlineSeconds"}:
        if new.get(key) != old.get(key):
            raise invalid(f"spec: Forbidden: pod updates may not change {key}")
