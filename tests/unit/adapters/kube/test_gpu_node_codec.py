"""GpuNodes as JSON and back."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from knative_mig.adapters.kube import gpu_models, gpu_node_codec
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import (
    Condition,
    ForeignStatus,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    JournalState,
    Layout,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.profile import ProfileName
from tests.rigs.gpu_node_object import gpu_node_object

GPU, OTHER = GpuUuid("GPU-1"), GpuUuid("GPU-2")
SMALL, BIG, MEDIA = (ProfileName.parse(each) for each in ("1g.5gb", "3g.20gb", "1g.5gb+me"))
HOLDER = Holder(namespace="ns", pod="p", container="c")

FULL = GpuNode(
    name=NodeName("n"),
    uid="u",
    generation=3,
    resource_version="17",
    labels={"zone": "a"},
    spec=GpuNodeSpec(
        fencing_token=5,
        gpus=(
            WantedGpu(
                uuid=GPU,
                slices=(
                    WantedSlice(profile=BIG, start=4, size=4),
                    WantedSlice(profile=MEDIA, start=0, size=1),
                ),
            ),
            WantedGpu(uuid=OTHER),
        ),
    ),
    status=GpuNodeStatus(
        observed_generation=3,
        layout=Layout.STATIC,
        agent_version="0.1.0",
        boot_id="b",
        models=(gpu_model("A100-40GB"),),
        gpus=(
            GpuStatus(
                uuid=GPU,
                product="NVIDIA A100",
                model="A100-40GB",
                health=GpuHealth.HEALTHY,
                slices=(
                    SliceStatus(
                        key=SliceKey(profile=BIG, start=4),
                        size=4,
                        state=SliceState.BUSY,
                        mig_uuid="MIG-1",
                        holders=(HOLDER,),
                        pids=(12, 13),
                    ),
                    SliceStatus(
                        key=SliceKey(profile=SMALL, start=0),
                        size=1,
                        state=SliceState.IDLE,
                        mig_uuid="MIG-2",
                        idle_since=1767225600.25,
                        last_holder=HOLDER,
                    ),
                    SliceStatus(
                        key=SliceKey(profile=SMALL, start=1),
                        size=1,
                        state=SliceState.BROKEN,
                        mig_uuid=None,
                        why="half made",
                    ),
                ),
                foreign=(ForeignStatus(start=2, size=1, why="somebody's"),),
            ),
            GpuStatus(uuid=OTHER, product="", model="", health=GpuHealth.LOST, why="fell off the bus"),
        ),
        journal=JournalState.REBUILT,
        open_intents=1,
        conditions=(
            Condition(type="Ready", status=None, reason="Starting", message="m", since=1767225600.0),
            Condition(type="SpecApplied", status=False, reason="Draining"),
        ),
    ),
)


def body(**status: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(gpu_node_object(FULL)))
    found["status"] |= status
    return found


def test_comes_back_as_it_was() -> None:
    assert gpu_node_codec.read(body()) == FULL


def test_one_that_no_agent_has_reported_on_has_no_status() -> None:
    bare = replace(FULL, status=None)
    assert gpu_node_codec.read(gpu_node_object(bare)) == bare


def test_what_the_planner_says_before_any_agent_is_no_report() -> None:
    word = Condition(type="Planned", status=False, reason="AgentNotReported", message="not yet", since=1.7e9)
    bare = GpuNode(name=NodeName("n1"), planned=word)
    written = gpu_node_object(bare)
    assert written["status"]["planned"]["status"] == "False"
    assert gpu_node_codec.read(written) == bare


def test_says_at_a_glance_what_is_busy_idle_and_free() -> None:
    summary = body()["status"]["summary"]
    assert summary == {"gpus": "1/2", "busy": 1, "idle": 1, "free": "1/8"}


def test_a_gpu_that_is_lost_counts_with_nothing_free_and_the_pod_on_it_as_busy() -> None:
    status = FULL.status
    assert status is not None
    first = status.gpus[0]
    held = next(each for each in first.slices if each.holders)
    lost = replace(first, uuid=OTHER, health=GpuHealth.LOST, slices=(replace(held, state=SliceState.BROKEN),))
    one_lost = replace(status, gpus=(replace(first, slices=()), lost))
    summary = gpu_node_codec.status_out(one_lost)["summary"]
    assert summary == {"gpus": "1/2", "busy": 1, "idle": 0, "free": "7/16"}


def test_profiles_and_times_are_spelled_as_people_know_them() -> None:
    found = body()
    assert [each["profile"] for each in found["spec"]["gpus"][0]["slices"]] == ["3g.20gb", "1g.5gb+me"]
    assert found["status"]["gpus"][0]["slices"][1]["idleSince"] == "2026-01-01T00:00:00.250000Z"
    assert found["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_passes_over_what_it_does_not_know() -> None:
    found = body(weather="fine")
    found["status"]["gpus"][0]["slices"][0]["colour"] = "green"
    found["spec"]["hurry"] = True
    assert gpu_node_codec.read(found) == FULL


def test_what_is_too_long_for_the_schema_is_cut() -> None:
    assert FULL.status is not None
    wordy = SliceStatus(
        key=SliceKey(profile=BIG, start=4),
        size=4,
        state=SliceState.BROKEN,
        mig_uuid=None,
        why="w" * 5000,
        pids=tuple(range(500)),
        holders=(HOLDER,) * 100,
    )
    gpu = replace(FULL.status.gpus[0], slices=(wordy,), why="w" * 5000)
    (out,) = gpu_node_codec.status_out(replace(FULL.status, gpus=(gpu,)))["gpus"]
    (cut,) = out["slices"]
    assert [len(each) for each in (cut["why"], cut["pids"], cut["holders"], out["why"])] == [1024, 64, 64, 1024]


def _spec_slices(found: dict[str, Any]) -> Any:
    return found["spec"]["gpus"][0]["slices"]


def _status_slice(found: dict[str, Any]) -> Any:
    return found["status"]["gpus"][0]["slices"][0]


IMPOSSIBLE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no name": (lambda it: it["metadata"].pop("name"), "metadata.name: is missing"),
    "no profile": (lambda it: _spec_slices(it)[0].update(profile="3g"), r"spec.gpus\[0\].slices\[0\].profile: '3g'"),
    "no size": (lambda it: _spec_slices(it)[0].pop("size"), r"slices\[0\].size: is missing"),
    "size 0": (lambda it: _spec_slices(it)[0].update(size=0), r"slices\[0\].size: is 0"),
    "a flag for a start": (lambda it: _spec_slices(it)[0].update(start=True), r"start: is true"),
    "overlapping": (lambda it: _spec_slices(it)[1].update(start=7), "3g.20gb@4 and 1g.5gb.me@7 lie on the same"),
    "a gpu twice": (lambda it: it["spec"]["gpus"][1].update(uuid="GPU-1"), "spec.gpus: GPU-1 stands there twice"),
    "a state of its own": (lambda it: _status_slice(it).update(state="Asleep"), "state: is 'Asleep', legal is one of"),
    "a model that is not told": (lambda it: it["status"].update(models=[]), r"gpus\[0\].model: is 'A100-40GB'"),
    "no time": (
        lambda it: it["status"]["gpus"][0]["slices"][1].update(idleSince="yesterday"),
        "idleSince: is 'yesterday', legal is a time",
    ),
    "a start beyond the GPU": (
        lambda it: it["status"]["models"][0]["profiles"][0].update(starts=[8]),
        r"models\[0\].profiles\[0\].starts",
    ),
    "a list for an object": (lambda it: it.update(spec=[]), "spec: is a list, legal is an object"),
    "a condition that is maybe": (
        lambda it: it["status"]["conditions"][0].update(status="Maybe"),
        r"conditions\[0\].status: is 'Maybe'",
    ),
}


@pytest.mark.parametrize(("spoil", "why"), [pytest.param(*case, id=name) for name, case in IMPOSSIBLE.items()])
def test_says_where_what_cannot_be_stands(spoil: Callable[[dict[str, Any]], object], why: str) -> None:
    found = body()
    spoil(found)
    with pytest.raises(BadInput, match=why):
        gpu_node_codec.read(found)


class TestModels:
    @pytest.mark.parametrize("model", GPU_MODELS, ids=str)
    def test_a_model_as_the_tables_have_it_is_the_tables_object(self, model: GpuModel) -> None:
        read = gpu_node_codec.read(body(models=[gpu_models.written(model)], gpus=[]))
        assert read.status is not None
        assert read.status.models[0] is model

    def test_is_one_object_over_nodes_and_threads(self) -> None:
        odd = gpu_models.written(gpu_model("A100-40GB")) | {"name": "A100-of-another-board"}
        found: list[GpuModel] = []
        start = threading.Barrier(8)

        def read() -> None:
            start.wait()
            status = gpu_node_codec.read(body(models=[odd], gpus=[])).status
            assert status is not None
            found.append(status.models[0])

        threads = [threading.Thread(target=read) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(found) == 8
        assert all(each is found[0] for each in found)

    def test_of_one_name_but_other_figures_is_another(self) -> None:
        odd = gpu_models.written(gpu_model("A100-40GB"))
        odd["profiles"][0]["memoryMiB"] += 1
        read = gpu_node_codec.read(body(models=[odd], gpus=[]))
        assert read.status is not None
        assert read.status.models[0] is not gpu_model("A100-40GB")
