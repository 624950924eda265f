"""By which names a planner's writes are announced: those of moves and floors, and its taking of the lease."""

from knative_mig.adapters.kube.kinds import CONFIG_MAP, EVENT, GPU_NODE, LEASE, POD, REVISION, Kind
from knative_mig.adapters.kube.parse import DELETION_COST
from knative_mig.ports.kube import Key
from tests.crash_campaign.planners import TAKES_LEASE, Naming
from tests.crash_campaign.watched import Write


def write(verb: str, kind: Kind, name: str, body: object = None, below: str = "") -> Write:
    return Write(verb=verb, kind=kind, key=Key("team", name), body=body, below=below)


def cost(value: str | None) -> dict[str, object]:
    return {"metadata": {"uid": "uid-old", "annotations": {DELETION_COST: value}}}


def test_a_write_is_named_by_what_it_does_and_not_by_which_pod_or_node_it_strikes() -> None:
    named = Naming()
    assert [
        named(write("replace", CONFIG_MAP, "knative-mig-moves")),
        named(write("patch", REVISION, "llm-00001")),
        named(write("patch", GPU_NODE, "n1")),
        named(write("patch", GPU_NODE, "n1", below="status")),
        named(write("patch", POD, "old", cost("-5"))),
        named(write("patch", POD, "old", cost(None))),
        named(write("patch", POD, "new", [{"op": "remove"}])),
        named(write("create", POD, "old", below="eviction")),
        named(write("patch", POD, "new", {"status": {"conditions": []}}, below="status")),
    ] == [
        "api replace configmaps/knative-mig-moves",
        "api patch revisions/",
        "api patch gpunodes/",
        "api patch gpunodes/status",
        "api mark pods",
        "api unmark pods",
        "api lift pods",
        "api create pods/eviction",
        "api patch pods/status",
    ]


def test_a_lease_is_taken_once_and_what_comes_with_time_is_not_announced() -> None:
    named = Naming()
    leases = [
        named(write("create", LEASE, "knative-mig-planner")),
        named(write("replace", LEASE, "knative-mig-planner")),
    ]
    assert leases == [TAKES_LEASE, ""]
    assert named(write("create", EVENT, "old.1")) == ""
    assert named(write("replace", CONFIG_MAP, "knative-mig-meters")) == ""
