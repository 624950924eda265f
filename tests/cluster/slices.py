"""Slices as a test sees them: what a GpuNode says, what a Node offers, pods that ask for one, and who is really there.

Used by test_reconfigurer_*.py. Layouts are written as in `3g.20gb@4`; the GPUs of a node are numbered by their UUIDs.
"""

import http.client
import json
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tests.cluster.api import DEPLOYMENT, NAMESPACE, NODE, POD, Api, Kind, Object, RefusedError
from tests.cluster.system import AGENT_NAMESPACE, PLANNER_NAMESPACE
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import PATIENCE_SECONDS, eventually, is_true, until, until_gone

GPU_NODE: Final = Kind("knative-mig.dev/v1alpha1", "gpunodes", namespaced=False)
LEASE: Final = Kind("coordination.k8s.io/v1", "leases")
EVENT: Final = Kind("v1", "events")
OPS_PORT: Final = 9090
GATE: Final = "knative-mig.dev/slice"
SLICE_CONDITION: Final = "knative-mig.dev/Slice"  # of a pod

# Memory units of the profiles that the simulated A100-40GB GPUs of the overlay have.
SIZES: Final = {"1g.5gb": 1, "1g.10gb": 2, "2g.10gb": 2, "3g.20gb": 4, "4g.20gb": 4, "7g.40gb": 8}

_TAKEN_UP_SECONDS: Final = 10.0
_DRAINED_SECONDS: Final = 330.0  # a pod of another test that is answering yet may do so for its whole timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    gpu: str
    profile: str
    start: int
    state: str
    uuid: str
    holders: tuple[str, ...]  # pods' names

    @property
    def device(self) -> str:
        return f"{self.gpu}/{self.profile}/{self.start}"

    def __str__(self) -> str:
        return f"{self.profile}@{self.start} {self.state}"


@dataclass(frozen=True, slots=True)
class GpuNodeView:
    """One GPU node: its GpuNode and its Node."""

    name: str
    api: Api

    @property
    def object(self) -> Object:
        return self.api.get(GPU_NODE, self.name)

    @property
    def gpus(self) -> list[str]:
        return sorted(gpu["uuid"] for gpu in self.object["status"]["gpus"])

    def slices(self) -> list[Slice]:
        return slices_of(self.object)

    def offered(self, profile: str) -> int:
        found = self.api.get(NODE, self.name)["status"]["allocatable"]
        return int(found.get(f"nvidia.com/mig-{profile}", 0))

    def wait(self, what: str, look: Callable[[list[Slice]], Any], *, seconds: float = PATIENCE_SECONDS) -> list[Slice]:
        """Until the slices are as `look` accepts; what they are then."""

        def seen(item: Object) -> list[Slice] | None:
            found = slices_of(item)
            return found if look(found) else None

        found = until(self.api, GPU_NODE.named(self.name), what, lambda item: _some(seen(item)), seconds=seconds)
        return found[0]

    def wait_offered(self, profile: str, count: int, *, seconds: float = PATIENCE_SECONDS) -> None:
        resource = f"nvidia.com/mig-{profile}"
        until(
            self.api, NODE.named(self.name), f"offers {count} {resource}",
            lambda node: int(node["status"]["allocatable"].get(resource, 0)) == count, seconds=seconds,
        )  # fmt: skip

    def want(self, *layouts: str, offered: bool = True) -> list[Slice]:
        """Lays the GPUs out as an administrator would, each as one text; waits until it is so, and offered."""
        texts = [*layouts, *[""] * len(self.gpus)]
        wanted = {uuid: [_wanted(word) for word in text.split()] for uuid, text in zip(self.gpus, texts, strict=False)}
        asked = {(uuid, each["profile"], each["start"]) for uuid, slices in wanted.items() for each in slices}
        gpus = [{"uuid": uuid, "slices": slices} for uuid, slices in wanted.items()]
        what = f"has {' | '.join(layouts) or 'no slice'}"

        def as_wanted() -> list[Slice]:
            self.api.merge(GPU_NODE, self.name, {"spec": {"gpus": gpus}})
            return self.wait(
                what,
                lambda slices: {(each.gpu, each.profile, each.start) for each in slices} == asked,
                seconds=_TAKEN_UP_SECONDS,
            )

        # Again where the planner, which writes the same spec, has just kept what it saw there before.
        found = eventually(f"{self.name} {what}", as_wanted, lambda _: True)
        for profile in SIZES if offered else ():
            self.wait_offered(profile, sum(each.profile == profile for each in found))
        return found


