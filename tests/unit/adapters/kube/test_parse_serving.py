"""Revisions, PodAutoscalers and their pods as Knative 1.22 writes them, and what is made of them."""

from typing import Any

import pytest

from knative_mig.adapters.kube import parse_serving
from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.errors import BadInput
from knative_mig.core.floor.values import Denied
from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Replica, RevisionFacts, Scale, Stand
from knative_mig.core.profile import ProfileName

BIG = ProfileName.parse("3g.20gb")
QUOTA = (
    'pods "tiny-00001-deployment-7d4b8c6f5-" is forbidden: exceeded quota: gpus, requested: '
    "requests.nvidia.com/mig-3g.20gb=1, used: requests.nvidia.com/mig-3g.20gb=2, limited: "
    "requests.nvidia.com/mig-3g.20gb=2"
)


class TestRevisions:
    @staticmethod
    def revision(limits: list[dict[str, str]], *conditions: dict[str, str], **about: Any) -> RevisionFacts:
        containers = [{"name": "user-container", "resources": {"limits": each}} for each in limits]
        metadata = {"namespace": "team", "name": "tiny-00001", "uid": "u", **about}
        body = {"metadata": metadata, "spec": {"containers": containers}, "status": {"conditions": list(conditions)}}
        return parse_serving.revision(body)

    def test_one_that_wants_a_slice_a_pod(self) -> None:
        found = self.revision([{"cpu": "1", "nvidia.com/mig-3g.20gb": "1"}, {}])
        assert found == RevisionFacts(uid="u", profile=BIG)

    @pytest.mark.parametrize(
        "limits",
        [
            pytest.param([{}], id="wants none"),
            pytest.param([{"nvidia.com/mig-3g.20gb": "2"}], id="two of them a pod"),
            pytest.param([{"nvidia.com/mig-3g.20gb": "1"}, {"nvidia.com/mig-1g.5gb": "1"}], id="two kinds a pod"),
            pytest.param([{"nvidia.com/mig-3g.20gb": "0"}], id="nothing, in so many words"),
        ],
    )
    def test_what_no_slice_is_planned_for(self, limits: list[dict[str, str]]) -> None:
        assert self.revision(limits).profile is None

    def test_one_whose_pods_a_quota_does_not_let_be_made(self) -> None:
        condition = {"type": "ResourcesAvailable", "status": "False", "reason": "FailedCreate", "message": QUOTA}
        found = self.revision([{}], {**condition, "lastTransitionTime": "2026-01-01T00:00:05Z"})
        assert (found.over_quota, found.told_at) == (QUOTA, 1767225605.0)

    @pytest.mark.parametrize(
        ("limits", "status", "found"),
        [
            pytest.param({BIG.resource: "1"}, "False", Denied(profile=BIG, why=QUOTA, since=1767225605.0), id="it is"),
            pytest.param({BIG.resource: "1"}, "True", None, id="it is no more"),
            pytest.param({"cpu": "1"}, "False", None, id="it wants no slice"),
        ],
    )
    def test_what_the_planner_hears_of_a_quota(self, limits: dict[str, str], status: str, found: Denied | None) -> None:
        condition = {"type": "ResourcesAvailable", "status": status, "message": QUOTA}
        body = {
            "spec": {"containers": [{"resources": {"limits": limits}}]},
            "status": {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
        }
        assert parse_serving.denied(Fields(body)) == found

    @pytest.mark.parametrize(
        ("status", "message"),
        [
            pytest.param("Unknown", QUOTA, id="no longer"),
            pytest.param("False", 'pods "x" is forbidden: violates PodSecurity "restricted"', id="another refusal"),
            pytest.param("False", "0/2 nodes are available: 2 Insufficient nvidia.com/mig-3g.20gb.", id="no node"),
        ],
    )
    def test_what_is_no_quotas_doing(self, status: str, message: str) -> None:
        condition = {"type": "ResourcesAvailable", "status": status, "message": message}
        assert self.revision([{}], condition).over_quota == ""

    def test_one_that_is_being_deleted(self) -> None:
        assert self.revision([{}], deletionTimestamp="2026-01-01T00:00:00Z").leaving


class TestPodAutoscalers:
    @staticmethod
    def scale(status: dict[str, Any], **about: Any) -> Scale:
        return parse_serving.scale({"metadata": {"name": "tiny-00001", "generation": 3, **about}, "status": status})

    WRITES = (
        {"manager": "controller", "operation": "Update", "time": "2026-01-01T00:00:00Z"},
        {"manager": "autoscaler", "operation": "Update", "subresource": "status", "time": "2026-01-01T00:00:09Z"},
    )

    def test_it_was_told_when_its_status_was_last_written(self) -> None:
        found = self.scale({"desiredScale": 2, "actualScale": 1}, managedFields=list(self.WRITES))
        assert found == Scale(generation=3, desired=2, told_at=1767225609.0)

    def test_where_nobody_notes_the_writes_the_condition_says_when_it_began(self) -> None:
        active = {"type": "Active", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:07Z"}
        assert self.scale({"desiredScale": 1, "conditions": [active]}).told_at == 1767225607.0

    def test_one_that_knows_nothing_yet(self) -> None:
        assert self.scale({}) == Scale(generation=3, desired=-1, told_at=0.0)
        assert self.scale({"desiredScale": -1}).desired == -1

    def test_one_that_makes_no_sense_is_left_out(self) -> None:
        with pytest.raises(BadInput, match=r"desiredScale: is -2"):
            self.scale({"desiredScale": -2})


class TestPods:
    @staticmethod
    def pod(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **about: Any) -> Replica:
        labels = {"serving.knative.dev/revision": "tiny-00001", "serving.knative.dev/revisionUID": "u"}
        metadata = {"namespace": "team", "name": "p", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
        return parse_serving.replica({"metadata": {**metadata, **about}, "spec": spec or {}, "status": status or {}})

    @staticmethod
    def unscheduled(reason: str, message: str = "") -> dict[str, Any]:
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        return {"phase": "Pending", "conditions": [condition]}

    def test_one_that_nobody_has_looked_at_waits(self) -> None:
        assert self.pod() == Replica(Function("team", "tiny-00001"), Stand.WAITING, 1767225600.0)

    def test_one_that_our_gate_holds_waits(self) -> None:
        gated = {"schedulingGates": [{"name": "knative-mig.dev/slice"}]}
        status = self.unscheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
        assert self.pod(gated, status).stand is Stand.WAITING

    def test_one_that_anothers_gate_holds_is_not_helped_by_a_slice(self) -> None:
        gated = {"schedulingGates": [{"name": "knative-mig.dev/slice"}, {"name": "example.com/approval"}]}
        assert self.pod(gated, self.unscheduled("SchedulingGated")).stand is Stand.HELD

    @pytest.mark.parametrize(
        ("message", "stand"),
        [
            ("0/3 nodes are available: 3 Insufficient nvidia.com/mig-3g.20gb. preemption: 0/3 nodes", Stand.WAITING),
            ("0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/mig-3g.20gb.", Stand.WAITING),
            ("0/3 nodes are available: 3 Insufficient cpu.", Stand.HELD),
            ("0/3 nodes are available: 3 node(s) had untolerated taint {nvidia.com/gpu: present}.", Stand.HELD),
        ],
    )
    def test_one_that_no_node_takes_waits_where_it_is_for_lack_of_a_slice(self, message: str, stand: Stand) -> None:
        assert self.pod({}, self.unscheduled("Unschedulable", message)).stand is stand

    def test_one_with_a_node_has_its_slice(self) -> None:
        assert self.pod({"nodeName": "n1"}, {"phase": "Pending"}).stand is Stand.BOUND

    def test_one_that_is_over_or_leaves_is_gone(self) -> None:
        for phase in ("Succeeded", "Failed"):
            assert self.pod({"nodeName": "n1"}, {"phase": phase}).stand is Stand.GONE
        assert self.pod({"nodeName": "n1"}, deletionTimestamp="2026-01-01T00:00:30Z").stand is Stand.GONE

    def test_a_running_pods_heartbeats_are_no_change(self) -> None:
        before = self.pod({"nodeName": "n1"}, {"phase": "Running", "conditions": []})
        after = self.pod({"nodeName": "n1"}, {"phase": "Running", "startTime": "2026-01-01T00:00:09Z"})
        assert before == after
