"""What a deletion does, and to what the object owned."""

import json
import re

import pytest

from knative_mig.dev.api.admission import Hook, Phase
from tests.rigs.api_server import CONFIG_MAPS, PODS, Answered, Json, Rig

_CONTAINERS = [{"name": "a", "image": "x"}]
_DEPLOYED = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": _CONTAINERS}},
}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _owned_by(owner: Json, *, blocks: bool = False) -> Json:
    about = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": about["name"], "uid": about["uid"]}
    return {"ownerReferences": [{**reference, **({"blockOwnerDeletion": True} if blocks else {})}]}


def test_an_object_goes_at_once_and_is_named_in_the_answer(rig: Rig) -> None:
    uid = rig.create(CONFIG_MAPS, "c")["metadata"]["uid"]
    gone = rig.delete(f"{CONFIG_MAPS}/c")
    assert (gone["status"], gone["details"]) == ("Success", {"name": "c", "kind": "configmaps", "uid": uid})
    with pytest.raises(Answered, match='configmaps "c" not found'):
        rig.delete(f"{CONFIG_MAPS}/c")


def test_preconditions_hold(rig: Rig) -> None:
    made = rig.create(CONFIG_MAPS, "c")
    with pytest.raises(Answered, match="Precondition failed: UID in precondition: other"):
        rig.delete(f"{CONFIG_MAPS}/c", preconditions={"uid": "other"})
    with pytest.raises(Answered, match="ResourceVersion in precondition: 1"):
        rig.delete(f"{CONFIG_MAPS}/c", preconditions={"resourceVersion": "1"})
    rig.delete(f"{CONFIG_MAPS}/c", preconditions={"uid": made["metadata"]["uid"]})


def test_a_finalizer_holds_it_until_it_is_taken_away(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c", metadata={"finalizers": ["example.com/a"]})
    marked = rig.delete(f"{CONFIG_MAPS}/c")
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    rig.passes(5)
    assert rig.delete(f"{CONFIG_MAPS}/c")["metadata"] == marked["metadata"]
    rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"labels": {"still": "there"}}})
    assert rig.names(CONFIG_MAPS) == ["c"]
    with pytest.raises(Answered, match="no new finalizers can be added if the object is being deleted"):
        rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})
    rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"finalizers": None}})
    assert rig.names(CONFIG_MAPS) == []


