"""The scheduler stand-in: binds the pods that wait, and tells of those that fit nowhere.

A thread of the main process runs `run`, woken by the mirrors of pods and nodes. Each look decides for all of them
anew, from what is there (`fit`), so there is no queue to lose a pod from, and whatever makes room, an allocatable that
grew or a pod that ended, is a change that wakes it. The subtle thing is its own binding, which the mirror shows a
little later: until then the pod is counted where it was sent.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from knative_mig.adapters.kube import parse, pod_requests
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields, time_text
from knative_mig.adapters.kube.kinds import POD
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import BadInput
from knative_mig.dev.node.fit import Bind, Gated, Host, Seeker, Unschedulable, Verdict, decide
from knative_mig.ports.kube import (
    ClusterError,
    Conflict,
    EventRecorder,
    EventType,
    Key,
    Mirror,
    ObjectNotFound,
    Refused,
    Subject,
)

_log = logging.getLogger(__name__)
NAME: Final = "default-scheduler"
TELL_AGAIN_S: Final = 300.0  # as often as the real one tries again what no event has woken
GATED_MESSAGE: Final = "Scheduling is blocked due to non-empty scheduling gates"
_TRY_AGAIN_S: Final = 1.0


def seeker(body: Mapping[str, Any]) -> Seeker:
    """One whose wishes cannot be read waits, and is told why."""
    spec = Fields(body).child("spec")
    try:
        return _seeker(parse.pod(body), spec)
    except BadInput as bad:
        which = {key: value for key, value in spec.values.items() if key in ("nodeName", "schedulerName")}
        return replace(_seeker(parse.pod({**body, "spec": which}), Fields(which)), unreadable=str(bad))


def _seeker(facts: PodFacts, spec: Fields) -> Seeker:
    return Seeker(
        key=Key(facts.namespace, facts.name),
        facts=facts,
        asks={name: amount for name, amount in pod_requests.of_pod(spec).items() if amount > 0},
        may_preempt=spec.text("preemptionPolicy") != "Never",
        ours=spec.text("schedulerName") in ("", NAME),
    )


def host(body: Mapping[str, Any]) -> Host:
    allocatable = Fields(body).child("status").child("allocatable")
    return Host(facts=parse.node(body), allocatable=pod_requests.amounts(allocatable))


@dataclass(frozen=True, slots=True)
class _Told:
    reason: str
    message: str
    at: float


class Scheduler:
    def __init__(
        self,
        client: KubeClient,
        pods: Mirror[Seeker],
        nodes: Mirror[Host],
        events: EventRecorder,
    ) -> None:
        self._client, self._pods, self._nodes, self._events = client, pods, nodes, events
        self._wake = threading.Event()
        self._assumed: dict[str, str] = {}
        self._told: dict[str, _Told] = {}
        pods.on_change(lambda _: self._wake.set())
        nodes.on_change(lambda _: self._wake.set())

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._wake.wait(_TRY_AGAIN_S)
            if self._wake.is_set() and self._pods.synced and self._nodes.synced:
                self._wake.clear()
                if not self.look(time.time()):
                    stop.wait(_TRY_AGAIN_S)
                    self._wake.set()

    def stop(self) -> None:
        self._wake.set()

    def look(self, now: float) -> bool:
        """Whether all that was decided is done."""
        pods = self._pods.snapshot()
        there = {each.facts.uid: each for each in pods.values()}
        self._assumed = {
            uid: node for uid, node in self._assumed.items() if uid in there and there[uid].facts.node is None
        }
        self._told = {uid: told for uid, told in self._told.items() if uid in there}
        verdicts = decide(pods.values(), self._nodes.snapshot().values(), self._assumed)
        return all([self._do(each, now) for each in verdicts])  # noqa: C419 - each is done, whatever became of others

    def _do(self, verdict: Verdict, now: float) -> bool:
        try:
            match verdict:
                case Bind():
                    self._bind(verdict)
                case Unschedulable():
                    self._tell(verdict.pod, "Unschedulable", verdict.message, now)
                case Gated():
                    self._tell(verdict.pod, "SchedulingGated", GATED_MESSAGE, now)
        except (ObjectNotFound, Conflict, Refused) as gone:  # another one, or bound already: its change wakes us
            _log.info("pod %s/%s: %s", verdict.pod.key.namespace, verdict.pod.key.name, gone)
        except ClusterError as error:
            _log.warning("pod %s/%s is tried again: %s", verdict.pod.key.namespace, verdict.pod.key.name, error)
            return False
        return True

    def _bind(self, verdict: Bind) -> None:
        pod = verdict.pod
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.facts.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": verdict.node},
        }
        self._client.create_below(POD, pod.key, "binding", binding)
        self._assumed[pod.facts.uid] = verdict.node
        self._told.pop(pod.facts.uid, None)
        name = f"{pod.key.namespace}/{pod.key.name}"
        self._record(pod, EventType.NORMAL, "Scheduled", f"Successfully assigned {name} to {verdict.node}")

    def _tell(self, pod: Seeker, reason: str, message: str, now: float) -> None:
        before = self._told.get(pod.facts.uid)
        if before and (before.reason, before.message) == (reason, message) and now - before.at < TELL_AGAIN_S:
            return
        condition: dict[str, Any] = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        if before is None:
            condition |= {"lastProbeTime": None, "lastTransitionTime": time_text(int(now))}
        patch = {"metadata": {"uid": pod.facts.uid}, "status": {"conditions": [condition]}}
        self._client.merge_strategically(POD, pod.key, patch, subresource="status")
        self._told[pod.facts.uid] = _Told(reason, message, now)
        if reason == "Unschedulable":  # of a gate the real one tells in the condition alone
            self._record(pod, EventType.WARNING, "FailedScheduling", message)

    def _record(self, pod: Seeker, kind: EventType, reason: str, message: str) -> None:
        subject = Subject(
            api_version="v1", kind="Pod", namespace=pod.key.namespace, name=pod.key.name, uid=pod.facts.uid
        )
        self._events.record(subject, kind, reason, message)
