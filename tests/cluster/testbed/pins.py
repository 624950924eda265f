"""Brings each module's go.mod and go.sum in line with versions.toml: `python -m tests.cluster.testbed pin`."""

import re

from tests.cluster.testbed.build import GO_ENVIRONMENT
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.versions import Component, behind, disagreements, versions


def pin(progress: Progress) -> None:
    for component in versions().components.values():
        if disagreements(component, (component.folder / "go.mod").read_text()):
            with progress.step(f"pin {component.name} {component.version}", announce=True):
                _pin(component)
    progress.say("every go.mod agrees with versions.toml")


def _pin(component: Component) -> None:
    def go(*arguments: str) -> None:
        run(["go", *arguments], cwd=component.folder, env=GO_ENVIRONMENT)

    if component.staging:
        text = (component.folder / "go.mod").read_text()
        for module in sorted(set(re.findall(r"^\s*(?:replace )?(k8s\.io/\S+) => ", text, re.MULTILINE))):
            go("mod", "edit", f"-replace={module}={module}@{component.staging}")
    go("get", f"{component.module}@{component.version}")
    go("mod", "tidy")
    if raised := behind(component, (component.folder / "go.mod").read_text()):
        go("get", *(f"{name}@{version}" for name, version in sorted(raised.items())))
        go("mod", "tidy")