def test_a_pod_on_a_node_is_its_kubelets_to_end(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": _CONTAINERS, "nodeName": "n"})
    marked = rig.delete(f"{PODS}/p")
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    rig.merge(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    assert rig.delete(f"{PODS}/p", gracePeriodSeconds=60)["metadata"]["deletionGracePeriodSeconds"] == 30
    assert rig.delete(f"{PODS}/p", gracePeriodSeconds=5)["metadata"]["deletionGracePeriodSeconds"] == 5
    rig.delete(f"{PODS}/p", gracePeriodSeconds=0)
    assert rig.names(PODS) == []


def test_a_pod_that_nobody_runs_goes_at_once(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": _CONTAINERS})
    assert rig.delete(f"{PODS}/p")["kind"] == "Pod"
    assert rig.names(PODS) == []


def test_what_nobody_owns_any_more_goes_too_and_what_that_owned(rig: Rig) -> None:
    owner = rig.create(CONFIG_MAPS, "owner")
    child = rig.create(CONFIG_MAPS, "child", metadata=_owned_by(owner))
    rig.create(CONFIG_MAPS, "grandchild", metadata=_owned_by(child))
    rig.delete(f"{CONFIG_MAPS}/owner")
    rig.settle()
    assert rig.names(CONFIG_MAPS) == []


def test_one_owner_is_enough(rig: Rig) -> None:
    first, second = rig.create(CONFIG_MAPS, "first"), rig.create(CONFIG_MAPS, "second")
    both = [*_owned_by(first)["ownerReferences"], *_owned_by(second)["ownerReferences"]]
    rig.create(CONFIG_MAPS, "child", metadata={"ownerReferences": both})
    rig.delete(f"{CONFIG_MAPS}/first")
    rig.settle()
    assert rig.names(CONFIG_MAPS) == ["child", "second"]
    rig.delete(f"{CONFIG_MAPS}/second")
    rig.settle()
    assert rig.names(CONFIG_MAPS) == []


def test_what_comes_with_an_owner_that_never_was_goes(rig: Rig) -> None:
    nobody = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nobody", "uid": "nobody"}}
    rig.create(CONFIG_MAPS, "child", metadata=_owned_by(nobody))
    rig.settle()
    assert rig.names(CONFIG_MAPS) == []


def test_orphans_stay(rig: Rig) -> None:
    owner = rig.create(CONFIG_MAPS, "owner")
    rig.create(CONFIG_MAPS, "child", metadata=_owned_by(owner))
    rig.delete(f"{CONFIG_MAPS}/owner", propagationPolicy="Orphan")
    rig.settle()
    assert rig.names(CONFIG_MAPS) == ["child"]
    assert "ownerReferences" not in rig.get(f"{CONFIG_MAPS}/child")["metadata"]


def test_in_the_foreground_the_owner_waits_for_what_blocks_it(rig: Rig) -> None:
    owner = rig.create(CONFIG_MAPS, "owner")
    blocking = _owned_by(owner, blocks=True)
    rig.create(CONFIG_MAPS, "child", metadata={**blocking, "finalizers": ["example.com/a"]})
    rig.create(CONFIG_MAPS, "held", metadata={**_owned_by(owner), "finalizers": ["example.com/a"]})
    marked = rig.delete(f"{CONFIG_MAPS}/owner", propagationPolicy="Foreground")
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    rig.settle()
    assert rig.names(CONFIG_MAPS) == ["child", "held", "owner"]
    rig.merge(f"{CONFIG_MAPS}/child", {"metadata": {"finalizers": None}})
    rig.settle()
    assert rig.names(CONFIG_MAPS) == ["held"]


def test_a_namespace_goes_when_it_is_empty(rig: Rig) -> None:
    rig.create("/api/v1/namespaces", "n")
    inside = "/api/v1/namespaces/n/configmaps"
    rig.create(inside, "plain")
    rig.create(inside, "held", metadata={"finalizers": ["example.com/a"]})
    assert rig.delete("/api/v1/namespaces/n")["status"]["phase"] == "Terminating"
    with pytest.raises(Answered, match='configmaps "late" is forbidden: unable to create new content in namespace n b'):
        rig.create(inside, "late")
    with pytest.raises(Answered, match='configmaps "late-" is forbidden'):
        rig.call("POST", inside, {"metadata": {"generateName": "late-"}})
    rig.settle()
    assert rig.names(inside) == ["held"]
    rig.merge(f"{inside}/held", {"metadata": {"finalizers": None}})
    rig.settle()
    assert "n" not in rig.names("/api/v1/namespaces")


def test_a_dry_run_deletes_nothing_wherever_it_is_said(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c")
    assert rig.delete(f"{CONFIG_MAPS}/c", dryRun=["All"])["status"] == "Success"
    rig.call("DELETE", f"{CONFIG_MAPS}?dryRun=All")
    rig.call("DELETE", CONFIG_MAPS, {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
    with pytest.raises(Answered, match="dryRun is All or absent"):
        rig.delete(f"{CONFIG_MAPS}/c", dryRun=["Some"])
    assert rig.names(CONFIG_MAPS) == ["c"]


def test_a_namespace_that_cannot_go_says_what_hangs(rig: Rig) -> None:
    rig.create("/api/v1/namespaces", "n", metadata={"finalizers": ["example.com/mine"]})
    inside = "/api/v1/namespaces/n/configmaps"
    rig.create(inside, "one", metadata={"finalizers": ["example.com/a"]})
    rig.create(inside, "two", metadata={"finalizers": ["example.com/a", "example.com/b"]})
    rig.create(
        "/apis/apps/v1/namespaces/n/deployments", "d", spec=_DEPLOYED, metadata={"finalizers": ["example.com/b"]}
    )
    rig.delete("/api/v1/namespaces/n")
    rig.settle()
    assert {kind: status for kind, (status, _, _) in _said_of("n", rig).items()} == {
        "NamespaceDeletionDiscoveryFailure": "False",
        "NamespaceDeletionGroupVersionParsingFailure": "False",
        "NamespaceDeletionContentFailure": "False",
        "NamespaceContentRemaining": "True",
        "NamespaceFinalizersRemaining": "True",
    }
    left = "configmaps. has 2 resource instances, deployments.apps has 1 resource instances"
    assert _said_of("n", rig)["NamespaceContentRemaining"][1:] == (
        "SomeResourcesRemain",
        f"Some resources are remaining: {left}",
    )
    holders = "example.com/a in 2 resource instances, example.com/b in 2 resource instances"
    assert _said_of("n", rig)["NamespaceFinalizersRemaining"][1:] == (
        "SomeFinalizersRemain",
        f"Some content in the namespace has finalizers remaining: {holders}",
    )
    rig.passes(5)
    for each in (f"{inside}/one", f"{inside}/two", "/apis/apps/v1/namespaces/n/deployments/d"):
        rig.merge(each, {"metadata": {"finalizers": None}})
    rig.settle()  # which ends, though the namespace is still held itself
    said = _said_of("n", rig)
    assert said["NamespaceContentRemaining"] == ("False", "ContentRemoved", "All content successfully removed")
    conditions = {each["type"]: each["lastTransitionTime"] for each in _conditions("n", rig)}
    assert conditions["NamespaceContentRemaining"] == "2026-01-01T00:00:05Z"
    assert conditions["NamespaceDeletionDiscoveryFailure"] == "2026-01-01T00:00:00Z"
    rig.merge("/api/v1/namespaces/n", {"metadata": {"finalizers": None}})
    assert "n" not in rig.names("/api/v1/namespaces")


def test_a_namespace_says_who_refuses_to_let_its_content_go() -> None:
    def refuses(_: bytes) -> bytes:
        return json.dumps({"response": {"allowed": False, "status": {"message": "it is mine"}}}).encode()

    guard = Hook(
        name="guard.example.com", phase=Phase.VALIDATE, ask=refuses, resources=("configmaps",), operations=("DELETE",)
    )
    rig = Rig([guard])
    rig.create("/api/v1/namespaces", "n")
    rig.create("/api/v1/namespaces/n/configmaps", "c")
    rig.delete("/api/v1/namespaces/n")
    rig.settle()
    status, reason, message = _said_of("n", rig)["NamespaceDeletionContentFailure"]
    assert (status, reason) == ("True", "ContentDeletionFailed")
    denied = 'admission webhook "guard.example.com" denied the request: it is mine'
    assert message == f"Failed to delete all resource types, 1 remaining: {denied}"


def _conditions(namespace: str, rig: Rig) -> list[Json]:
    return list(rig.get(f"/api/v1/namespaces/{namespace}")["status"]["conditions"])


def _said_of(namespace: str, rig: Rig) -> dict[str, tuple[str, str, str]]:
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in _conditions(namespace, rig)}


def test_many_go_by_their_labels(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "a", metadata={"labels": {"go": "yes"}})
    rig.create(CONFIG_MAPS, "b")
    rig.call("DELETE", f"{CONFIG_MAPS}?labelSelector=go=yes")
    assert rig.names(CONFIG_MAPS) == ["b"]


def test_a_budget_holds_an_eviction_up(rig: Rig) -> None:
    rig.create(PODS, "p", metadata={"labels": {"a": "b"}}, spec={"containers": _CONTAINERS})
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    rig.create(budgets, "b", spec={"selector": {"matchLabels": {"a": "b"}}})
    eviction = {"metadata": {"name": "p"}}
    with pytest.raises(Answered) as refused:
        rig.call("POST", f"{PODS}/p/eviction", eviction)
    assert refused.value.code == 429
    assert refused.value.body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    rig.merge(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}})
    rig.call("POST", f"{PODS}/p/eviction", {**eviction, "deleteOptions": {"dryRun": ["All"]}})
    assert rig.names(PODS) == ["p"]
    rig.call("POST", f"{PODS}/p/eviction", eviction)
    assert rig.names(PODS) == []


def test_who_is_evicted_says_so_while_it_ends(rig: Rig) -> None:
    made = rig.create(PODS, "p", spec={"containers": _CONTAINERS, "nodeName": "n"})
    eviction = {"metadata": {"name": "p"}}
    with pytest.raises(Answered, match="Precondition failed: UID in precondition: other"):
        rig.call("POST", f"{PODS}/p/eviction", {**eviction, "deleteOptions": {"preconditions": {"uid": "other"}}})
    rig.call("POST", f"{PODS}/p/eviction", {**eviction, "deleteOptions": {"dryRun": ["All"]}})
    assert rig.get(f"{PODS}/p") == made
    rig.merge(f"{PODS}/p/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    rig.call("POST", f"{PODS}/p/eviction", eviction)
    rig.passes(5)
    rig.call("POST", f"{PODS}/p/eviction", eviction)
    found = rig.get(f"{PODS}/p")
    assert found["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert found["status"]["conditions"] == [
        {"type": "Ready", "status": "True"},
        {
            "type": "DisruptionTarget",
            "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        },
    ]


def test_who_is_evicted_in_the_version_that_was_named_goes(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": _CONTAINERS})
    version = rig.get(f"{PODS}/p")["metadata"]["resourceVersion"]
    for wanted in ({"preconditions": {"resourceVersion": "1"}}, {"gracePeriodSeconds": "long"}, ["x"]):
        with pytest.raises(Answered, match=r"Precondition failed: ResourceVersion|Eviction\.deleteOptions"):
            rig.call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}, "deleteOptions": wanted})
    assert rig.names(PODS) == ["p"]
    wanted = {"preconditions": {"resourceVersion": version}}
    rig.call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}, "deleteOptions": wanted})
    assert rig.names(PODS) == []


