"""Asks core for each decision of the webhooks, with what is known of the cluster: the port `ports.webhook.Decides`.

Called on the server's threads, many at once. What the decisions need of the cluster is what two mirrors last saw: the
profiles of its GPUs, for warnings and gates, and Knative's cap on timeouts, for functions that are new, with what it
sets on those alone. Neither is waited for.
"""

from collections.abc import Mapping

from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.core.admission.choice import Choice, decide
from knative_mig.core.admission.function import Function
from knative_mig.core.admission.limits import KnativeDefaults
from knative_mig.core.admission.pods import Additions, NewPod, additions
from knative_mig.core.admission.problems import refusals, warnings
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key, Mirror
from knative_mig.ports.webhook import Judgement

Profiles = frozenset[ProfileName]


class Desk:
    def __init__(self, gpu_nodes: Mirror[GpuNode], defaults: Mirror[KnativeDefaults], metrics: WebhookMetrics) -> None:
        """`defaults`: of Knative's one ConfigMap."""
        self._gpu_nodes = gpu_nodes
        self._defaults = defaults
        self._metrics = metrics
        self._fleet: tuple[Mapping[Key, GpuNode], Profiles] = ({}, frozenset())

    def choose(self, new: Function, old: Function | None) -> Choice:
        knative = next(iter(self._defaults.snapshot().values()), KnativeDefaults())
        choice = decide(new, old, knative.longest_timeout_s, service_links=knative.service_links)
        self._metrics.choices.labels(str(choice.why)).inc()
        return choice

    def judge(self, new: Function, old: Function | None) -> Judgement:
        refused = refusals(new, old)
        return Judgement(refusals=tuple(refused), warnings=() if refused else tuple(warnings(new, self._profiles())))

    def add(self, pod: NewPod) -> Additions:
        added = additions(pod, self._profiles())
        if added.gate:
            self._metrics.gated.inc()
        return added

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
