"""The taint-eviction controller's stand-in: deletes the pods that the taints of their node send away.

A thread of the main process runs `run`, woken by the mirrors of pods and nodes, which it shares with the scheduler.
What is to leave when is decided anew at each look (`stay`). The subtle thing is its own deletion, which the mirror
shows a little later: until then the pod is not sent away again.
"""

import logging
import threading
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.dev.node.fit import Host, Seeker
from knative_mig.dev.node.stay import due
from knative_mig.dev.node.turns import take_turns
from knative_mig.ports.kube import ClusterError, EventRecorder, EventType, Mirror, ObjectNotFound, Subject

_log = logging.getLogger(__name__)
NAME: Final = "taint-eviction-controller"
REASON: Final = "TaintManagerEviction"
_TRY_AGAIN_S: Final = 1.0


class Evictor:
    def __init__(self, client: KubeClient, pods: Mirror[Seeker], nodes: Mirror[Host], events: EventRecorder) -> None:
        self._client, self._pods, self._nodes, self._events = client, pods, nodes, events
        self._wake = threading.Event()
        self._sent: set[str] = set()
        self.due: Mapping[str, float] = {}  # when each of those leaves that are still there, by uid
        pods.on_change(lambda _: self._wake.set())
        nodes.on_change(lambda _: self._wake.set())

    def run(self, stop: threading.Event) -> None:
        take_turns(stop, self._wake, lambda now: self.look(now) if self._pods.synced and self._nodes.synced else inf)

    def stop(self) -> None:
        self._wake.set()

    def look(self, now: float) -> float:
        """Seconds until it is to look again, if nothing changes before."""
        pods = {each.facts.uid: each for each in self._pods.snapshot().values()}
        self._sent &= pods.keys()
        hosts = {str(each.facts.name): each for each in self._nodes.snapshot().values()}
        stays = [each for uid, each in pods.items() if uid not in self._sent]
        before, leaves = self.due, due(stays, hosts, self.due, now)
        for uid in [each for each in before if each in pods and each not in self._sent and each not in leaves]:
            if pods[uid].facts.ends_at is None:
                self._tell(pods[uid], "Cancelling deletion of Pod")
        self.due = {uid: at for uid, at in leaves.items() if at > now or not self._evict(pods[uid], now)}
        return min((at - now if at > now else _TRY_AGAIN_S for at in self.due.values()), default=inf)

    def _evict(self, pod: Seeker, now: float) -> bool:
        self._tell(pod, "Marking for deletion Pod")
        condition: dict[str, Any] = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": time_text(int(now)),
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        patch = {"metadata": {"uid": pod.facts.uid}, "status": {"conditions": [condition]}}
        try:
            self._client.merge_strategically(POD, pod.key, patch, subresource="status")
            KubePods(self._client).delete(pod.key, uid=pod.facts.uid)
        except ObjectNotFound:
            _log.debug("pod %s/%s has gone already", pod.key.namespace, pod.key.name)
        except ClusterError as error:
            _log.warning("pod %s/%s is sent away again: %s", pod.key.namespace, pod.key.name, error)
            return False
        self._sent.add(pod.facts.uid)
        return True

    def _tell(self, pod: Seeker, what: str) -> None:
        """Without a uid, as the real one: `kubectl get events` shows it, and `kubectl describe` of the pod does not."""
        subject = Subject(api_version="v1", kind="Pod", namespace=pod.key.namespace, name=pod.key.name, uid="")
        self._events.record(subject, EventType.NORMAL, REASON, f"{what} {pod.key.namespace}/{pod.key.name}")
