"""The one file that installs a release: made by `make release`, taken by a real API server."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.shell import run

_CHECKOUT = Path(__file__).parents[2]
_DIGEST = f"sha256:{'ab' * 32}"
# Stands in for Docker, which this machine may lack: says what it would have pushed.
_DOCKER = f"""#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" = --metadata-file ] && echo '{{"containerimage.digest": "{_DIGEST}"}}' > "$2"
  shift
done
"""


@pytest.fixture
def release(kubectl: Kubectl, tmp_path: Path) -> Path:
    """What `make release` makes, in a copy of the files that it reads."""
    for name in ("Makefile", "config"):
        copy = shutil.copytree if (_CHECKOUT / name).is_dir() else shutil.copy
        copy(_CHECKOUT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    words = ["make", "release", "REGISTRY=registry.example/team", "VERSION=1.0.0", f"KUBECTL={kubectl.binary}"]
    run(words, cwd=tmp_path, env={"PATH": f"{docker.parent}:{os.environ['PATH']}"})
    return tmp_path / "build" / "release.yaml"


def test_a_release_names_its_image_by_its_digest(release: Path) -> None:
    pods = [
        found["spec"]["template"]["spec"]
        for found in yaml.safe_load_all(release.read_text())
        if found["kind"] in ("Deployment", "DaemonSet")
    ]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {f"registry.example/team/knative-mig@{_DIGEST}"}


def test_a_release_is_taken_by_a_real_api_server(release: Path, kubectl: Kubectl) -> None:
    # What lies in a namespace that is not there yet could not be asked about in a dry run, so those two come first.
    kubectl("apply", "--server-side", "--filename", str(_CHECKOUT / "config" / "core" / "100-namespaces.yaml"))
    done = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename", str(release))
    told = done.splitlines()
    assert len(told) == sum(1 for _ in yaml.safe_load_all(release.read_text()))
    assert all("(server dry run)" in line for line in told)
