"""Debian packages that the cluster needs on the machine, each with its reason; installed where a command is missing."""

import shutil
from dataclasses import dataclass
from typing import Final

from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.shell import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    name: str
    command: str
    reason: str


PACKAGES: Final = (
    Package(name="iproute2", command="ip", reason="makes the namespaces and links of the nodes"),
    Package(name="util-linux", command="nsenter", reason="starts a node's processes inside its namespaces"),
    Package(name="iptables", command="iptables", reason="kube-proxy writes its Service rules with it"),
    Package(name="runc", command="runc", reason="containerd runs containers with it; it must have libseccomp"),
    Package(name="openssl", command="openssl", reason="signs the cluster's certificates"),
)


def require_seccomp(runc_version: str) -> None:
    """Containerd 2 gives every container a seccomp profile; a runc built without it refuses them all."""
    if "libseccomp" not in runc_version:
        raise BadInputError(
            f"{shutil.which('runc')} was built without libseccomp and would refuse every container: "
            "take it off PATH, or install Debian's (apt-get install runc)"
        )


def missing() -> list[Package]:
    return [package for package in PACKAGES if shutil.which(package.command) is None]


def install(progress: Progress) -> None:
    wanted = missing()
    if wanted:
        _install(wanted, progress)
    require_seccomp(run(["runc", "--version"]))


def _install(wanted: list[Package], progress: Progress) -> None:
    if shutil.which("apt-get") is None:
        commands = ", ".join(f"{p.command} ({p.reason})" for p in wanted)
        raise BadInputError(f"this machine has no apt-get; install by its own means: {commands}")
    for package in wanted:
        progress.say(f"installing Debian package {package.name}: {package.reason}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "install", "--yes", "--no-install-recommends", *(package.name for package in wanted)]
    with progress.step("apt-get install"):
        try:
            run(["apt-get", "update"], env=quiet)
            run(argv, env=quiet)
        except ClusterError as error:
            names = " ".join(package.name for package in wanted)
            raise BadInputError(f"apt-get cannot install {names}: {error}") from None
    still = missing()
    if still:
        raise BadInputError(f"after apt-get install, {still[0].command} is still not on PATH; is /usr/sbin in it?")