def _some(found: list[Slice] | None) -> tuple[list[Slice]] | None:
    """Watches wait for something true, and no slice at all is what some wait for."""
    return None if found is None else (found,)


def _wanted(word: str) -> Object:
    profile, _, start = word.partition("@")
    return {"profile": profile, "start": int(start), "size": SIZES[profile]}


def slices_of(item: Object) -> list[Slice]:
    return [
        Slice(
            gpu=gpu["uuid"],
            profile=each["profile"],
            start=each["start"],
            state=each["state"],
            uuid=each.get("migUUID", ""),
            holders=tuple(holder["pod"] for holder in each.get("holders", [])),
        )
        for gpu in sorted(item.get("status", {}).get("gpus", []), key=lambda gpu: str(gpu["uuid"]))
        for each in gpu.get("slices", [])
    ]


# ---------------------------------------------------------------- pods


@dataclass(frozen=True, slots=True)
class SlicePod:
    """A plain pod that asks for one slice; its server tells its environment and which process it is."""

    name: str
    namespace: str
    api: Api

    @property
    def object(self) -> Object:
        return self.api.get(POD, self.name, self.namespace)

    @property
    def node(self) -> str:
        return str(self.object["spec"].get("nodeName", ""))

    def wait_running(self, *, seconds: float = PATIENCE_SECONDS) -> "SlicePod":
        until(self.api, POD.named(self.name, self.namespace), "is Ready", is_true, seconds=seconds)
        return self

    def report(self, *, seconds: float = PATIENCE_SECONDS) -> Object:
        return eventually(f"{self.name} tells about itself", self._report, seconds=seconds)

    def _report(self) -> Object:
        address = self.object["status"].get("podIP", "no-address.invalid")
        with urllib.request.urlopen(f"http://{address}:8080/report", timeout=2) as answer:
            found: Object = json.load(answer)
            return found

    def environment(self) -> dict[str, str]:
        found: dict[str, str] = self.report()["environment"]
        return found

    def leave(self, code: int) -> None:
        """Its process ends itself; the kubelet starts its container again."""
        address = self.object["status"]["podIP"]
        with suppress(OSError, http.client.HTTPException):  # it answers no more
            urllib.request.urlopen(f"http://{address}:8080/exit?code={code}", timeout=2).close()

    def evict(self) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": self.name}}
        self.api.call("POST", f"{POD.path(self.namespace, self.name)}/eviction", body)

    def delete(self) -> None:
        self.api.delete(POD, self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Pods:
    """Makes them in one namespace."""

    api: Api
    namespace: str
    made: list[SlicePod] = field(default_factory=list)

    def ask(
        self,
        name: str,
        profile: str | None,
        *,
        node: str | None = None,
        requests: Mapping[str, str] | None = None,
        program: str = "",
        owner: Object | None = None,
        **spec: Any,
    ) -> SlicePod:
        """One that asks for a slice, or for none; it runs the function under test, or a Python program."""
        limits = {f"nvidia.com/mig-{profile}": "1"} if profile else {}
        container: Object = {
            "name": "holder",
            "image": FUNCTION_IMAGE,
            "resources": {"limits": limits, "requests": dict(requests or {})},
        }
        if program:
            container |= {"image": self.python(), "args": ["-c", program]}
        body: Object = {
            "metadata": {"name": name, "labels": {"app": name}, "ownerReferences": [owner] if owner else []},
            "spec": {
                "containers": [container],
                "terminationGracePeriodSeconds": 1,
                **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
                **spec,
            },
        }
        self.api.create(POD, body, self.namespace)
        pod = SlicePod(name, self.namespace, self.api)
        self.made.append(pod)
        return pod

    def python(self) -> str:
        """The image of our system, which has an interpreter and runs as 65532."""
        found = self.api.get(DEPLOYMENT, "planner", PLANNER_NAMESPACE)["spec"]["template"]["spec"]["containers"]
        return str(found[0]["image"])

    def delete_all(self) -> None:
        for pod in self.made:
            pod.delete()
        for pod in self.made:
            until_gone(self.api, POD.named(pod.name, pod.namespace))


# ---------------------------------------------------------------- the system's own pods


def agent_pod(api: Api, node: str) -> Object:
    """The one that is not being deleted."""
    return _one_pod(api, AGENT_NAMESPACE, lambda pod: pod["spec"].get("nodeName") == node)


def replace_agent(api: Api, node: str) -> None:
    """As an upgrade does it."""
    before = agent_pod(api, node)["metadata"]
    api.delete(POD, before["name"], AGENT_NAMESPACE)
    until_gone(api, POD.named(before["name"], AGENT_NAMESPACE))
    agent_pod(api, node)


def planner_pods(api: Api) -> list[Object]:
    found = api.items(POD, PLANNER_NAMESPACE, labelSelector="app.kubernetes.io/component=planner")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def leader(api: Api) -> Object:
    """The planner that leads: one of those that are there, also where for a moment nobody does."""

    def look() -> list[Object]:
        holder = str(api.get(LEASE, "knative-mig-planner", PLANNER_NAMESPACE)["spec"].get("holderIdentity", ""))
        return [pod for pod in planner_pods(api) if pod["metadata"]["name"] in holder]

    return eventually("a planner leads", look, lambda pods: len(pods) == 1)[0]


def _one_pod(api: Api, namespace: str, accept: Callable[[Object], bool]) -> Object:
    def look() -> list[Object]:
        pods = api.items(POD, namespace)
        return [pod for pod in pods if accept(pod) and "deletionTimestamp" not in pod["metadata"] and is_true(pod)]

    return eventually(f"one pod in {namespace} is Ready", look, lambda pods: len(pods) == 1)[0]


def metric(api: Api, pod: Object, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels, as the pod serves it."""
    return metric_at(f"{pod['status']['podIP']}:{OPS_PORT}", name, **labels)


def metric_at(address: str, name: str, **labels: str) -> float:
    """The same, as who listens there serves it."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    values = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name} ", f"{name}{{")) and all(word in line for word in wanted)
    ]
    return sum(values)


