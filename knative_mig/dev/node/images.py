"""Which images there are: each a command of this installation, for there is no registry and no container.

Called by `container_start`, and by `whole.neighbours` for who makes Revisions. A pod that brings a `command` of its own
needs no image: it is run on this machine as it is. Tags and digests do not count: what is installed is the one version
there is.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from knative_mig.core.errors import KnativeMigError
from knative_mig.dev.node.pod_spec import ContainerSpec


class UnknownImage(KnativeMigError):
    """The container waits with ErrImagePull, then ImagePullBackOff."""

    reason = "ErrImagePull"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    entrypoint: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)  # of its own
    listens_by: tuple[str, ...] = ()  # the variables that are to hold the address to listen on


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a container runs."""

    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    listens_by: tuple[str, ...] = ()
    from_image: bool = False


def _python(*modules: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *modules)


def installed() -> Mapping[str, Image]:
    """What comes with this project, by the name without a tag."""
    tiny = Image(
        entrypoint=(*_python("services.relay", "--"), *_python("services.tiny_llm")),
        variables={"PYTHONPATH": _folder_of("services"), "PYTHONUNBUFFERED": "1"},
        listens_by=("KNATIVE_MIG_RELAY_HOST",),
    )
    return {"dev.local/tiny-llm": tiny}


def program(container: ContainerSpec, images: Mapping[str, Image]) -> Program:
    """UnknownImage: there is none of that name, and no command in its place."""
    if container.command:
        return Program(argv=(*container.command, *container.args))
    image = images.get(without_tag(container.image))
    if image is None:
        raise UnknownImage(problem(container.image, images))
    return Program(
        argv=(*image.entrypoint, *container.args),
        variables=image.variables,
        listens_by=image.listens_by,
        from_image=True,
    )


def problem(image: str, images: Mapping[str, Image]) -> str:
    """Why that one cannot be run; empty: it can."""
    if without_tag(image) in images:
        return ""
    known = ", ".join(sorted(images)) or "none"
    return f"knative-mig dev pulls no images: it knows {known}; with a `command` it runs that program of this machine"


def without_tag(image: str) -> str:
    """A port of the registry is no tag."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _folder_of(package: str) -> str:
    """Where it is imported from here, which a program with another working folder must be told."""
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent.parent)
