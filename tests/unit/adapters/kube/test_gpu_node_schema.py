"""The schema that the API server checks (config/core/300-gpunode.yaml) against the values that are written."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.core.gpu_node import GpuHealth, JournalState, Layout, SliceState

_CRD = yaml.safe_load((Path(__file__).parents[4] / "config/core/300-gpunode.yaml").read_text())
(_VERSION,) = _CRD["spec"]["versions"]


def at(path: str) -> Any:
    """The schema of a field; a list is stepped through."""
    found = _VERSION["schema"]["openAPIV3Schema"]
    for step in path.split("."):
        found = found.get("items", found)["properties"][step]
    return found


def test_is_where_the_client_looks() -> None:
    names = _CRD["spec"]["names"]
    assert f"{_CRD['spec']['group']}/{_VERSION['name']}" == GPU_NODE.group
    assert (names["plural"], names["kind"], names["shortNames"]) == (GPU_NODE.plural, GPU_NODE.kind, ["gn"])
    assert _CRD["spec"]["scope"] == "Cluster"


@pytest.mark.parametrize(
    ("path", "states"),
    [
        ("status.layout", Layout),
        ("status.gpus.health", GpuHealth),
        ("status.gpus.slices.state", SliceState),
        ("status.journal.state", JournalState),
    ],
)
def test_takes_each_state_and_no_other(path: str, states: type[StrEnum]) -> None:
    assert at(path)["enum"] == list(states)


def test_takes_as_much_as_is_written() -> None:
    assert at("status.gpus.slices.pids")["maxItems"] == gpu_node_codec.MOST_PIDS
    assert at("status.gpus.slices.holders")["maxItems"] == gpu_node_codec.MOST_HOLDERS


def test_bounds_every_list() -> None:
    unbounded = []

    def look(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "array" and "maxItems" not in schema:
                unbounded.append(path)
            for key, below in schema.items():
                look(below, f"{path}.{key}")

    look(_VERSION["schema"], "")
    assert unbounded == []


def test_prints_what_the_summary_has() -> None:
    columns = {each["name"]: each["jsonPath"] for each in _VERSION["additionalPrinterColumns"]}
    for name, field in {"GPUs": "gpus", "Busy": "busy", "Idle": "idle", "Free": "free"}.items():
        assert columns[name] == f".status.summary.{field}"
        assert at(f"status.summary.{field}")
