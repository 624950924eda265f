"""Settings of our system that a test changes for a while: the planner's, how many pending sources run and where they
send. For tests that are alone; what was changed is put back.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from knative_mig.adapters.kube.leases import FENCING
from knative_mig.core.events import PENDING
from tests.cluster.api import BROKER, CORE_SERVICE, JSON_PATCH, POD, TRIGGER, Api, Kind, Object
from tests.cluster.brokers import Broker
from tests.cluster.function import ask
from tests.cluster.observed import Sent, events_sent
from tests.cluster.slices import GPU_NODE, LEASE, GpuNodeView, metric, planner_pods
from tests.cluster.system import AGENT_NAMESPACE, CHECKOUT, PLANNER_NAMESPACE, STATE
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.waits import eventually, is_true, until, until_all
from tests.scenarios.stage import Listener

SINK_BINDING: Final = Kind("sources.knative.dev/v1", "sinkbindings")
DAEMON_SET: Final = Kind("apps/v1", "daemonsets")
_COMPONENT: Final = "app.kubernetes.io/component"
_SECONDS: Final = 120.0
SYSTEMS_BROKER: Final = "knative-mig"
DEAD_LETTERS: Final = "knative_mig_source_dead_letters_total"
_LEASE: Final = "knative-mig-planner"
_RESYNC: Final = "KNATIVE_MIG_RESYNC_S"
_BOUND: Final = ("source", "planner")  # by SinkBindings of the same names


@dataclass(frozen=True, slots=True)
class Steering:
    kubectl: Kubectl
    api: Api
    changed: set[str] = field(default_factory=set)  # of the planner's environment

    def resync(self, seconds: float) -> None:
        """Of the planner, from now on, until it is put back."""
        self.changed.add(_RESYNC)
        self._set("planner", [f"{_RESYNC}={seconds:.0f}"])
        self._led_anew()

    def put_back(self) -> None:
        if not self.changed:
            return
        self._set("planner", [f"{key}-" for key in self.changed])
        self.changed.clear()
        self._led_anew()

    @contextmanager
    def events_to(self, whom: Listener) -> Iterator[None]:
        with self._environment("source", {"K_SINK": self._address(whom)}):
            yield

    @contextmanager
    def sources(self, count: int) -> Iterator[None]:
        """So many copies of the pending source."""
        try:
            self._scale(count)
            yield
        finally:
            self._scale(1)

    def sent(self, seconds: int) -> Iterator[Sent]:
        return events_sent(self.api, seconds)

    def _led_anew(self) -> None:
        """Whoever was started leads, and has stamped every GpuNode: nothing that it sees is news to it any more.

        In between one of those that were replaced may have led, so that a newer stamp alone tells nothing.
        """
        eventually("one of those that were started leads", lambda: self._leader() in self._planners())
        stamped(self.api, fencing_token(self.api))

    def _leader(self) -> str:
        """Empty where nobody leads for the moment."""
        return str(self.api.get(LEASE, _LEASE, PLANNER_NAMESPACE)["spec"].get("holderIdentity", ""))

    def _planners(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in planner_pods(self.api)]

    def kill_source(self) -> None:
        """As a node that crashes does it; its Deployment makes another."""
        for pod in self.api.items(POD, PLANNER_NAMESPACE, labelSelector=f"{_COMPONENT}=source"):
            path = POD.path(PLANNER_NAMESPACE, pod["metadata"]["name"])
            self.api.call("DELETE", path, {"gracePeriodSeconds": 0})

    def _address(self, whom: Listener) -> str:
        if whom is Listener.NOBODY:
            return f"http://nobody.{PLANNER_NAMESPACE}.svc"
        standbys = eventually("one planner does not lead", self._standbys, lambda found: len(found) == 1)
        return f"http://{standbys[0]['status']['podIP']}:8080"

    def _standbys(self) -> list[Object]:
        """None where nobody leads for the moment."""
        leader, pods = self._leader(), [pod for pod in planner_pods(self.api) if is_true(pod)]
        others = [pod for pod in pods if pod["metadata"]["name"] != leader]
        return others if len(others) < len(pods) else []

    def tell(self, revision: Object, profile: str, identity: str, count: int) -> None:
        """The planner, what the pending source would."""
        planner = self.api.get(CORE_SERVICE, "planner", PLANNER_NAMESPACE)["spec"]["clusterIP"]
        tell(planner, revision, profile, identity, count)

    @contextmanager
    def broker_between(self) -> Iterator[None]:
        """As config/overlays/eventing installs it, where Eventing is."""
        overlay = ("--kustomize", str(CHECKOUT / "config" / "overlays" / "eventing"))
        try:
            self.kubectl("apply", "--server-side", *overlay)
            ready = ((BROKER, SYSTEMS_BROKER), (TRIGGER, "planner"), *((SINK_BINDING, name) for name in _BOUND))
            for kind, name in ready:
                until(self.api, kind.named(name, PLANNER_NAMESPACE), "is Ready", is_true)
            for deployment in _BOUND:
                self._settled(deployment)
            self._led_anew()
            yield
        finally:
            patience = f"--timeout={_SECONDS:.0f}s"
            self.kubectl("delete", *overlay, "--ignore-not-found", "--wait", patience, timeout=_SECONDS + 10)
            for deployment in _BOUND:
                self._settled(deployment)
            self._led_anew()

    def broker(self, namespace: str, name: str = "default") -> Broker:
        return Broker(self.api, namespace, name)

    def is_dead_letter(self, identity: str) -> bool:
        """Whether the pending source was given it, and counted and told it."""
        pods = self.api.items(POD, PLANNER_NAMESPACE, labelSelector=f"{_COMPONENT}=source")
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        told = "".join(self.api.text(f"{POD.path(PLANNER_NAMESPACE, pod['metadata']['name'])}/log") for pod in alive)
        return counts_dead_letter(told, sum(metric(self.api, pod, DEAD_LETTERS) for pod in alive), identity)

    @contextmanager
    def broker_away(self) -> Iterator[None]:
        ingress = ("deployment/mt-broker-ingress", "--namespace=knative-eventing")
        try:
            self.kubectl("scale", *ingress, "--replicas=0")
            until_all(
                self.api, POD, "knative-eventing", "no Broker takes events",
                lambda world: not any(name.startswith("mt-broker-ingress") for name in world),
            )  # fmt: skip
            yield
        finally:
            self.kubectl("scale", *ingress, "--replicas=1")
            self.kubectl("rollout", "status", *ingress, f"--timeout={_SECONDS:.0f}s", timeout=_SECONDS + 10)

    @contextmanager
    def fleet(self, gpus: str, nodes: Sequence[str]) -> Iterator[None]:
        """Other simulated GPUs on each node, as if they had been changed: what was on the old ones is gone."""
        agents = self.api.get(DAEMON_SET, "agent", AGENT_NAMESPACE)
        before = agents["spec"]["template"]["spec"]["containers"][0]["args"]
        state = str(STATE.with_name(f"simulated-{re.sub('[^a-zA-Z0-9]+', '-', gpus)}"))
        changed = [word for word in before if not word.startswith(("--gpus=", "--gpu-state="))]
        views = [GpuNodeView(name, self.api) for name in nodes]

        def reported() -> list[set[str]]:
            return [{*view.gpus} for view in views]

        old = reported()
        try:
            self._agents([*changed, f"--gpus=simulated:{gpus}", f"--gpu-state={state}"])
            eventually(
                "other GPUs are reported", reported,
                lambda now: all(now) and not any(map(set.intersection, now, old)),
            )  # fmt: skip
            yield
        finally:
            self._agents(before)
            eventually("the GPUs of before are reported", reported, lambda now: now == old)

    def _agents(self, arguments: list[str]) -> None:
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments}]
        self.api.call("PATCH", DAEMON_SET.path(AGENT_NAMESPACE, "agent"), patch, content_type=JSON_PATCH)
        self.kubectl(
            "rollout", "status", "daemonset/agent", f"--namespace={AGENT_NAMESPACE}",
            f"--timeout={_SECONDS:.0f}s", timeout=_SECONDS + 10,
        )  # fmt: skip

    @contextmanager
    def _environment(self, deployment: str, environment: dict[str, str]) -> Iterator[None]:
        try:
            self._set(deployment, [f"{key}={value}" for key, value in environment.items()])
            yield
        finally:
            self._set(deployment, [f"{key}-" for key in environment])

    def _set(self, deployment: str, words: list[str]) -> None:
        self.kubectl("set", "env", f"deployment/{deployment}", f"--namespace={PLANNER_NAMESPACE}", *words)
        self._settled(deployment)

    def _scale(self, count: int) -> None:
        self.kubectl("scale", "deployment/source", f"--namespace={PLANNER_NAMESPACE}", f"--replicas={count}")
        self._settled("source")

    def _settled(self, deployment: str) -> None:
        """Rolled out, and no pod of before is left that could still act."""
        self.kubectl(
            "rollout", "status", f"deployment/{deployment}", f"--namespace={PLANNER_NAMESPACE}",
            f"--timeout={_SECONDS:.0f}s", timeout=_SECONDS + 10,
        )  # fmt: skip
        until_all(
            self.api, POD, PLANNER_NAMESPACE, f"no old {deployment} is left",
            lambda world: all("deletionTimestamp" not in pod["metadata"] for pod in world.values()),
            labelSelector=f"{_COMPONENT}={deployment}",
        )  # fmt: skip


def counts_dead_letter(log: str, counted: float, identity: str) -> bool:
    """The pending source, one of that identity."""
    return bool(counted) and re.search(rf"A dead letter: .*\b{re.escape(identity)}\b", log) is not None


def fencing_token(api: Api) -> int:
    """Of whoever leads, or led last."""
    return int(api.get(LEASE, _LEASE, PLANNER_NAMESPACE)["metadata"]["annotations"][FENCING])


def stamped(api: Api, token: int) -> None:
    """Waits until whoever leads by it has looked at every GpuNode."""

    def everywhere(world: dict[str, Object]) -> bool:
        return all(int(each["spec"].get("fencingToken", 0)) >= token for each in world.values())

    until_all(api, GPU_NODE, None, "the new leader's stamp is on every GpuNode", everywhere)


def tell(planner: str, revision: Object, profile: str, identity: str, count: int) -> None:
    """A planner at this address, that the revision wants so many slices."""
    about = revision["metadata"]
    headers = {
        "Ce-Specversion": "1.0",
        "Ce-Id": identity,
        "Ce-Source": "/tests",
        "Ce-Type": PENDING,
        "Ce-Subject": f"{about['namespace']}/{about['name']}",
        "Ce-Migprofile": profile,
        "Ce-Count": str(count),
        "Ce-Revisionuid": about["uid"],
        "Content-Type": "application/json",
    }
    answer = ask(planner, planner, body="{}", headers=headers)
    assert answer.status == 202, answer
