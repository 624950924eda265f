"""Which devices the kubelet is offered, and which of them are healthy."""

from dataclasses import replace

import pytest

from knative_mig.core.agent.devices import devices_to_serve, of_no_pod
from knative_mig.core.agent.readings import (
    DeviceId,
    GpuReading,
    KubeletReading,
    KubeletView,
    Mark,
    Release,
    SeenSlice,
    device_id,
)
from knative_mig.core.gpu_node import GpuHealth, Holder, SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

MODEL = gpu_model("A100-40GB")
A = GpuUuid("GPU-a")
NAME = ProfileName.parse("3g.20gb")
SLICE = SliceId(gpu=A, profile=NAME, start=4)
SEEN = SeenSlice(place=MODEL.place(MODEL.profile(NAME), 4), gi_id=2, ci_id=0, mig_uuid="MIG-1", pids=())
GPU = GpuReading(uuid=A, read_at=0.0, model=MODEL, slices=(SEEN,))
RELEASED = Mark(release=Release(since=1.0, mig_uuid="MIG-1"))


def served(gpu: GpuReading, mark: Mark | None = None) -> list[tuple[DeviceId, bool]]:
    found = devices_to_serve([gpu], {SLICE: mark} if mark else {}, [MODEL])
    return [(each.id, each.healthy) for each in found[NAME]]


def test_a_whole_slice_is_healthy() -> None:
    assert served(GPU) == [("GPU-a/3g.20gb/4", True)]


@pytest.mark.parametrize(
    ("gpu", "mark"),
    [
        (GPU, Mark(withdrawn_since=1.0)),
        (GPU, Mark(broken="XID 94")),
        (GPU, Mark(of_no_pod=True)),
        (replace(GPU, health=GpuHealth.RESET_REQUIRED), None),
        (replace(GPU, slices=(replace(SEEN, mig_uuid=None, ci_id=None),)), None),
        (replace(GPU, slices=(replace(SEEN, not_injectable="no space"),)), None),
    ],
    ids=["withdrawn", "broken", "of-no-pod", "gpu", "half-made", "not-injectable"],
)
def test_one_that_nobody_may_be_given_is_named_and_unhealthy(gpu: GpuReading, mark: Mark | None) -> None:
    assert served(gpu, mark) == [("GPU-a/3g.20gb/4", False)]


def test_what_merely_happened_to_it_leaves_it_healthy() -> None:
    assert served(GPU, Mark(handed_out_at=1.0, held_before=True)) == [("GPU-a/3g.20gb/4", True)]


@pytest.mark.parametrize("there", [True, False], ids=["still there", "another profile by now"])
def test_a_released_one_stays_healthy_until_the_kubelet_drops_its_pod(*, there: bool) -> None:
    gpu = GPU if there else replace(GPU, slices=())
    assert served(gpu, RELEASED) == [("GPU-a/3g.20gb/4", True)]
    assert served(replace(GPU, slices=())) == []


def test_every_profile_that_was_ever_seen_is_named_also_with_no_gpu_left() -> None:
    found = devices_to_serve([], {}, [MODEL, gpu_model("H100-80GB")])
    assert set(found.values()) == {()}
    assert found.keys() == {each.name for name in ("A100-40GB", "H100-80GB") for each in gpu_model(name).profiles}


def test_gpus_are_served_together_in_one_order() -> None:
    other = replace(GPU, uuid=GpuUuid("GPU-0"))
    found = devices_to_serve([GPU, other], {}, [MODEL])
    assert [each.id for each in found[NAME]] == ["GPU-0/3g.20gb/4", "GPU-a/3g.20gb/4"]


NOBODY = KubeletReading(view=KubeletView(), asked_at=9.0)
CHAT = Holder(namespace="d", pod="chat", container="user-container")
BY_CHAT = KubeletReading(view=KubeletView(holders={device_id(SLICE): (CHAT,)}), asked_at=9.0)


@pytest.mark.parametrize(
    ("pids", "kubelet", "mark", "found"),
    [
        pytest.param((7,), NOBODY, Mark(), True, id="no pod has it"),
        pytest.param((7,), NOBODY, Mark(handed_out_at=1.0), True, id="handed out long ago"),
        pytest.param((), NOBODY, Mark(), False, id="nothing on it"),
        pytest.param(None, NOBODY, Mark(), False, id="not listed"),
        pytest.param((7,), BY_CHAT, Mark(), False, id="a pod has it"),
        pytest.param((7,), None, Mark(), False, id="the kubelet is away"),
        pytest.param((7,), NOBODY, Mark(handed_out_at=9.0), False, id="handed out a moment ago"),
        pytest.param((7,), NOBODY, RELEASED, False, id="released"),
    ],
)
def test_a_process_is_of_no_pod_when_the_kubelet_names_none_and_none_is_about_to_show(
    *, pids: tuple[int, ...] | None, kubelet: KubeletReading | None, mark: Mark, found: bool
) -> None:
    gpu = replace(GPU, slices=(replace(SEEN, pids=pids),))
    assert of_no_pod(gpu, kubelet, {SLICE: mark}, 10.0) == ({SLICE} if found else set())
