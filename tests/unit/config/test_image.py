"""The Dockerfile makes what the test cluster's own builder makes: the same inputs at the same places."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cluster import system, tiny_llm
from tests.cluster.testbed import images, python_images
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import Cache

ROOT = Path(__file__).parents[3]
DOCKERFILES = {"ours": ROOT / "Dockerfile", "tiny-llm": ROOT / "services" / "tiny_llm" / "Dockerfile"}
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
FOLDERS = {*WHEEL["packages"], *WHEEL["force-include"]}


@pytest.fixture(name="stages", params=DOCKERFILES)
def _stages(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What builds the image, and the image."""
    _, build, image = DOCKERFILES[request.param].read_text().replace("\\\n", "").split("\nFROM ")
    return build, image


def entrypoint(name: str) -> str:
    return DOCKERFILES[name].read_text().splitlines()[-1]


def test_dependencies_are_the_pinned_ones_and_only_as_wheels(stages: tuple[str, str]) -> None:
    build, _ = stages
    [runtime] = [line for line in build.splitlines() if "requirements/runtime.txt" in line]
    assert "--require-hashes" in runtime
    assert "--only-binary :all:" in runtime
    assert system.REQUIREMENTS == ROOT / "requirements" / "runtime.txt"


def test_what_builds_the_wheel_is_pinned_too(stages: tuple[str, str]) -> None:
    build, _ = stages
    named = re.findall(r"keep = /\^\(([a-z|-]+)\)==/", build)[-1]
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert set(named.split("|")) <= set(pinned)
    assert "--no-build-isolation" in build


def test_every_folder_of_the_wheel_is_copied_and_none_is_left_out_of_the_context(stages: tuple[str, str]) -> None:
    build, _ = stages
    copied = set(re.findall(r"^COPY (\w+)/ \1/$", build, re.MULTILINE)) - {"requirements"}
    assert copied == FOLDERS
    context = (ROOT / ".dockerignore").read_text().splitlines()
    assert context[0] == "*"
    assert {f"!{each}" for each in FOLDERS} <= set(context)


def test_code_lies_and_runs_where_the_test_clusters_image_has_it(stages: tuple[str, str]) -> None:
    build, image = stages
    assert f"COPY --from=build /site {python_images._SITE}\n" in image
    assert f"-p {python_images._SITE} /site" in build
    assert "--invalidation-mode unchecked-hash" in build
    assert f"USER {images.USER}:{images.USER}\n" in image
    assert "WORKDIR /home/nonroot\n" in image
    assert "ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1\n" in image


def test_each_image_starts_what_the_test_clusters_does() -> None:
    assert entrypoint("ours") == f'ENTRYPOINT ["{python_images.PYTHON}"]'
    assert json.loads(entrypoint("tiny-llm").removeprefix("ENTRYPOINT ")) == list(tiny_llm.ENTRYPOINT)


def test_the_tiny_models_image_has_the_wheels_that_are_imported_and_no_others(tmp_path: Path) -> None:
    named, _ = re.findall(r"keep = /\^\(([a-z|-]+)\)==/", DOCKERFILES["tiny-llm"].read_text())
    assert tuple(named.split("|")) == tiny_llm.WHEELS
    pinned = python_images.chosen(system.REQUIREMENTS, tiny_llm.WHEELS, Cache(root=tmp_path)).read_text()
    every = system.REQUIREMENTS.read_text()
    assert all(entry in every for entry in re.split(r"^(?=[a-z])", pinned, flags=re.MULTILINE))
    assert {each.partition("==")[0] for each in re.findall(r"^[a-z0-9-]+==", pinned, re.MULTILINE)} == {
        *tiny_llm.WHEELS
    }
    program = (
        "import sys, services.relay.__main__, services.tiny_llm.__main__\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - {*sys.stdlib_module_names})"
    )
    imported = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    files = {"dateutil": "python-dateutil", "prometheus_client": "prometheus-client"}
    found = {files.get(each, each) for each in imported.stdout.split() if not each.startswith("_")}
    assert found - {"knative_mig", "services"} == {*tiny_llm.WHEELS}


def test_a_wheel_that_is_not_pinned_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="pins no torch"):
        python_images.chosen(system.REQUIREMENTS, ("click", "torch"), Cache(root=tmp_path))
