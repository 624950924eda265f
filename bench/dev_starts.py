"""Cold starts on a `knative-mig dev` of their own, by phase, for `bench.dev`: tiny-llm at zero, asked for one token.

Phases end when their change arrives at a watch, as in the scenarios. Each function is started once, on a slice that has
to be made: as many as the GPU has slices, one after the other.
"""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any, Final

import click

from knative_mig.dev.serving.objects import SERVICE
from tests.cluster.api import SERVICE as API_SERVICE
from tests.cluster.api import Api
from tests.cluster.function import Function
from tests.cluster.observed import Observation, observed
from tests.cluster.slices import GpuNodeView
from tests.cluster.waits import is_true, until
from tests.rigs.running_dev import RunningDev
from tests.scenarios.stage import Timeline

PHASES: Final = ("plan", "slice", "schedulable", "started", "ready", "first token")
MOST: Final = 7  # slices of an A100
_PROFILE: Final = "1g.5gb"
_NAMESPACE: Final = "default"
_NODE: Final = "node-1"
_ANSWERS_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the request to the end of each phase."""

    reached: dict[str, float]

    @property
    def first_token_s(self) -> float:
        return self.reached["first token"]


def from_zero(count: int) -> list[Start]:
    with RunningDev("--gpus", "1xA100-40GB") as dev:
        api = Api.of_kubeconfig(dev.folder / "kubeconfig")
        names = [f"fn-{number}" for number in range(count)]
        for name in names:
            dev.client.create(SERVICE, _NAMESPACE, _function(name))
        for name in names:
            until(api, API_SERVICE.named(name, _NAMESPACE), "is Ready", is_true)
        return [_start(dev, api, name) for name in names]


def _start(dev: RunningDev, api: Api, name: str) -> Start:
    function = Function(name=name, namespace=_NAMESPACE, api=api, gateway=f"127.0.0.1:{dev.port}", domain="localhost")
    seen = Observation(function, _PROFILE, Timeline(what=name))
    with observed([seen], [GpuNodeView(_NODE, api)], api, lambda _: ()):
        at = _first_token(dev, function)
        seen.reach("first token", at)
    if "first token" not in seen.timeline.reached:
        raise click.ClickException(f"{name} was answered before it was asked")
    return Start(seen.timeline.reached)


def _first_token(dev: RunningDev, function: Function) -> float:
    """When it came, on the monotonic clock."""
    connection = http.client.HTTPConnection("127.0.0.1", dev.port, timeout=_ANSWERS_WITHIN_S)
    body = {"model": "tiny-llm", "prompt": "Once upon a time", "max_tokens": 4, "stream": True}
    headers = {"Host": function.host, "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        line = b"\n"
        while line and not line.startswith(b"data:"):
            line = answer.readline()
        came = time.monotonic()
        if answer.status != 200 or not line:
            raise click.ClickException(f"{function.name} answered {answer.status}: {line + answer.read()!r}")
        answer.read()
    finally:
        connection.close()
    return came


def _function(name: str) -> dict[str, Any]:
    limits = {f"nvidia.com/mig-{_PROFILE}": "1"}
    at_zero = {"autoscaling.knative.dev/initial-scale": "0"}
    container = {"image": "dev.local/tiny-llm", "resources": {"limits": limits}}
    return {
        "apiVersion": SERVICE.group,
        "kind": "Service",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": {"template": {"metadata": {"annotations": at_zero}, "spec": {"containers": [container]}}},
    }
