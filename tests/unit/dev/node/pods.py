"""Pods as the API has them, for the stories of the node stand-ins."""

from typing import Any

Object = dict[str, Any]


def pod(name: str = "chat", **spec: Any) -> Object:
    containers = spec.pop("containers", None) or [container()]
    about = {"namespace": "default", "name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    about |= spec.pop("metadata", {})
    return {"metadata": about, "spec": {"containers": containers, **spec}}


def container(name: str = "user-container", **fields: Any) -> Object:
    return {"name": name, "image": "dev.local/tiny-llm", **fields}


def asking(**resources: str) -> Object:
    """`cpu`, `memory`, or a slice as mig_3g_20gb."""
    names = {name: name.replace("mig_", "nvidia.com/mig-").replace("_", ".") for name in resources}
    return {"requests": {names[name]: amount for name, amount in resources.items()}}


def node(name: str, *, labels: Object | None = None, ready: bool = True, **rest: Any) -> Object:
    """`allocatable` beside cpu, memory and pods; `taints`, `unschedulable`."""
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10", **rest.pop("allocatable", {})}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": rest,
        "status": {
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
