"""What a start takes over of the objects of before."""

from typing import Any

from knative_mig.dev.state import survivors
from knative_mig.dev.state.object_log import Name

NOW = 1_767_225_600.0  # 2026-01-01
LEASES = "leases.coordination.k8s.io"


def _object(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


def test_what_speaks_for_processes_that_have_ended_is_left_out_or_made_to_say_less() -> None:
    lease = _object("leader", spec={"holderIdentity": "planner-a", "leaseTransitions": 3})
    lease["metadata"]["annotations"] = {"knative-mig.dev/fencing-token": "7"}
    there = {
        Name("pods", "default", "tiny-1"): _object("tiny-1"),
        Name("services.serving.knative.dev", "default", "tiny"): _object("tiny"),
        Name("events", "default", "old"): _object("old", lastTimestamp="2025-12-31T22:59:59Z"),
        Name("events", "default", "new"): _object("new", lastTimestamp=None, eventTime="2025-12-31T23:30:00.000001Z"),
        Name(LEASES, "knative-mig", "leader"): lease,
        Name("nodes", "", "dev-0"): _object("dev-0", spec={"podCIDR": "127.64.0.0/24"}, status={"allocatable": {}}),
    }
    found = survivors.of(there, NOW)
    assert [name.name for name in found.left_out] == ["tiny-1", "old"]
    assert found.objects.keys() == there.keys() - found.left_out.keys()
    taken = found.objects[Name(LEASES, "knative-mig", "leader")]
    assert taken == {"metadata": lease["metadata"], "spec": {"leaseTransitions": 3}}
    assert found.objects[Name("nodes", "", "dev-0")].keys() == {"metadata", "spec"}
    assert lease["spec"]["holderIdentity"]  # whoever holds the objects may keep them
