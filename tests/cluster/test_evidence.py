"""What a failing test leaves for a person: one folder that says what was there, who said what, and when."""

import shutil
from pathlib import Path

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


def test_a_panic_is_told_beside_the_failure(tmp_path: Path) -> None:
    told = "[pod/activator-0/activator] 2026-11-30T04:10:51.27Z 2026/11/30 04:10:51 http: panic serving 10.0.0.8:1: why"
    (tmp_path / "logs-knative-serving.txt").write_text(f"Operating in panic mode.\n{told}\npanic({{0x231c6c0}})\n")
    assert evidence.panics(tmp_path) == [told]