def reset(nodes: list[GpuNodeView]) -> None:
    """Every GPU as an administrator empties it: what a story begins with. Pods of other stories are gone first: one may
    have given its slice back and keep the place for its kubelet, and one that still waits would be given the place.
    """
    api = nodes[0].api
    names = {node.name for node in nodes}
    eventually(
        f"nobody of another story asks for a slice of {', '.join(sorted(names))}",
        lambda: _end_others(api, names), lambda left: not left, seconds=_DRAINED_SECONDS,
    )  # fmt: skip
    for node in nodes:
        node.wait(
            "has only idle slices", lambda slices: all(each.state == "Idle" for each in slices),
            seconds=_DRAINED_SECONDS,
        )  # fmt: skip
        unschedulable = api.get(NODE, node.name)["spec"].get("unschedulable")
        assert not unschedulable, f"{node.name} was left cordoned"
    for node in nodes:
        node.want()


def _end_others(api: Api, nodes: set[str]) -> list[str]:
    """Who is there, or waits in a namespace that goes. Nobody asks them anything, so that they need not drain."""
    going = {each["metadata"]["name"] for each in api.items(NAMESPACE) if "deletionTimestamp" in each["metadata"]}
    found = []
    for pod in api.items(POD):
        about, node = pod["metadata"], pod["spec"].get("nodeName")
        here = node in nodes or (not node and about["namespace"] in going)
        if here and asked_by(pod) and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            found.append(f"{about['namespace']}/{about['name']}")
            if about["namespace"] in going and about.get("deletionGracePeriodSeconds", 2) > 1:
                end_undrained(api, pod)
    return found


def asked_by(pod: Object) -> list[str]:
    """Names of the slices' resources that it asks for."""
    limits = [each.get("resources", {}).get("limits", {}) for each in pod["spec"]["containers"]]
    return sorted({name for each in limits for name in each if name.startswith("nvidia.com/mig-")})


def end_undrained(api: Api, pod: Object) -> None:
    """One that nobody asks anything. What waits for a pod to drain would wait for 30 s and more."""
    about = pod["metadata"]
    with suppress(RefusedError):  # it is gone
        api.call("DELETE", POD.path(about["namespace"], about["name"]), {"gracePeriodSeconds": 1})
