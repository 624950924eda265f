"""The node lifecycle controller's stand-in: whoever is cordoned has the taint that says so, and nobody else has it.

A thread of the main process runs `run`, woken by the mirror of nodes, which it shares with the scheduler. The scheduler
needs no taint to heed a cordon; who reads a node's taints does. The subtle thing is who else writes them: they are one
list, so it is written over the version that was read.
"""

import logging
import threading
from math import inf
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import NODE
from knative_mig.core.cluster.eligibility import CORDON
from knative_mig.dev.node.fit import Host
from knative_mig.dev.node.turns import take_turns
from knative_mig.ports.kube import ClusterError, Key, Mirror, ObjectNotFound

_log = logging.getLogger(__name__)
_TRY_AGAIN_S: Final = 1.0


class Cordons:
    def __init__(self, client: KubeClient, nodes: Mirror[Host]) -> None:
        self._client, self._nodes = client, nodes
        self._wake = threading.Event()
        nodes.on_change(lambda _: self._wake.set())

    def run(self, stop: threading.Event) -> None:
        take_turns(stop, self._wake, self.look)

    def stop(self) -> None:
        self._wake.set()

    def look(self, now: float) -> float:
        """Seconds until it is to look again, if nothing changes before."""
        wrong = [
            key
            for key, host in self._nodes.snapshot().items()
            if host.facts.unschedulable is not any(each.key == CORDON.key for each in host.facts.taints)
        ]
        return inf if all(self._put_right(key, now) for key in wrong) else _TRY_AGAIN_S

    def _put_right(self, key: Key, now: float) -> bool:
        try:
            node = self._client.get(NODE, key)
            spec = node.get("spec") or {}
            before: list[dict[str, Any]] = spec.get("taints") or []
            taints = [each for each in before if each["key"] != CORDON.key]
            if spec.get("unschedulable"):
                found = [each for each in before if each["key"] == CORDON.key]
                taints += found or [{"key": CORDON.key, "effect": CORDON.effect, "timeAdded": time_text(int(now))}]
            if taints != before:
                version = node["metadata"]["resourceVersion"]
                patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints or None}}
                self._client.merge(NODE, key, patch)
        except ObjectNotFound:
            _log.debug("node %s has gone", key.name)
        except ClusterError as error:
            _log.warning("the taints of node %s are looked at again: %s", key.name, error)
            return False
        return True
