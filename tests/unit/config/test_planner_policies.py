"""What the planner's account may change of pods and Revisions, and that it is what its code changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_mig.adapters.kube.floor_objects import PREFIX, RECORDS, REQUESTS_PREFIX
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.adapters.kube.parse import DELETION_COST, PINNED
from knative_mig.core.floor.values import Setting
from reconfigurer.planner.mover import COMPONENT

CORE = Path(__file__).parents[3] / "config" / "core"


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((CORE / name).read_text()) if each]


def rules_of(name: str) -> str:
    (policy,) = [
        each
        for each in documents("410-planner-policy.yaml")
        if each["kind"] == "ValidatingAdmissionPolicy" and each["metadata"]["name"] == name
    ]
    spec = policy["spec"]
    return "\n".join(each["expression"] for each in (*spec["variables"], *spec["validations"]))


def test_of_a_revision_it_writes_the_floors_annotations_and_no_other() -> None:
    rules = rules_of("knative-mig-planner-floor")
    assert all(f"'{PREFIX}{setting}'" in rules for setting in Setting)
    assert rules.count(PREFIX) == len(Setting)


def test_of_a_pods_annotations_it_writes_the_deletion_cost_and_the_node_that_it_names_and_no_other() -> None:
    rules = rules_of("knative-mig-planner-gates")
    assert rules.count(f"'{DELETION_COST}'") == rules.count("key == 'controller") == 2
    assert rules.count(f"'{PINNED}'") == rules.count("key == 'knative-mig.dev/") == 1


@pytest.mark.parametrize("name", [RECORDS, MOVES, REQUESTS_PREFIX + COMPONENT])
def test_it_may_write_its_own_notes_by_name(name: str) -> None:
    rules = [rule for each in documents("210-planner-roles.yaml") for rule in each.get("rules", [])]
    (own,) = [rule for rule in rules if rule["resources"] == ["configmaps"] and "resourceNames" in rule]
    assert name in own["resourceNames"]


def test_every_policy_is_bound() -> None:
    kinds = documents("410-planner-policy.yaml")
    policies = {each["metadata"]["name"] for each in kinds if each["kind"] == "ValidatingAdmissionPolicy"}
    bound = {each["spec"]["policyName"] for each in kinds if each["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert policies == bound
