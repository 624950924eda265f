"""Builds each component from its pinned module: `go build -trimpath -o <cache>/… tool`, once per content.

The key of a build is its go.mod, go.sum, our own sources, the Go version and the flags; a finished folder is renamed
into place, so that a build killed half-way is never taken for done. Knative's manifests are copied beside the
binaries: a boot needs no module cache.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.scratch import drop_unused, publish, scratch
from tests.cluster.testbed.shell import CommandError, run
from tests.cluster.testbed.versions import Component, require_agreement, versions

# Symbols off: a third less to write, import into every node and page in.
_LINKER_FLAGS: Final = "-s -w"
# The caller's GOFLAGS and workspace must not decide what is built; a missing toolchain is said, not downloaded.
GO_ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
# Whatever a proxy answers but the file (`reading https://…: 404 Not Found`, `Get "https://…": EOF`), and what stands in
# GOPROXY and is no proxy. A checksum that differs is none of these: another proxy would not help.
_UNREACHABLE: Final = re.compile(
    r'reading https?://|(?:Get|Head) "https?://|invalid proxy URL|GOPROXY|git ls-remote|module lookup disabled|'
    r"dial tcp|no such host|i/o timeout|connection refused|connection reset|unexpected EOF|proxyconnect|x509|"
    r"TLS handshake timeout|network is unreachable"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A component's binaries and manifests in the cache."""

    component: Component
    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def binary(self, name: str) -> Path:
        return self.bin / name

    def manifests(self, module: str) -> Path:
        return self.folder / "manifests" / module.rpartition("/")[2]


def _linker_flags(component: Component) -> str:
    if component.name != "kubernetes":
        return _LINKER_FLAGS
    # Without the stamp every binary calls itself v0.0.0-master, and Knative refuses a cluster older than v1.34.
    major, minor = component.version.lstrip("v").split(".")[:2]
    package = "k8s.io/component-base/version"
    stamps = {"gitVersion": component.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join([_LINKER_FLAGS, *(f"-X {package}.{name}={value}" for name, value in stamps.items())])


def build_key(component: Component, go_version: str) -> str:
    digest = hashlib.sha256(f"{go_version}\n{_linker_flags(component)}\n{component.manifests}\n".encode())
    for path in sorted(component.folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(component.folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def go_version() -> str:
    try:
        return run(["go", "env", "GOVERSION"], env=GO_ENVIRONMENT).strip()
    except CommandError as error:
        raise BadInputError(f"go does not run: {error}") from None
    except ClusterError:
        raise BadInputError(f"Go is not on PATH: install Go {versions().go} or newer (https://go.dev/dl)") from None


def require_go(found: str, wanted: str) -> None:
    def parts(text: str) -> tuple[int, ...]:
        return tuple(int(n) for n in re.findall(r"\d+", text)[:3])

    if parts(found) < parts(wanted):
        raise BadInputError(
            f"{found} is too old: the pinned modules need Go {wanted} or newer (https://go.dev/dl), first on PATH"
        )


def located(cache: Cache, component: Component, go: str, *, only: str = "") -> Build:
    """`only`: the package of one of its commands, built without the others and without manifests."""
    return Build(component=component, folder=cache.builds / f"{_named(component, only)}-{build_key(component, go)}")


def _named(component: Component, only: str) -> str:
    return only.rpartition("/")[2] or component.name


def build(cache: Cache, component: Component, go: str, progress: Progress, *, only: str = "") -> Build:
    """The build of a component, made now where the cache lacks it."""
    finished, name = located(cache, component, go, only=only), _named(component, only)
    if finished.folder.is_dir():
        finished.folder.touch()
        return finished
    drop_unused(cache.builds, f"{name}-*", days=7)
    require_agreement(component)
    with scratch(cache.builds, name) as folder:
        half_done = Build(component=component, folder=folder / "build")
        with progress.step(f"build {name} {component.version}", announce=True):
            _compile(component, half_done, only or "tool")
        if not only:
            _copy_manifests(component, half_done)
        publish(half_done.folder, finished.folder)
    return finished


def _compile(component: Component, target: Build, packages: str) -> None:
    target.bin.mkdir(parents=True)
    argv = ["go", "build", "-trimpath", "-ldflags", _linker_flags(component), "-o", f"{target.bin}/", packages]
    try:
        run(argv, cwd=component.folder, env=GO_ENVIRONMENT, timeout=1800)
    except CommandError as error:
        if trouble := told(component.name, error.output):
            raise BadInputError(trouble) from None
        raise


def told(component: str, output: str) -> str | None:
    """What to do about a build that failed for want of something on this machine; None where it is bad itself."""
    if "no space left" in output:
        return f"the disk is full while building {component}: free some space"
    unreachable = [line.strip() for line in output.splitlines() if _UNREACHABLE.search(line)]
    if not unreachable:
        return None
    proxy = run(["go", "env", "GOPROXY"], env=GO_ENVIRONMENT).strip()
    return (
        f"module proxy unreachable: modules of {component} are not in the module cache and GOPROXY={proxy} does not "
        f"serve them: set GOPROXY to a proxy that is reachable from here. Go says: {unreachable[-1]}"
    )


def _copy_manifests(component: Component, target: Build) -> None:
    for module in component.manifests:
        source = run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=component.folder, env=GO_ENVIRONMENT).strip()
        copy = target.manifests(module)
        for part in ("config", "third_party"):
            if (Path(source) / part).is_dir():
                shutil.copytree(Path(source) / part, copy / part, ignore=shutil.ignore_patterns("*.go"))
        for folder, _, files in os.walk(copy):  # the module cache is read-only, and so would the copy be
            for path in (Path(folder), *(Path(folder) / name for name in files)):
                path.chmod(path.stat().st_mode | 0o200)
