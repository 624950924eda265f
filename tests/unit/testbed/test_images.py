"""The same inputs give the same bytes, and an image is what its description says."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.cluster.testbed import images
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.images import Image


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.write_bytes(b"\x7fELF" + bytes(range(256)))
    path.chmod(0o755)
    return path


def layer_names(archive: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(archive) as outer:
        entries: dict[str, tarfile.TarInfo] = {}
        for name in manifest(archive)["Layers"]:
            stream = outer.extractfile(name)
            assert stream is not None
            with tarfile.open(fileobj=stream) as inner:
                entries |= {entry.name: entry for entry in inner}
        return entries


def manifest(archive: Path) -> dict[str, list[str]]:
    with tarfile.open(archive) as outer:
        stream = outer.extractfile("manifest.json")
        assert stream is not None
        found: dict[str, list[str]] = json.load(stream)[0]
        return found


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, binary: Path) -> None:
    digests = set()
    for attempt in ("one", "two"):
        os.utime(binary, (len(attempt) * 1000, 12345))
        path = images.archive(images.of_binary("dev.local/a:dev", binary), tmp_path / attempt)
        digests.add((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    assert len(digests) == 1


def test_the_umask_of_the_builder_does_not_show(tmp_path: Path, binary: Path) -> None:
    first = images.archive(images.of_binary("dev.local/a:dev", binary), tmp_path / "one")
    binary.chmod(0o700)
    second = images.archive(images.of_binary("dev.local/a:dev", binary), tmp_path / "two")
    assert first.name == second.name
    assert layer_names(second)["app/server"].mode == 0o755


def test_other_content_is_another_archive(tmp_path: Path, binary: Path) -> None:
    first = images.archive(images.of_binary("dev.local/a:dev", binary), tmp_path)
    binary.write_bytes(b"other")
    second = images.archive(images.of_binary("dev.local/a:dev", binary), tmp_path)
    third = images.archive(images.of_binary("dev.local/a:dev", binary, MODE="x"), tmp_path)
    assert len({first, second, third}) == 3


def test_an_archive_that_is_there_is_not_written_again(tmp_path: Path, binary: Path) -> None:
    image = images.of_binary("dev.local/a:dev", binary)
    first = images.archive(image, tmp_path)
    before = first.stat().st_ino
    assert images.archive(image, tmp_path).stat().st_ino == before
    assert not list(tmp_path.glob(".*"))


def test_an_image_runs_as_nobody_in_particular_and_names_itself(tmp_path: Path, binary: Path) -> None:
    archive = images.archive(images.of_binary("dev.local/a:dev", binary, GREETING="hi"), tmp_path)
    described = manifest(archive)
    assert described["RepoTags"] == ["dev.local/a:dev"]
    with tarfile.open(archive) as outer:
        stream = outer.extractfile(str(described["Config"]))
        assert stream is not None
        configuration = json.load(stream)
    assert configuration["config"]["User"] == "65532:65532"
    assert configuration["config"]["Entrypoint"] == ["/app/server"]
    assert "GREETING=hi" in configuration["config"]["Env"]


def test_a_tree_keeps_links_and_comes_with_its_parents(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "file").write_text("x")
    (root / "link").symlink_to("deep/file")
    image = Image(name="dev.local/t:dev", entrypoint=("/x",), trees=(("/opt/thing", root),))
    entries = layer_names(images.archive(image, tmp_path / "out"))
    assert entries["opt"].isdir()
    assert entries["opt/thing/deep/file"].isfile()
    assert entries["opt/thing/link"].linkname == "deep/file"
    assert all(entry.mtime == 0 and entry.uid == 0 and entry.uname == "" for entry in entries.values())


@pytest.mark.parametrize("name", ["docker.io/a:dev", "a", "dev.local/a"])
def test_a_name_that_a_registry_would_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match=r"must be dev\.local/<name>:<tag>"):
        Image(name=name, entrypoint=("/x",))
