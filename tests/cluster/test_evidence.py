"""What a failing test leaves for a person: one folder that says what was there, who said what, and when."""

import shutil

from tests.cluster import evidence
from tests.cluster.conftest import DeployFunction
from tests.cluster.function import MIN_SCALE


def test_the_evidence_of_a_failure_holds_events_logs_and_objects(function: DeployFunction, namespace: str) -> None:
    hello = function(annotations={MIN_SCALE: "1"})
    folder = evidence.collect("evidence[of this]", namespace, "the failure as pytest tells it")
    try:
        assert (folder / "failure.txt").read_text() == "the failure as pytest tells it"
        assert "Created" in (folder / "events.txt").read_text()
        assert (
            f"podautoscaler.autoscaling.internal.knative.dev/{hello.revision}" in (folder / "objects.txt").read_text()
        )
        assert "listening on 8080" in (folder / "logs.txt").read_text()
        assert (folder / "logs-knative-serving.txt").stat().st_size > 0
        assert "system" in (folder / "nodes.yaml").read_text()
    finally:
        shutil.rmtree(folder)


def test_evidence_without_its_namespace_is_still_collected() -> None:
    folder = evidence.collect("no namespace", None, "failed before it had one")
    assert "knative-serving" in (folder / "pods.txt").read_text()
    shutil.rmtree(folder)
