"""Who holds which slice and which are believed in, as a kubelet tells it."""

from collections.abc import Iterator

import grpc
import pytest

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.channel import channel_to
from knative_mig.adapters.kubelet.pod_resources import KubeletPodResources
from knative_mig.adapters.kubelet.stubs import podresources_pb2 as pb
from knative_mig.core.gpu_node import Holder
from knative_mig.ports.kubelet import KubeletUnreachable, KubeletView
from tests.contract.fake_kubelet import FakeKubelet
from tests.contract.kubelet_rig import BIG, MEDIA, SMALL, Rig, device, short_folder
from tests.rigs.running_dev import until


@pytest.fixture(name="kubelet")
def _kubelet() -> Iterator[FakeKubelet]:
    with short_folder() as folder, FakeKubelet(folder) as kubelet:
        yield kubelet


@pytest.fixture(name="rig")
def _rig(kubelet: FakeKubelet) -> Iterator[Rig]:
    rig = Rig(kubelet)
    rig.start()
    yield rig
    rig.stop()


def test_a_kubelet_without_plugins_knows_of_no_slice(rig: Rig) -> None:
    assert rig.resources.view() == KubeletView()


def test_healthy_devices_are_allocatable_whoever_holds_them(rig: Rig, kubelet: FakeKubelet) -> None:
    rig.serve(device(SMALL, 0), device(MEDIA, 1), device(BIG, 4, healthy=False))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(MEDIA) == 1)
    kubelet.wait_for(lambda: kubelet.capacity(BIG) == 1)
    kubelet.admit("shop", "chat-1", "user-container", SMALL)

    view = rig.resources.view()

    assert view.allocatable == {device(SMALL, 0).id, device(MEDIA, 1).id}
    assert view.allocatable_of == {SMALL: {device(SMALL, 0).id}, MEDIA: {device(MEDIA, 1).id}}
    assert view.holders == {
        device(SMALL, 0).id: (Holder(namespace="shop", pod="chat-1", container="user-container"),),
    }


def test_a_slice_keeps_its_holder_when_it_turns_unhealthy_until_the_pod_has_gone(
    rig: Rig, kubelet: FakeKubelet
) -> None:
    rig.serve(device(SMALL, 0))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
    kubelet.admit("shop", "chat-1", "user-container", SMALL)

    rig.serve(device(SMALL, 0, healthy=False))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 0)
    view = rig.resources.view()
    assert view.allocatable == frozenset()
    assert list(view.holders) == [device(SMALL, 0).id]

    kubelet.delete("shop", "chat-1")
    assert rig.resources.view() == KubeletView()


def test_other_vendors_devices_and_what_only_looks_like_a_profile_are_passed_over(
    rig: Rig, kubelet: FakeKubelet
) -> None:
    kubelet.put_others("nvidia.com/mig-1g.5gb.shared", "MIG-1::0", "MIG-1::1")
    kubelet.put_others("vendor.example/nic", "nic-0")
    assert rig.resources.view() == KubeletView()


def test_a_kubelet_that_is_away_is_unreachable_and_is_found_again(rig: Rig, kubelet: FakeKubelet) -> None:
    rig.serve(device(SMALL, 0))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
    assert rig.resources.view().allocatable == {device(SMALL, 0).id}

    kubelet.stop(killed=True)
    for _ in range(2):
        with pytest.raises(KubeletUnreachable, match=r"kubelet\.sock"):
            rig.resources.view()

    kubelet.start()
    assert rig.resources.view().holders == {}
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
    assert rig.resources.view().allocatable == {device(SMALL, 0).id}


def test_a_kubelet_that_hangs_is_unreachable(kubelet: FakeKubelet) -> None:
    resources = KubeletPodResources(kubelet.pod_resources_socket, answer_within_s=0.1)
    with kubelet.hanging(), pytest.raises(KubeletUnreachable, match="Deadline"):
        resources.view()
    until(lambda: _viewed(resources) == KubeletView())  # a tenth of a second may be too short for one that does not
    resources.close()


def _viewed(resources: KubeletPodResources) -> KubeletView | None:
    try:
        return resources.view()
    except KubeletUnreachable:
        return None


def test_a_call_too_many_is_unreachable_too(rig: Rig, kubelet: FakeKubelet) -> None:
    kubelet.calls_left = 3
    rig.resources.view()
    with pytest.raises(KubeletUnreachable, match="rate limit"):
        rig.resources.view()


def test_one_pod_can_be_asked_for_alone(rig: Rig, kubelet: FakeKubelet) -> None:
    rig.serve(device(SMALL, 0), device(BIG, 4))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(BIG) == 1)
    kubelet.admit("shop", "chat-1", "user-container", SMALL)
    kubelet.admit("shop", "chat-2", "user-container", BIG)
    with channel_to(kubelet.pod_resources_socket) as channel:
        ask = methods.GET.on(channel)
        (container,) = ask(pb.GetPodResourcesRequest(pod_namespace="shop", pod_name="chat-2")).pod_resources.containers
        assert [id_ for each in container.devices for id_ in each.device_ids] == [device(BIG, 4).id]
        with pytest.raises(grpc.RpcError, match="pod chat-3 in namespace shop not found"):
            ask(pb.GetPodResourcesRequest(pod_namespace="shop", pod_name="chat-3"))
