"""The Dockerfile makes what the test cluster's own builder makes: the same inputs at the same places."""

import re
import tomllib
from pathlib import Path

from tests.cluster import system
from tests.cluster.testbed import images, python_images

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
BUILD, IMAGE = DOCKERFILE.split("\nFROM ")[1:]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]


def test_dependencies_are_the_pinned_ones_and_only_as_wheels() -> None:
    [runtime] = [line for line in BUILD.splitlines() if "requirements/runtime.txt" in line]
    assert "--require-hashes" in runtime
    assert "--only-binary :all:" in runtime
    assert system.REQUIREMENTS == ROOT / "requirements" / "runtime.txt"


def test_what_builds_the_wheel_is_pinned_too() -> None:
    [named] = re.findall(r"keep = /\^\(([a-z|-]+)\)==/", BUILD)
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert set(named.split("|")) <= set(pinned)
    assert "--no-build-isolation" in BUILD


def test_every_package_of_the_wheel_is_copied_and_none_is_left_out_of_the_context() -> None:
    copied = set(re.findall(r"^COPY (\w+)/ \1/$", BUILD, re.MULTILINE)) - {"requirements"}
    assert copied == set(PACKAGES)
    context = (ROOT / ".dockerignore").read_text().splitlines()
    assert context[0] == "*"
    assert {f"!{package}" for package in PACKAGES} <= set(context)


def test_code_lies_and_runs_where_the_test_clusters_image_has_it() -> None:
    assert f"COPY --from=build /site {python_images._SITE}\n" in IMAGE
    assert f"-p {python_images._SITE} /site" in BUILD
    assert "--invalidation-mode unchecked-hash" in BUILD
    assert f'ENTRYPOINT ["{python_images._PYTHON}"]' in IMAGE
    assert f"USER {images.USER}:{images.USER}\n" in IMAGE
    assert "WORKDIR /home/nonroot\n" in IMAGE
    assert "ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1\n" in IMAGE
