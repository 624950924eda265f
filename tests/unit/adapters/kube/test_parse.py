"""Pods, nodes and quotas as the API has them, and what is made of them."""

import logging
from typing import Any

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.core.cluster.objects import (
    Effect,
    NodeFacts,
    Operator,
    Phase,
    PodFacts,
    QuotaFacts,
    Requirement,
    Resources,
    Taint,
    Term,
    Toleration,
)
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import Condition
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName

SMALL, BIG = ProfileName.parse("1g.5gb"), ProfileName.parse("3g.20gb")
MEDIA = ProfileName.parse("1g.5gb+me")


def pod(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **about: Any) -> PodFacts:
    metadata = {"namespace": "ns", "name": "p", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", **about}
    return parse.pod({"metadata": metadata, "spec": spec or {}, "status": status or {}})


def asking(**amounts: str) -> dict[str, Any]:
    """A container; `mig_` names stand for slices."""
    spelled = {"small": SMALL.resource, "big": BIG.resource}
    return {"name": "c", "resources": {"requests": {spelled.get(key, key): value for key, value in amounts.items()}}}


class TestPods:
    def test_a_bare_pod(self) -> None:
        assert pod() == PodFacts(
            namespace="ns", name="p", uid="u", created=1767225600.0, asks=Resources(pods=1), phase=Phase.PENDING
        )

    def test_a_function_on_its_node(self) -> None:
        found = pod(
            {"nodeName": "n", "containers": [asking(big="1", cpu="100m", memory="1Gi"), asking(cpu="25m")]},
            {"phase": "Running"},
            labels={"serving.knative.dev/revision": "tiny-1", "serving.knative.dev/service": "tiny"},
        )
        assert (found.node, found.revision, found.service, found.phase) == ("n", "tiny-1", "tiny", Phase.RUNNING)
        assert found.wants == {BIG: 1}
        assert found.asks == Resources(cpu_milli=125, memory_bytes=1024**3, pods=1)

    @pytest.mark.parametrize(
        ("owners", "owner"),
        [
            pytest.param([], "", id="nobody"),
            pytest.param([{"kind": "ReplicaSet", "controller": True}], "ReplicaSet", id="its controller"),
            pytest.param(
                [{"kind": "ConfigMap"}, {"kind": "Node", "controller": True}], "Node", id="a static pod's node"
            ),
            pytest.param([{"kind": "ConfigMap", "controller": False}], "", id="one that does not make it anew"),
        ],
    )
    def test_who_makes_it_anew(self, owners: list[dict[str, Any]], owner: str) -> None:
        assert pod(ownerReferences=owners).owner == owner

    @pytest.mark.parametrize(
        ("selector", "notes", "pinned"),
        [
            pytest.param("n1", {"knative-mig.dev/node": "n1"}, True, id="by the planner"),
            pytest.param("n1", {}, False, id="by its user"),
            pytest.param("n1", {"knative-mig.dev/node": "n2"}, False, id="the note is copied from another pod"),
            pytest.param(None, {"knative-mig.dev/node": "n2"}, False, id="to no node"),
        ],
    )
    def test_who_has_named_its_node(self, selector: str | None, notes: dict[str, str], *, pinned: bool) -> None:
        spec = {"nodeSelector": {"kubernetes.io/hostname": selector} if selector else {"disk": "ssd"}}
        assert pod(spec, annotations=notes).pinned is pinned

    def test_the_largest_init_container_counts_where_it_is_larger_than_the_rest(self) -> None:
        spec = {
            "initContainers": [asking(cpu="3", small="2"), asking(cpu="1", memory="5Gi")],
            "containers": [asking(cpu="1", memory="1Gi", small="1"), asking(cpu="1")],
        }
        found = pod(spec)
        assert found.asks == Resources(cpu_milli=3000, memory_bytes=5 * 1024**3, pods=1)
        assert found.wants == {SMALL: 2}

    def test_a_sidecar_counts_beside_the_containers_and_beside_later_init_containers(self) -> None:
        early, late = asking(cpu="4"), asking(cpu="4")
        sidecar = asking(cpu="2") | {"restartPolicy": "Always"}
        running = asking(cpu="1")
        assert pod({"initContainers": [early, sidecar], "containers": [running]}).asks.cpu_milli == 4000
        assert pod({"initContainers": [sidecar, late], "containers": [running]}).asks.cpu_milli == 6000
        assert pod({"initContainers": [sidecar, sidecar], "containers": [running]}).asks.cpu_milli == 5000

    def test_requests_of_the_whole_pod_take_the_place_of_the_sum_and_overhead_comes_on_top(self) -> None:
        spec = {
            "containers": [asking(cpu="1", memory="1Gi", small="1")],
            "resources": {"requests": {"cpu": "3"}},
            "overhead": {"cpu": "250m"},
        }
        found = pod(spec)
        assert found.asks == Resources(cpu_milli=3250, memory_bytes=1024**3, pods=1)
        assert found.wants == {SMALL: 1}

    def test_a_limit_alone_is_a_request(self) -> None:
        limited = {"resources": {"limits": {"cpu": "2", BIG.resource: "1"}, "requests": {"cpu": "1"}}}
        found = pod({"containers": [limited]})
        assert (found.asks.cpu_milli, found.wants) == (1000, {BIG: 1})

    def test_a_slice_of_unknown_form_is_passed_over_with_a_word(self, caplog: pytest.LogCaptureFixture) -> None:
        odd = {"resources": {"requests": {"nvidia.com/mig-9x.odd": "1", "nvidia.com/gpu": "1", SMALL.resource: "1"}}}
        with caplog.at_level(logging.WARNING):
            assert pod({"containers": [odd]}).wants == {SMALL: 1}
            assert pod({"containers": [odd]}).wants == {SMALL: 1}
        assert [each.message for each in caplog.records if "9x.odd" in each.message] != []
        assert len(caplog.records) == 1

    def test_a_profile_with_media_engines_is_read_from_its_resource(self) -> None:
        assert pod({"containers": [{"resources": {"requests": {MEDIA.resource: "1"}}}]}).wants == {MEDIA: 1}

    def test_ends_when_its_grace_is_over_which_the_timestamp_includes(self) -> None:
        about: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:05:00Z", "deletionGracePeriodSeconds": 300}
        assert pod(**about).ends_at == 1767225600.0 + 300

    @pytest.mark.parametrize(("grace_s", "after_s"), [(300, 32), (30, 32), (10, 12), (1, 3)], ids=str)
    def test_of_a_function_ends_when_it_has_drained_which_takes_no_more_than_its_timeout(
        self, grace_s: int, after_s: int
    ) -> None:
        about: dict[str, Any] = {
            "labels": {"serving.knative.dev/revision": "llm-00001"},
            "deletionTimestamp": f"2026-01-01T00:{grace_s // 60:02}:{grace_s % 60:02}Z",
            "deletionGracePeriodSeconds": grace_s,
        }
        assert pod(**about).ends_at == 1767225600.0 + after_s

    def test_what_the_scheduler_says_of_it_changes_nothing_and_so_is_no_news(self) -> None:
        told = {"type": "PodScheduled", "lastTransitionTime": "2026-01-01T00:01:00Z", "status": "False"}
        assert pod(status={"conditions": [{**told, "reason": "Unschedulable"}]}) == pod()

    @pytest.mark.parametrize(
        ("spec", "annotation", "priority"),
        [
            pytest.param({}, None, 0, id="none"),
            pytest.param({"priority": 7}, None, 7, id="its class's"),
            pytest.param({"priority": 0}, "5", 5, id="annotated"),
            pytest.param({"priority": 7}, "5", 7, id="its class's before the annotation"),
            pytest.param({}, "high", 0, id="an annotation that is no number"),
        ],
    )
    def test_has_a_priority(self, spec: dict[str, Any], annotation: str | None, priority: int) -> None:
        annotations = {} if annotation is None else {parse.PRIORITY: annotation}
        assert pod(spec, annotations=annotations).priority == priority

    def test_shows_what_the_planner_has_told_it(self) -> None:
        told = {
            "type": "knative-mig.dev/Slice",
            "status": "False",
            "reason": "NoFreePlace",
            "message": "all are busy",
            "lastProbeTime": None,
            "lastTransitionTime": "2026-01-01T00:00:10Z",
        }
        assert pod(status={"conditions": [{"type": "Ready", "status": "False"}, told]}).told == Condition(
            type="knative-mig.dev/Slice",
            status=False,
            reason="NoFreePlace",
            message="all are busy",
            since=1767225610.0,
        )
        assert pod(status={"conditions": [{"type": "Ready", "status": "False"}]}).told is None
        # Whoever else wrote there: it is the planner's to put right, and hides the pod from nobody.
        for odd in ({"status": "Perhaps"}, {"lastTransitionTime": "yesterday"}):
            assert pod(status={"conditions": [{**told, **odd}]}).told is None

    def test_recreates_where_it_says_so(self) -> None:
        assert pod(annotations={parse.ROLLOUT: "recreate"}).recreates
        assert not pod(annotations={parse.ROLLOUT: "wait"}).recreates
        assert not pod().recreates

    def test_is_movable_where_it_says_so(self) -> None:
        assert pod(annotations={parse.MOVABLE: "true"}).movable
        assert not pod(annotations={parse.MOVABLE: "yes"}).movable

    def test_says_where_it_may_go(self) -> None:
        term = {
            "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}],
            "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}],
        }
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term, {}]}}
        found = pod(
            {
                "affinity": {"nodeAffinity": required},
                "nodeSelector": {"zone": "a"},
                "schedulingGates": [{"name": "knative-mig.dev/slice"}],
                "tolerations": [
                    {"operator": "Exists"},
                    {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                    {"key": "age", "operator": "Gt", "value": "3"},
                ],
            }
        )
        assert found.node_terms == (
            Term(
                labels=(Requirement(key="disk", operator=Operator.IN, values=("ssd",)),),
                fields=(Requirement(key="metadata.name", operator=Operator.NOT_IN, values=("n",)),),
            ),
        )
        assert found.node_selector == {"zone": "a"}
        assert found.gates == ("knative-mig.dev/slice",)
        assert found.tolerations == (
            Toleration(exists=True),
            Toleration(key="gpu", value="yes", effect=Effect.NO_SCHEDULE),
        )

    def test_affinity_that_only_prefers_is_none(self) -> None:
        preferred: dict[str, Any] = {"preferredDuringSchedulingIgnoredDuringExecution": []}
        assert pod({"affinity": {"nodeAffinity": preferred}}).node_terms is None

    @pytest.mark.parametrize(
        ("spec", "where"),
        [
            pytest.param({"containers": "none"}, "spec.containers", id="no list"),
            pytest.param({"containers": [{"resources": 3}]}, r"spec.containers\[0\].resources", id="no object"),
            pytest.param({"containers": [asking(cpu="much")]}, "resources.requests.cpu: 'much'", id="no quantity"),
            pytest.param({"nodeName": 3}, "spec.nodeName: is 3", id="no text"),
        ],
    )
    def test_says_what_makes_no_sense(self, spec: dict[str, Any], where: str) -> None:
        with pytest.raises(BadInput, match=where):
            pod(spec)


def test_a_node() -> None:
    body = {
        "metadata": {"name": "n", "labels": {"zone": "a"}},
        "spec": {"unschedulable": True, "taints": [{"key": "gpu", "effect": "NoExecute"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "3500m", "memory": "8Gi", "pods": "110", BIG.resource: "2", SMALL.resource: "0"},
        },
    }
    assert parse.node(body) == NodeFacts(
        name=NodeName("n"),
        labels={"zone": "a"},
        taints=(Taint(key="gpu", effect=Effect.NO_EXECUTE),),
        unschedulable=True,
        ready=True,
        allocatable=Resources(cpu_milli=3500, memory_bytes=8 * 1024**3, pods=110),
        slices={BIG: 2, SMALL: 0},
    )


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_not_known_to_be_ready_is_not(status: str) -> None:
    body = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert not parse.node(body).ready


def test_a_quota_has_a_say_on_slices_by_their_requests() -> None:
    body = {
        "metadata": {"namespace": "ns", "name": "q"},
        "spec": {"hard": {f"requests.{BIG.resource}": "4"}},
        "status": {
            "hard": {f"requests.{BIG.resource}": "3", "requests.cpu": "4", "count/pods": "9"},
            "used": {f"requests.{BIG.resource}": "1"},
        },
    }
    assert parse.quota(body) == QuotaFacts(namespace="ns", hard={BIG: 3}, used={BIG: 1})
    assert parse.quota({**body, "status": {}}).hard == {BIG: 4}
