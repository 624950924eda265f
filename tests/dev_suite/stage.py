"""The stage of tests/scenarios on `knative-mig dev`: that of the cluster, on a `dev` of its own for each story.

Made by the `stage` fixture of test_scenarios.py. Functions are made by the real kn; their program is the one of the
cluster's function under test, run by its path in place of an image.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster.api import CONFIG_MAP, NODE, Api
from tests.cluster.kn import Kn
from tests.cluster.slices import GpuNodeView
from tests.cluster.stage import Stage
from tests.dev_suite.parts import Parts
from tests.dev_suite.steering import Gpus, Steering
from tests.rigs.running_dev import RunningDev
from tests.scenarios.scenario import Needs, Scenario

_NAMESPACE: Final = "default"
_NODE: Final = "2xA100-40GB"
# As short as Knative allows, and as on the cluster: a function is at zero some seconds after its last request.
_SETTINGS: Final = {
    "stable-window": "6s",
    "scale-to-zero-grace-period": "6s",
    "scale-to-zero-pod-retention-period": "0s",
}


def fleet(scenario: Scenario) -> str:
    """A story that has everything has two nodes, of the same GPUs, or of one kind each where it wants several kinds."""
    return scenario.fleet or (f"{_NODE},{_NODE}" if scenario.needs is Needs.EVERYTHING else _NODE)


@contextmanager
def stage_on(dev: RunningDev, *, kn: Path, function: Path, told: Callable[[str], None]) -> Iterator[Stage]:
    kubeconfig = dev.folder / "kubeconfig"
    api = Api.of_kubeconfig(kubeconfig)
    api.merge(CONFIG_MAP, "config-autoscaler", {"data": _SETTINGS}, "knative-serving")
    parts = Parts(dev.process.pid, dev.folder / "kept" / "logs")
    steering = Steering(parts=parts, api=api)
    try:
        yield Stage(
            gateway=f"127.0.0.1:{dev.port}", domain="localhost", api=api, kn=Kn(kn, kubeconfig, _NAMESPACE),
            namespace=_NAMESPACE, nodes=[GpuNodeView(each["metadata"]["name"], api) for each in api.items(NODE)],
            where=("--cmd", str(function)), hardware=Gpus(parts), steering=steering, told=told,
        )  # fmt: skip
    finally:
        steering.end()
