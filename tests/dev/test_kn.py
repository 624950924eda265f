"""The real kn against the API server of `dev`: a function's whole life, waited for as people wait."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative_mig.dev.api.server import ApiServer
from tests.dev.client import Client
from tests.dev.knative_stand_in import KnativeStandIn


@pytest.fixture(autouse=True)
def knative(api: ApiServer) -> Iterator[None]:
    with KnativeStandIn(api.url, refuses="never-ready"):
        yield


def test_a_function_is_created_and_waited_for(kn: Client, namespace: str) -> None:
    said = kn("service", "create", "hello", "--image", "dev.local/hello", "--limit", "nvidia.com/mig-1g.10gb=1")
    assert f"http://hello.{namespace}.example.com" in said
    assert "Ready to serve" in said
    row = kn("service", "list").splitlines()[1].split()
    assert row[:3] == ["hello", f"http://hello.{namespace}.example.com", "hello-00001"]
    assert row[-1] == "True"


def test_an_update_makes_a_revision_and_traffic_is_split(kn: Client) -> None:
    kn("service", "create", "split", "--image", "dev.local/hello", "--env", "ANSWER=first")
    kn("service", "update", "split", "--env", "ANSWER=second", "--traffic", "split-00001=50", "--traffic", "@latest=50")
    listed = kn("revision", "list", "--service", "split")
    assert "split-00001" in listed
    assert "split-00002" in listed
    described = kn("service", "describe", "split")
    assert "50%" in described
    assert "split-00002" in described
    assert "split" in kn("route", "list")
    assert "split-00001" in kn("route", "describe", "split")
    assert "ANSWER=first" in kn("revision", "describe", "split-00001", "--verbose")


def test_the_autoscaling_of_the_command_line_is_on_the_template(kn: Client) -> None:
    kn(
        "service",
        "create",
        "scaled",
        "--image",
        "x",
        "--scale-max",
        "3",
        "--concurrency-limit",
        "2",
        "--scale-window",
        "20s",
    )
    found = json.loads(kn("service", "describe", "scaled", "--output", "json"))
    annotations = found["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "3"
    assert annotations["autoscaling.knative.dev/window"] == "20s"
    assert found["spec"]["template"]["spec"]["containerConcurrency"] == 2


def test_what_never_becomes_ready_is_told(kn: Client) -> None:
    assert "RevisionFailed" in kn.fails("service", "create", "bad", "--image", "never-ready")


def test_the_same_name_twice_is_refused(kn: Client) -> None:
    kn("service", "create", "once", "--image", "x")
    assert "already exists" in kn.fails("service", "create", "once", "--image", "x")
    kn("service", "create", "once", "--image", "y", "--force")


def test_apply_creates_and_then_changes(kn: Client) -> None:
    assert "created" in kn("service", "apply", "applied", "--image", "x")
    assert "applied" in kn("service", "apply", "applied", "--image", "y")
    assert "applied-00002" in kn("revision", "list")


def test_what_was_exported_is_imported(kn: Client, tmp_path: Path) -> None:
    kn("service", "create", "exported", "--image", "x", "--env", "A=B")
    file = tmp_path / "exported.yaml"
    file.write_text(kn("service", "export", "exported", "--mode", "export", "--output", "yaml"))
    kn("service", "delete", "exported", "--wait")
    kn("service", "import", str(file))
    assert "exported" in kn("service", "list")


def test_a_deletion_leaves_nothing(kn: Client) -> None:
    kn("service", "create", "gone", "--image", "x")
    kn("service", "delete", "gone", "--wait")
    assert "No services found" in kn("service", "list")
    # The rest is owned, and collected a moment later.
    for _ in range(50):
        if "No revisions found" in kn("revision", "list") and "No routes found" in kn("route", "list"):
            return
    pytest.fail("what the service owned is still there")


def test_one_revision_is_deleted(kn: Client) -> None:
    kn("service", "create", "two", "--image", "x")
    kn("service", "update", "two", "--env", "A=B")
    kn("revision", "delete", "two-00001")
    assert "two-00001" not in kn("revision", "list")


def test_what_is_not_there_is_told(kn: Client) -> None:
    assert "not found" in kn.fails("service", "describe", "nobody")
    assert "not found" in kn.fails("service", "delete", "nobody")


def test_brokers_and_triggers(kn: Client) -> None:
    kn("broker", "create", "default")
    kn("service", "create", "sink", "--image", "x")
    kn("trigger", "create", "t", "--broker", "default", "--filter", "type=a.b", "--sink", "sink")
    assert "default" in kn("broker", "list")
    listed = kn("trigger", "list")
    assert "sink" in listed
    kn("trigger", "delete", "t")
    kn("broker", "delete", "default")
