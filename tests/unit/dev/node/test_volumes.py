"""A pod's folders on the disk."""

from pathlib import Path

import pytest

from knative_mig.dev.node.pod_spec import pod as parsed
from knative_mig.dev.node.surrounds import CannotMount, CannotSetUp, Entries, Place
from knative_mig.dev.node.volumes import PodFolder
from tests.unit.dev.node.pods import Object, container, pod

PLACE = Place(node="n1", node_ip="127.0.0.1", pod_ip="127.64.0.1", allocatable={"cpu": "32", "memory": "128Gi"})
ENTRIES = Entries(of={("Secret", "s"): {"secret": b"\x00hidden", "other": b"x"}, ("ConfigMap", "c"): {"a": b"1"}})


def laid_out(folder: Path, *volumes: Object, mounts: dict[str, str] | None = None) -> dict[str, str]:
    listed = [{"name": name, "mountPath": path} for path, name in (mounts or {}).items()]
    found = parsed(pod(containers=[container(volumeMounts=listed)], volumes=list(volumes)))
    place = PodFolder(folder)
    place.fill(found, PLACE, ENTRIES)
    return place.mounts(found, found.containers[0], {"/var/run/knative-mig/slice": "/host/slice"})


def test_the_relays_secret_is_a_file_where_its_mount_is_said_to_be(tmp_path: Path) -> None:
    where = "/var/run/knative-mig/relay"
    mounts = laid_out(tmp_path, {"name": "v", "secret": {"secretName": "s"}}, mounts={where: "v"})
    secret = Path(mounts[where]) / "secret"
    assert secret.read_bytes() == b"\x00hidden"
    assert secret.stat().st_mode & 0o077 == 0
    root = PodFolder(tmp_path).root("user-container")
    assert (root / "var/run/knative-mig/relay/secret").read_bytes() == b"\x00hidden"
    assert (root / "var/run/knative-mig/slice").readlink() == Path("/host/slice")


def test_what_else_can_be_a_volume(tmp_path: Path) -> None:
    cpu = {"containerName": "user-container", "resource": "limits.cpu"}
    mounts = laid_out(
        tmp_path,
        {"name": "empty", "emptyDir": {}},
        {"name": "some", "secret": {"secretName": "s", "items": [{"key": "other", "path": "deep/er"}]}},
        {"name": "me", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "may", "downwardAPI": {"items": [{"path": "take", "resourceFieldRef": cpu}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}},
        {"name": "none", "configMap": {"name": "missing", "optional": True}},
        mounts={f"/{name}": name for name in ("empty", "some", "me", "may", "all", "none")},
    )
    files = {
        str(path.relative_to(tmp_path / "volumes")): path.read_bytes()
        for path in tmp_path.joinpath("volumes").rglob("*")
        if path.is_file()
    }
    assert files == {
        "some/deep/er": b"x",
        "me/name": b"chat",
        "may/take": b"32",
        "all/a": b"1",
        "all/secret": b"\x00hidden",
        "all/other": b"x",
    }
    assert Path(mounts["/empty"]).is_dir()


def test_what_is_in_an_empty_one_stays_when_its_container_begins_anew(tmp_path: Path) -> None:
    empty = {"name": "e", "emptyDir": {}}
    found = Path(laid_out(tmp_path, empty, mounts={"/e": "e"})["/e"])
    (found / "kept").touch()
    laid_out(tmp_path, empty, mounts={"/e": "e"})
    assert (found / "kept").exists()


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"secret": {"secretName": "no"}}, 'MountVolume.SetUp failed for volume "v" : secret "no" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}},
            'MountVolume.SetUp failed for volume "v" : references non-existent configmap key: z',
        ),
        ({"hostPath": {"path": "/"}}, 'volume "v" is hostPath: knative-mig dev has emptyDir, secret, configMap, '),
        ({"secret": {"secretName": "s", "items": [{"key": "other", "path": "../../x"}]}}, "../../x leads out of"),
    ],
)
def test_what_cannot_be_had_is_told(tmp_path: Path, volume: Object, why: str) -> None:
    with pytest.raises((CannotMount, CannotSetUp)) as refused:
        laid_out(tmp_path, {"name": "v", **volume})
    assert str(refused.value).startswith(why)


def test_what_was_mounted_once_outlives_its_secret(tmp_path: Path) -> None:
    found = parsed(pod(volumes=[{"name": "v", "secret": {"secretName": "s"}}]))
    place = PodFolder(tmp_path)
    place.fill(found, PLACE, ENTRIES)
    place.fill(found, PLACE, Entries())
    assert (tmp_path / "volumes" / "v" / "other").read_bytes() == b"x"


def test_a_mount_of_no_volume_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotSetUp, match='mounts volume "v", which the pod has not'):
        laid_out(tmp_path, mounts={"/v": "v"})
