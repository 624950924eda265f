"""GPUs as `knative-mig gpus` prints them."""

from dataclasses import replace
from typing import Any

from knative_mig.cli.gpu_text import data_of, text_of
from knative_mig.core.gpu_node import (
    Condition,
    ForeignStatus,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

A100 = gpu_model("A100-40GB")
GPU = GpuUuid("GPU-1a2b3c4d-0000-0000-0000-000000000000")
TINY = Holder(namespace="default", pod="tiny-00001-deployment-a", container="user-container")


def a_slice(text: str, state: SliceState, **more: Any) -> SliceStatus:
    name, _, start = text.partition("@")
    profile = A100.profile(ProfileName.parse(name))
    key = SliceKey(profile=profile.name, start=int(start))
    return SliceStatus(key=key, size=profile.memory_units, state=state, mig_uuid="MIG-1", **more)


def a_node(*slices: SliceStatus, wanted: tuple[str, ...] = (), **more: Any) -> GpuNode:
    of = [a_slice(each, SliceState.IDLE) for each in wanted]
    spec = tuple(WantedSlice(profile=each.key.profile, start=each.key.start, size=each.size) for each in of)
    gpu = GpuStatus(uuid=GPU, product="NVIDIA A100", model=A100.name, health=GpuHealth.HEALTHY, slices=slices, **more)
    return GpuNode(
        name=NodeName("dev-0"),
        spec=GpuNodeSpec(gpus=(WantedGpu(uuid=GPU, slices=spec),)),
        status=GpuNodeStatus(models=(A100,), gpus=(gpu,)),
    )


def printed(*nodes: GpuNode) -> list[str]:
    return text_of(nodes, 1_000.0, colour=False).splitlines()


def test_draws_each_slot_and_says_who_has_it() -> None:
    busy = a_slice("1g.5gb@0", SliceState.BUSY, holders=(TINY,))
    idle = a_slice("2g.10gb@2", SliceState.IDLE, idle_since=958.2, last_holder=TINY)
    picture = "|1g####|      |2g-----------|3g+++++++++++++++++++++++++|"
    assert printed(a_node(busy, idle, wanted=("1g.5gb@0", "2g.10gb@2", "3g.20gb@4"))) == [
        f"dev-0  A100-40GB  GPU-1a2b3c4d  {picture}  compute 3/7  memory 3/8",
        "    1g.5gb@0   busy        default/tiny-00001-deployment-a",
        "    2g.10gb@2  idle 42 s   last default/tiny-00001-deployment-a",
        "    3g.20gb@4  being made",
        "",
        "# busy   - idle   + being made   blank: free",
    ]


def test_what_is_to_come_where_something_still_is_stands_in_words_alone() -> None:
    lines = printed(a_node(a_slice("1g.5gb@0", SliceState.IDLE), wanted=("3g.20gb@0",)))
    assert "|1g----|      |" in lines[0]
    assert lines[2] == "    3g.20gb@0  being made"


def test_a_slice_given_back_leaves_its_place_to_the_next() -> None:
    relays, next_ = a_slice("1g.5gb@0", SliceState.RELEASED, holders=(TINY,)), a_slice("2g.10gb@0", SliceState.BUSY)
    lines = printed(a_node(relays, next_))
    assert "|2g###########|      |" in lines[0]
    assert [line.split()[:2] for line in lines[1:3]] == [["1g.5gb@0", "released"], ["2g.10gb@0", "busy"]]


def test_what_others_have_made_is_not_free() -> None:
    lines = printed(a_node(foreign=(ForeignStatus(start=4, size=4, why="an instance that was made by hand"),)))
    assert lines[0].endswith("|      |      |      |      |xxxxxxxxxxxxxxxxxxxxxxxxxxx|  compute 0/7  memory 4/8")
    assert lines[1] == "    at 4  made by others  an instance that was made by hand"
    assert lines[-1] == "x broken, or made by others   blank: free"


def test_an_empty_gpu_and_no_gpu_are_said() -> None:
    assert printed(a_node())[1:] == ["", "blank: free"]
    assert printed() == ["no GPUs: no node's agent has reported any"]


def test_a_node_that_cannot_be_planned_on_says_why() -> None:
    node = a_node()
    assert node.status
    why = Condition(type="Ready", status=False, reason="KubeletAway", message="no kubelet answers")
    lost = replace(node.status.gpus[0], model="", health=GpuHealth.LOST, why="it fell off the bus")
    ill = replace(node, status=replace(node.status, conditions=(why,), gpus=(lost,)))
    silent = replace(node, name=NodeName("dev-1"), status=None)
    assert printed(silent, ill)[:3] == [
        "dev-0  not ready: KubeletAway: no kubelet answers",
        "dev-0  NVIDIA A100  GPU-1a2b3c4d  Lost: it fell off the bus",
        "dev-1  its agent has not reported yet",
    ]
    assert data_of([ill])[0]["memoryUnits"] is None


def test_data_has_whole_names() -> None:
    (gpu,) = data_of([a_node(a_slice("1g.5gb@0", SliceState.BUSY, holders=(TINY,)), wanted=("3g.20gb@4",))])
    assert (gpu["node"], gpu["uuid"], gpu["computeSlices"], gpu["memoryUnits"]) == ("dev-0", GPU, 7, 8)
    assert gpu["slices"][0]["holders"] == [{"namespace": "default", "pod": TINY.pod}]
    assert gpu["beingMade"] == [{"profile": "3g.20gb", "start": 4}]
