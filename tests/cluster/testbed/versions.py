"""Reads versions.toml, the one place where versions of the test cluster are bumped, and holds go.mod files to it."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import SOURCES


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A Go module of ours under modules/ whose `tool` lines name the commands to build."""

    name: str
    module: str | None  # None: our own source
    version: str
    staging: str | None = None
    beside: str | None = None  # the component whose libraries it is built on, so that they are compiled once for both
    manifests: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return SOURCES / "modules" / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    go: str
    components: dict[str, Component]
    wheels: dict[str, Wheel]

    def lines(self) -> list[str]:
        """What the suite prints."""
        upstream = [f"{c.name} {c.version}" for c in self.components.values() if c.module]
        return [*upstream, *(f"{w.name} {w.version}" for w in self.wheels.values())]


@cache
def versions() -> Versions:
    table = tomllib.loads((SOURCES / "versions.toml").read_text())
    components = {
        name: Component(
            name=name,
            module=entry["module"],
            version=entry["version"],
            staging=entry.get("staging"),
            beside=entry.get("beside"),
            manifests=tuple(entry.get("manifests", ())),
        )
        for name, entry in table["components"].items()
    }
    own = Component(name="own", module=None, version="this checkout")
    return Versions(
        go=table["go"],
        components={**components, own.name: own},
        wheels={name: Wheel(**entry) for name, entry in table["wheels"].items()},
    )


def libraries(go_mod: str) -> dict[str, str]:
    """The version of each module that a go.mod requires."""
    return dict(re.findall(r"^(?:require )?\s*([\w.-]+/\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))


def behind(component: Component, go_mod: str) -> dict[str, str]:
    """The libraries that the component beside it has in another version, and that version."""
    if component.beside is None:
        return {}
    wanted = libraries((versions().components[component.beside].folder / "go.mod").read_text())
    return {name: wanted[name] for name, has in libraries(go_mod).items() if wanted.get(name, has) != has}


def disagreements(component: Component, go_mod: str) -> list[str]:
    """What go.mod says otherwise than versions.toml; empty where they agree."""
    if component.module is None:
        return []
    found = re.search(rf"^\s*(?:require )?{re.escape(component.module)} (\S+)", go_mod, re.MULTILINE)
    wrong = []
    if found is None or found[1] != component.version:
        wrong.append(f"{component.module} is {found[1] if found else 'missing'}, not {component.version}")
    if component.staging:
        replaced = set(re.findall(r"^\s*(?:replace )?k8s\.io/\S+ => k8s\.io/\S+ (\S+)", go_mod, re.MULTILINE))
        if replaced != {component.staging}:
            wrong.append(f"k8s.io modules are replaced by {sorted(replaced)}, not {component.staging}")
    if differing := behind(component, go_mod):
        wrong.append(f"{', '.join(sorted(differing))} not as in {component.beside}")
    return wrong


def require_agreement(component: Component) -> None:
    wrong = disagreements(component, (component.folder / "go.mod").read_text())
    if wrong:
        raise BadInputError(
            f"modules/{component.name}/go.mod and versions.toml differ ({'; '.join(wrong)}): "
            "run `python -m tests.cluster.testbed pin`"
        )
