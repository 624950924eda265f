"""Decides which pods have to leave their node, and when: by its NoExecute taints and by what each pod tolerates.

Called by `evictor`. The subtle thing is a time that runs: it goes on from when it began, whatever else is tolerated
meanwhile, until a taint comes that the pod does not tolerate at all, or until nothing sends it away any more.
"""

from collections.abc import Iterable, Mapping
from math import inf

from knative_mig.core.cluster.eligibility import tolerates
from knative_mig.core.cluster.objects import Effect, Taint, Toleration
from knative_mig.dev.node.fit import Host, Seeker


def due(pods: Iterable[Seeker], hosts: Mapping[str, Host], before: Mapping[str, float], now: float) -> dict[str, float]:
    """By uid, when those leave that may not stay for ever. `before`: what was decided last."""
    found = {}
    for pod in pods:
        host = hosts.get(str(pod.facts.node))
        if host is None or pod.facts.ends_at is not None:
            continue
        at = now + _may_stay_s(pod.facts.tolerations, host.facts.taints)
        if at < inf:
            found[pod.facts.uid] = min(at, before.get(pod.facts.uid, inf))
    return found


def _may_stay_s(tolerations: Iterable[Toleration], taints: Iterable[Taint]) -> float:
    """Of several tolerations of one taint the first counts."""
    least = inf
    for taint in taints:
        if taint.effect is Effect.NO_EXECUTE:
            used = next((each for each in tolerations if tolerates(each, taint)), None)
            if used is None:
                return 0.0
            if used.seconds is not None:
                least = min(least, max(0.0, used.seconds))
    return least