def test_the_first_namespaces_stay(rig: Rig) -> None:
    with pytest.raises(Answered, match='namespaces "default" is forbidden: this namespace may not be deleted'):
        rig.delete("/api/v1/namespaces/default")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preconditions": {"resourceVersion": "1"}}, "ResourceVersion in precondition: 1"),
        ({"preconditions": {"uid": "other"}}, "UID in precondition: other"),
        (
            {"gracePeriodSeconds": "soon"},
            "cannot unmarshal string into Go struct field Eviction.deleteOptions.gracePeriodSeconds",
        ),
        ({"preconditions": "x"}, "cannot unmarshal string into Go struct field Eviction.deleteOptions.preconditions"),
        ({"dryRun": 1}, "cannot unmarshal integer into Go struct field Eviction.deleteOptions.dryRun"),
        ({"propagationPolicy": "Backwards"}, 'Unsupported value: "Backwards"'),
    ],
)
def test_an_eviction_is_held_to_what_its_deletion_would_be(rig: Rig, options: Json, said: str) -> None:
    rig.create(PODS, "p", spec={"containers": _CONTAINERS})
    with pytest.raises(Answered, match=re.escape(said)):
        rig.call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}, "deleteOptions": options})
    assert rig.names(PODS) == ["p"]


def test_one_object_that_cannot_be_looked_at_leaves_no_other_lying(rig: Rig) -> None:
    class Odd(tuple[str, ...]):
        __slots__ = ()

        def __contains__(self, resource: object) -> bool:
            if resource == "configmaps":
                raise RuntimeError("a fault of ours")
            return False

    owner = rig.create(CONFIG_MAPS, "owner")
    rig.create(CONFIG_MAPS, "a", metadata=_owned_by(owner))
    rig.create(PODS, "b", metadata=_owned_by(owner), spec={"containers": _CONTAINERS})
    rig.delete(f"{CONFIG_MAPS}/owner")
    fault = Hook(name="fault", phase=Phase.VALIDATE, ask=bytes, resources=Odd(), operations=("DELETE",))
    rig.hooks.append(fault)
    rig.settle()
    assert (rig.names(CONFIG_MAPS), rig.names(PODS)) == (["a"], [])
