"""Images are commands of this installation."""

import sys
from pathlib import Path

import pytest

import services
from knative_mig.dev.node.images import Image, UnknownImage, installed, program, without_tag
from knative_mig.dev.node.pod_spec import ContainerSpec


def test_arguments_go_to_the_images_program_and_a_command_takes_its_place() -> None:
    images = {"dev.local/a": Image(entrypoint=("run", "--"))}
    found = program(ContainerSpec(name="c", image="dev.local/a:v1", args=("--x",)), images)
    assert (found.argv, found.from_image) == (("run", "--", "--x"), True)
    own = program(ContainerSpec(name="c", image="ghcr.io/other", command=("sh",), args=("-c",)), images)
    assert (own.argv, own.from_image) == (("sh", "-c"), False)


def test_what_is_not_installed_is_told_with_what_is() -> None:
    with pytest.raises(UnknownImage, match=r"it knows dev\.local/tiny-llm; with a `command` it runs"):
        program(ContainerSpec(name="c", image="ghcr.io/other"), installed())


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("dev.local/tiny-llm", "dev.local/tiny-llm"),
        ("dev.local/tiny-llm:0a1b", "dev.local/tiny-llm"),
        ("dev.local/tiny-llm@sha256:00", "dev.local/tiny-llm"),
        ("localhost:5000/a:v1", "localhost:5000/a"),
        ("localhost:5000/a", "localhost:5000/a"),
    ],
)
def test_a_tag_or_a_digest_is_no_part_of_the_name(image: str, name: str) -> None:
    assert without_tag(image) == name


def test_the_tiny_model_runs_behind_its_relay_and_is_found_from_any_folder() -> None:
    tiny = installed()["dev.local/tiny-llm"]
    assert tiny.entrypoint == (sys.executable, "-m", "services.relay", "--", sys.executable, "-m", "services.tiny_llm")
    assert services.__file__ is not None
    assert Path(tiny.variables["PYTHONPATH"]) == Path(services.__file__).parent.parent
