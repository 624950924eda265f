"""What a kubelet has written down of its containers' devices, and reads again when it starts."""

import json
from pathlib import Path

import pytest

from knative_mig.adapters.kubelet.allocations import Allocations, CheckpointFile, Held
from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.ports.kube import Key

SMALL, BIG = "nvidia.com/mig-1g.5gb", "nvidia.com/mig-3g.20gb"
CHAT, OTHER = Key("shop", "chat"), Key("shop", "other")


def held(*devices: str, resource: str = SMALL) -> Held:
    mounts = [pb.Mount(container_path="/in", host_path="/out", read_only=True)]
    answer = pb.ContainerAllocateResponse(envs={"SLICE": devices[0]}, mounts=mounts)
    return Held(resource=resource, devices=frozenset(devices), answer=answer.SerializeToString())


def test_the_next_kubelet_knows_who_holds_what_and_what_was_given(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    first = Allocations(file)
    first.know(SMALL)
    first.know(BIG)
    first.put(CHAT, "main", held("a", "b"))
    first.put(CHAT, "main", held("c", resource=BIG))
    first.put(OTHER, "main", held("d"))
    first.drop(OTHER)

    second = Allocations(file)
    assert second.resources == {SMALL, BIG}
    assert second.in_use(SMALL) == {"a", "b"}
    assert second.all().keys() == {CHAT}
    assert second.given(CHAT, "main").mounts == {"/in": "/out"}
    assert second.given(CHAT, "main").environment["SLICE"] in ("a", "c")
    assert second.has(CHAT, "main", BIG)
    assert not second.has(CHAT, "side", BIG)
    second.keep_only(frozenset())
    assert Allocations(file).all() == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", json.dumps({"format": 99}).encode(), b'{"format": 1, "resources": [], "held": [{}]}'],
)
def test_what_is_no_checkpoint_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(content)
    found = Allocations(file)
    assert found.all() == {}
    assert (tmp_path / "checkpoint.damaged").read_bytes() == content
    found.put(CHAT, "main", held("a"))
    assert Allocations(file).in_use(SMALL) == {"a"}


class Full:
    def read(self) -> bytes | None:
        return None

    def write(self, content: bytes) -> None:
        raise OSError(28, f"No space left on device for {len(content)} bytes")

    def set_aside(self) -> None:
        raise OSError(28, "No space left on device")


def test_on_a_full_disk_containers_are_given_their_devices_all_the_same() -> None:
    found = Allocations(Full())
    found.put(CHAT, "main", held("a"))
    assert found.in_use(SMALL) == {"a"}
