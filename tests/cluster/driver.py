"""The cluster that the suite runs on: our test bed, or kind with `KIND=1`. Everything else asks only what is here."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster import kind
from tests.cluster.api import Api
from tests.cluster.testbed import cluster as testbed
from tests.cluster.testbed.build import go_version
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.versions import versions

DRIVER_VARIABLE: Final = "KNATIVE_MIG_E2E_DRIVER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    kubectl: Kubectl
    kn: Path
    gateway: str  # address, with a port where it is not 80
    domain: str  # a function's host is <name>.<namespace>.<domain>
    host: str  # where pods and the API server reach a server that a test starts
    about: tuple[str, ...] = field(repr=False)
    processes: testbed.Cluster | None = None

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig

    @property
    def testbed(self) -> testbed.Cluster:
        """For faults, logs and the nodes' folders."""
        if self.processes is None:
            raise BadInputError("only our test bed has processes to break: mark this test `testbed_only`")
        return self.processes

    def connect(self) -> Api:
        return Api.of_kubeconfig(self.kubeconfig)


def attach() -> Cluster:
    """The cluster that is up."""
    return _kind() if os.environ.get(DRIVER_VARIABLE) == "kind" else _testbed()


def _testbed() -> Cluster:
    running = testbed.Cluster.attach()
    return Cluster(
        kubectl=running.kubectl,
        kn=running.kn,
        gateway=str(running.topology.gateway),
        domain=running.topology.domain,
        host=str(running.topology.host),
        about=("test bed: " + ", ".join(versions().lines()), f"machine: {', '.join(_machine())}"),
        processes=running,
    )


def _machine() -> list[str]:
    """What no version file pins, and a figure may depend on."""
    runc = run(["runc", "--version"]).splitlines()[0].replace(" version", "")
    return [f"Linux {platform.release()}", f"{os.cpu_count()} cores", go_version(), runc]


def _kind() -> Cluster:
    found = kind.Kind().attach()
    return Cluster(
        kubectl=Kubectl(binary=found.kubectl, kubeconfig=found.kubeconfig),
        kn=found.kn,
        gateway=found.gateway,
        domain=found.domain,
        host=found.host,
        about=("kind: " + ", ".join(found.versions),),
    )
