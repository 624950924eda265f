"""Asks core for each decision of the webhooks, with what is known of the cluster: the port `ports.webhook.Decides`.

Called on the server's threads, many at once. What the decisions need of the cluster is what two mirrors last saw: the
profiles of its GPUs, for warnings and gates, and Knative's cap on timeouts, for functions that are new, with what it
sets on those alone. Neither is waited for. One thing is done: where a pod is given its namespace's relay secret, that
is made before the pod is. A pod is let in all the same when it cannot be.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.core.admission.choice import Choice, decide
from knative_mig.core.admission.function import Function
from knative_mig.core.admission.limits import KnativeDefaults
from knative_mig.core.admission.pods import Additions, NewPod, additions
from knative_mig.core.admission.problems import refusals, warnings
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import ClusterError, Key, Mirror
from knative_mig.ports.webhook import Judgement, RelaySecrets

_log = logging.getLogger(__name__)
Profiles = frozenset[ProfileName]
# One that was seen is not asked for again so soon; whoever deletes it has it made anew after this.
_SECRET_STANDS_S: Final = 60.0


class Desk:
    def __init__(
        self,
        gpu_nodes: Mirror[GpuNode],
        defaults: Mirror[KnativeDefaults],
        secrets: RelaySecrets,
        metrics: WebhookMetrics,
        *,
        clock: Callable[[], float],
    ) -> None:
        """`defaults`: of Knative's one ConfigMap."""
        self._gpu_nodes = gpu_nodes
        self._defaults = defaults
        self._secrets = secrets
        self._metrics = metrics
        self._clock = clock
        self._with_secret: dict[str, float] = {}  # when it was seen, by namespace
        self._fleet: tuple[Mapping[Key, GpuNode], Profiles] = ({}, frozenset())

    def choose(self, new: Function, old: Function | None) -> Choice:
        knative = next(iter(self._defaults.snapshot().values()), KnativeDefaults())
        choice = decide(new, old, knative.longest_timeout_s, service_links=knative.service_links)
        self._metrics.choices.labels(str(choice.why)).inc()
        return choice

    def judge(self, new: Function, old: Function | None) -> Judgement:
        refused = refusals(new, old)
        return Judgement(refusals=tuple(refused), warnings=() if refused else tuple(warnings(new, self._profiles())))

    def add(self, pod: NewPod, *, dry_run: bool) -> Additions:
        added = additions(pod, self._profiles())
        if added.gate:
            self._metrics.gated.inc()
        if added.secret and not dry_run:
            self._ensure_secret(pod.namespace)
        return added

    def _ensure_secret(self, namespace: str) -> None:
        if self._clock() - self._with_secret.get(namespace, float("-inf")) < _SECRET_STANDS_S:
            return
        try:
            made = self._secrets.ensure(namespace)
        except ClusterError as error:
            _log.warning(
                "The relays of %s may have no secret, and its functions then move without: %s", namespace, error
            )
            self._metrics.relay_secrets.labels("failed").inc()
            return
        self._with_secret[namespace] = self._clock()
        self._metrics.relay_secrets.labels("made" if made else "there").inc()
        if made:
            _log.info("The relays of %s have a secret now", namespace)

    def _profiles(self) -> Profiles:
        snapshot = self._gpu_nodes.snapshot()
        seen, profiles = self._fleet
        if seen is not snapshot:
            profiles = frozenset(
                profile.name
                for node in snapshot.values()
                if node.status
                for model in node.status.models
                for profile in model.profiles
            )
            self._fleet = snapshot, profiles
        return profiles
