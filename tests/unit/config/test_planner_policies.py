"""What the planner's account may change of pods and Revisions, and that it is what its code changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_mig.adapters.kube.floor_objects import PREFIX, RECORDS, REQUESTS_PREFIX
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.adapters.kube.parse import DELETION_COST, PINNED
from knative_mig.core.cluster.slice_condition import TYPE
from knative_mig.core.floor.values import Setting
from reconfigurer.planner.mover import COMPONENT

CORE = Path(__file__).parents[3] / "config" / "core"


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((CORE / name).read_text()) if each]


def policies() -> list[dict[str, Any]]:
    return [each for each in documents("410-planner-policy.yaml") if each["kind"] == "ValidatingAdmissionPolicy"]


def rules_of(name: str) -> str:
    (policy,) = [each for each in policies() if each["metadata"]["name"] == name]
    spec = policy["spec"]
    return "\n".join(each["expression"] for each in (*spec.get("variables", ()), *spec["validations"]))


def test_of_a_revision_it_writes_the_floors_annotations_and_no_other() -> None:
    rules = rules_of("knative-mig-planner-floor")
    assert all(f"'{PREFIX}{setting}'" in rules for setting in Setting)
    assert rules.count(PREFIX) == len(Setting)


def test_of_a_pods_annotations_it_writes_the_deletion_cost_and_the_node_that_it_names_and_no_other() -> None:
    rules = rules_of("knative-mig-planner-gates")
    assert rules.count(f"'{DELETION_COST}'") == rules.count("key == 'controller") == 2
    assert rules.count(f"'{PINNED}'") == rules.count("key == 'knative-mig.dev/") == 1


def test_it_evicts_as_an_agent_does_with_the_token_of_a_pod_and_by_a_uid() -> None:
    agents = [
        each["spec"] for each in documents("400-agent-policies.yaml") if each["metadata"]["name"].endswith("-evictions")
    ]
    [asked] = [spec["validations"] for spec in agents if "validations" in spec]
    assert rules_of("knative-mig-planner-evictions").splitlines() == [each["expression"] for each in asked]


@pytest.mark.parametrize("right", [rule for each in documents("210-planner-roles.yaml") if each["kind"] == "ClusterRole"
                                   for rule in each["rules"] if not {"get", "list", "watch"}.issuperset(rule["verbs"])],
                         ids=lambda rule: " ".join(rule["resources"]))  # fmt: skip
def test_whatever_it_may_write_anywhere_in_the_cluster_a_policy_narrows_but_events(right: dict[str, Any]) -> None:
    rules = [rule for each in policies() for rule in each["spec"]["matchConstraints"]["resourceRules"]]
    narrowed = {name for rule in rules for name in rule["resources"]}
    assert set(right["resources"]) <= narrowed | {"events"}


def test_of_a_pods_status_it_writes_one_condition_and_whatever_else_is_there_stays() -> None:
    rules = rules_of("knative-mig-planner-conditions")
    assert rules.count(f"each.type != '{TYPE}'") == rules.count("each.type") == 2
    assert rules.count("key == 'conditions'") == rules.count("key ==") == 2
    (policy,) = [each for each in policies() if each["metadata"]["name"] == "knative-mig-planner-conditions"]
    (where,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert where["resources"] == ["pods/status"]


@pytest.mark.parametrize("name", [RECORDS, MOVES, REQUESTS_PREFIX + COMPONENT])
def test_it_may_write_its_own_notes_by_name(name: str) -> None:
    rules = [rule for each in documents("210-planner-roles.yaml") for rule in each.get("rules", [])]
    (own,) = [rule for rule in rules if rule["resources"] == ["configmaps"] and "resourceNames" in rule]
    assert name in own["resourceNames"]


def test_every_policy_is_bound() -> None:
    kinds = documents("410-planner-policy.yaml")
    named = {each["metadata"]["name"] for each in policies()}
    bound = {each["spec"]["policyName"] for each in kinds if each["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert named == bound
