"""The kind driver with a stub in place of the commands it runs: kind itself was not run where this was written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import kind
from tests.cluster.kind import Kind
from tests.cluster.testbed import manifests
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.topology import Topology

_OVERLAY = Path("config/overlays/kind")


@dataclass(slots=True)
class StubbedCommands:
    """Notes each command and answers it from a table by its beginning."""

    answers: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    kubeconfigs: set[str] = field(default_factory=set)

    def __call__(self, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> str:
        command = " ".join(str(word) for word in argv)
        self.ran.append(command)
        if command.startswith("kubectl"):
            self.kubeconfigs.add((env or {})["KUBECONFIG"])
        return next((answer for start, answer in self.answers.items() if command.startswith(start)), "")

    def place(self, text: str) -> int:
        return next(number for number, command in enumerate(self.ran) if text in command)


def _documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def test_up_creates_the_cluster_once_and_applies_in_an_order_that_works(tmp_path: Path) -> None:
    commands = StubbedCommands()
    cluster = Kind(run=commands, state=tmp_path)
    cluster.up()
    order = ("kind create", "kind load", "serving-crds", "Established", "serving-core", "kourier.yaml", "--kustomize")
    places = [commands.place(text) for text in order]
    assert places == sorted(places)
    assert commands.kubeconfigs == {str(tmp_path / "kubeconfig")}  # never the user's own cluster

    commands.answers["kind get clusters"] = f"other\n{kind.NAME}\n"
    commands.ran.clear()
    cluster.up()
    assert not any("kind create" in command for command in commands.ran)


def test_attach_finds_the_gateway_and_the_way_back_to_the_machine(tmp_path: Path) -> None:
    addresses = [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": "172.18.0.3"}]
    node = {"metadata": {"name": f"{kind.NAME}-control-plane"}, "status": {"addresses": addresses}}
    networks = [{"IPAM": {"Config": [{"Gateway": "fc00::1"}, {"Gateway": "172.18.0.1"}]}}]
    answers = {"kubectl get nodes": json.dumps({"items": [node]}), "docker network": json.dumps(networks)}
    (tmp_path / "kubeconfig").touch()
    found = Kind(run=StubbedCommands(answers), state=tmp_path).attach()
    assert found.gateway == "172.18.0.3:31080"
    assert found.host == "172.18.0.1"
    assert any(version.startswith("Serving knative-v1.") for version in found.versions)


def test_attach_without_a_cluster_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="make e2e KIND=1"):
        Kind(run=StubbedCommands(), state=tmp_path).attach()


def test_missing_tools_are_named_with_where_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match=r"docker \(https://.*kind \(https://"):
        kind.require_tools()


def test_a_module_version_names_its_knative_release() -> None:
    assert kind.knative_release("v0.50.0") == "knative-v1.23.0"
    assert kind.knative_release("v0.48.1") == "knative-v1.21.1"
    with pytest.raises(BadInputError, match="not a version of a Knative module"):
        kind.knative_release("v1.2.3")


def test_the_overlay_holds_the_test_beds_settings() -> None:
    wanted = manifests.settings(Topology(network=IPv4Network("10.0.0.0/16")))
    del wanted["config-deployment"]["queue-sidecar-image"]  # the released one, there
    wanted["config-domain"] = {"kind.example.com": ""}
    found = {document["metadata"]["name"]: document["data"] for document in _documents(_OVERLAY / "settings.yaml")}
    assert found == wanted


def test_the_overlay_names_its_files_and_has_two_gpu_nodes() -> None:
    (kustomization,) = _documents(_OVERLAY / "kustomization.yaml")
    assert all((_OVERLAY / file).is_file() for file in kustomization["resources"])
    (cluster,) = _documents(_OVERLAY / "cluster.yaml")
    pools = [node["labels"]["knative-mig.dev/pool"] for node in cluster["nodes"]]
    assert pools == ["system", "gpu", "gpu"]
    labels = Topology().nodes[1].labels
    assert all(node["labels"].items() >= labels.items() for node in cluster["nodes"][1:])
