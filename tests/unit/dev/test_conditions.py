"""What Ready says of the conditions that it depends on."""

from typing import Any

from knative_mig.adapters.kube.fields import time_text
from knative_mig.dev.conditions import Conditions

NOW = 1_800_000_000.5
NEEDED = ("A", "B")


def body(*conditions: dict[str, Any], observed: int = 1) -> dict[str, Any]:
    return {"metadata": {"generation": 1}, "status": {"observedGeneration": observed, "conditions": list(conditions)}}


def told(name: str, status: str, reason: str = "", *, ago_s: int = 60) -> dict[str, Any]:
    words = {"reason": reason, "message": f"because of {reason}"} if reason else {}
    return {"type": name, "status": status, "lastTransitionTime": time_text(int(NOW) - ago_s), **words}


def words(conditions: Conditions) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each.get("reason", "")) for each in conditions.written()}


def test_a_new_object_knows_nothing_yet() -> None:
    conditions = Conditions({"metadata": {"generation": 1}}, NEEDED, NOW)
    assert words(conditions) == {
        "A": ("Unknown", ""),
        "B": ("Unknown", ""),
        "Ready": ("Unknown", "NewObservedGenFailure"),
    }


def test_ready_is_true_once_all_that_it_needs_is() -> None:
    conditions = Conditions(body(), NEEDED, NOW)
    conditions.true("A")
    assert words(conditions)["Ready"] == ("Unknown", "")
    conditions.true("B", "TLSNotEnabled", "no TLS")
    assert words(conditions) == {"A": ("True", ""), "B": ("True", "TLSNotEnabled"), "Ready": ("True", "")}


def test_of_two_failures_the_later_is_told_and_a_failure_before_a_doubt() -> None:
    conditions = Conditions(body(), NEEDED, NOW)
    conditions.false("A", "First", "")
    conditions.false("B", "Second", "")
    assert words(conditions)["Ready"] == ("False", "Second")
    conditions.unknown("B", "Doubt")
    conditions.true("B")
    assert words(conditions)["Ready"] == ("False", "First")


def test_what_gets_well_leaves_the_failure_that_came_last() -> None:
    conditions = Conditions(body(), ("A", "B", "C"), NOW)
    conditions.false("A", "First", "")
    conditions.false("B", "Second", "")
    conditions.true("C")
    assert words(conditions)["Ready"] == ("False", "Second")
    before = [told("A", "False", "Older", ago_s=90), told("B", "False", "Newer", ago_s=30), told("Ready", "False", "x")]
    conditions = Conditions(body(*before), ("A", "B", "C"), NOW)
    conditions.true("C")
    assert words(conditions)["Ready"] == ("False", "Newer")


def test_a_doubt_does_not_hide_a_failure() -> None:
    conditions = Conditions(body(told("A", "False", "Broken"), told("Ready", "False", "Broken")), NEEDED, NOW)
    conditions.unknown("B", "Doubt")
    assert words(conditions)["Ready"] == ("False", "Broken")


def test_what_is_only_told_of_leaves_ready_alone_and_says_so() -> None:
    conditions = Conditions(body(told("A", "True"), told("B", "True"), told("Ready", "True")), NEEDED, NOW)
    conditions.false("Active", "NoTraffic", "nobody asks")
    conditions.told("Other", "True", "Because", "")
    assert words(conditions)["Ready"] == ("True", "")
    severities = {each["type"]: each.get("severity", "") for each in conditions.written()}
    assert severities == {"A": "", "Active": "Info", "B": "", "Other": "Info", "Ready": ""}


def test_a_time_is_that_of_the_last_change_and_no_later() -> None:
    old = time_text(int(NOW) - 60)
    conditions = Conditions(body(told("A", "True"), told("B", "False", "Broken"), told("Ready", "False")), NEEDED, NOW)
    conditions.true("A")
    conditions.false("B", "Broken", "otherwise now")
    times = {each["type"]: each["lastTransitionTime"] for each in conditions.written()}
    assert times == {"A": old, "B": time_text(int(NOW)), "Ready": time_text(int(NOW))}


def test_a_new_generation_is_not_ready_until_a_pass_has_said_so() -> None:
    ready = [told("A", "True"), told("B", "True"), told("Ready", "True")]
    conditions = Conditions(body(*ready, observed=0), NEEDED, NOW)
    assert words(conditions)["Ready"] == ("Unknown", "NewObservedGenFailure")
    conditions.true("A")
    assert words(conditions)["Ready"] == ("True", "")
