"""The device plugins as a kubelet sees them: devices told and taken back, containers served and refused."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest

from knative_mig.ports.kubelet import Device, DeviceId
from tests.contract.fake_kubelet import AdmissionFailed, ContainerNotStarted, FakeKubelet
from tests.contract.kubelet_rig import BIG, GPU, MEDIA, SMALL, Rig, device, short_folder

PUSHED_WITHIN_MS: Final = 50


@pytest.fixture(name="rig")
def _rig() -> Iterator[Rig]:
    with short_folder() as folder, FakeKubelet(folder) as kubelet:
        rig = Rig(kubelet)
        rig.start()
        yield rig
        rig.stop()


def test_each_profile_is_a_resource_with_its_devices(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(SMALL, 1), device(MEDIA, 2), device(BIG, 4, healthy=False))

    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 2 and rig.kubelet.allocatable(MEDIA) == 1)
    rig.kubelet.wait_for(lambda: rig.kubelet.capacity(BIG) == 1)

    assert rig.kubelet.allocatable(BIG) == 0, "an unhealthy device counts for capacity alone"
    assert sorted(rig.kubelet.registrations) == [
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/mig-1g.5gb.me",
        "nvidia.com/mig-3g.20gb",
    ]
    rig.until(lambda: rig.connected[-1:] == [True])


def test_a_profile_stays_registered_when_its_last_slice_goes(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), none_of=(BIG,))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1 and rig.kubelet.allocatable(BIG) == 0)

    rig.serve(device(BIG, 4))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 0 and rig.kubelet.allocatable(BIG) == 1)

    assert rig.kubelet.capacity(SMALL) == 0
    assert len(rig.kubelet.registrations) == 2, "each was registered once"


def test_a_change_is_pushed_and_what_is_the_same_is_not(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(BIG, 4))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1 and rig.kubelet.allocatable(BIG) == 1)

    delays_ms = []
    for turn in range(50):
        told_at = time.monotonic()
        rig.serve(device(SMALL, 0, healthy=turn % 2 == 1), device(BIG, 4))
        rig.kubelet.wait_for(partial(_has, rig, turn % 2))
        delays_ms.append(1000 * (rig.kubelet.pushes(SMALL)[1] - told_at))

    print(f"told to believed: median {sorted(delays_ms)[25]:.1f} ms, slowest {max(delays_ms):.1f} ms")
    # Most show what else this machine does; a push that waited for a period of its own would be late each time.
    assert min(delays_ms) < PUSHED_WITHIN_MS
    assert rig.kubelet.pushes(SMALL)[0] == 51
    assert rig.kubelet.pushes(BIG)[0] == 1


def _has(rig: Rig, allocatable: int) -> bool:
    return rig.kubelet.allocatable(SMALL) == allocatable


def test_a_device_says_its_numa_node(rig: Rig) -> None:
    rig.plugins.serve({SMALL: (Device(id=DeviceId(f"{GPU}/1g.5gb/0"), healthy=True, numa_node=1),)})
    rig.kubelet.wait_for(lambda: rig.kubelet.numa_nodes(SMALL) == {f"{GPU}/1g.5gb/0": (1,)})


def test_a_container_gets_what_the_agent_hands_out(rig: Rig) -> None:
    rig.serve(device(MEDIA, 2))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(MEDIA) == 1)

    started = rig.kubelet.admit("shop", "chat-1", "user-container", MEDIA)

    assert started.devices == (f"{GPU}/1g.5gb+me/2",)
    assert started.environment == {"KNATIVE_MIG_SLICE": f"{GPU}/1g.5gb+me/2"}
    assert started.mounts == {"/var/run/knative-mig/slice": "/run/slices/one"}
    assert started.cdi_devices == (f"knative-mig.dev/slice={GPU}-1g.5gb.me-2",)
    assert rig.desk.handed_out == rig.desk.starts == [(DeviceId(f"{GPU}/1g.5gb+me/2"),)]


def test_a_container_may_have_two_slices(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(SMALL, 1))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 2)

    rig.kubelet.admit("shop", "chat-1", "user-container", SMALL, 2)

    assert rig.desk.handed_out == [(device(SMALL, 0).id, device(SMALL, 1).id)]


def test_a_refusal_fails_the_pod_with_its_reason_and_frees_the_device(rig: Rig) -> None:
    rig.serve(device(SMALL, 0))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1)

    rig.desk.refusal = "the slice is being merged away"
    with pytest.raises(AdmissionFailed, match="AllocationRefused: the slice is being merged away") as failed:
        rig.kubelet.admit("shop", "chat-1", "user-container", SMALL)
    assert failed.value.reason == "UnexpectedAdmissionError"

    rig.desk.refusal = ""
    rig.kubelet.admit("shop", "chat-2", "user-container", SMALL)


def test_a_device_that_is_taken_back_is_given_to_nobody(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(SMALL, 1))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 2)

    rig.serve(device(SMALL, 0, healthy=False), device(SMALL, 1))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1)

    assert rig.kubelet.admit("shop", "chat-1", "user-container", SMALL).devices == (device(SMALL, 1).id,)
    with pytest.raises(AdmissionFailed, match="Requested: 1, Available: 0"):
        rig.kubelet.admit("shop", "chat-2", "user-container", SMALL)


def test_a_restarted_container_gets_the_first_answer_again_unless_the_agent_refuses(rig: Rig) -> None:
    rig.serve(device(SMALL, 0))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1)
    first = rig.kubelet.admit("shop", "chat-1", "user-container", SMALL)

    assert rig.kubelet.restart_container("shop", "chat-1", "user-container") == first
    assert len(rig.desk.handed_out) == 1
    assert len(rig.desk.starts) == 2

    rig.desk.refusal = "the slice was made anew since it was handed out"
    with pytest.raises(ContainerNotStarted, match="the slice was made anew"):
        rig.kubelet.restart_container("shop", "chat-1", "user-container")


def test_a_slice_of_a_pod_that_has_gone_is_given_again(rig: Rig) -> None:
    rig.serve(device(SMALL, 0))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1)
    rig.kubelet.admit("shop", "chat-1", "user-container", SMALL)

    rig.kubelet.delete("shop", "chat-1")

    assert rig.kubelet.admit("shop", "chat-2", "user-container", SMALL).devices == (device(SMALL, 0).id,)


def test_an_agent_that_stops_leaves_unhealthy_devices_and_no_socket(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(BIG, 4))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1 and rig.kubelet.allocatable(BIG) == 1)
    rig.kubelet.admit("shop", "chat-1", "user-container", SMALL)

    rig.plugins.stop()

    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 0 and rig.kubelet.allocatable(BIG) == 0)
    assert rig.kubelet.capacity(SMALL) == 1
    assert [path.name for path in rig.kubelet.plugins_folder.iterdir()] == ["kubelet.sock"]
    with pytest.raises(ContainerNotStarted, match="has been stopped"):
        rig.kubelet.restart_container("shop", "chat-1", "user-container")
