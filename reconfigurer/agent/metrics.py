"""What an agent counts. Made once in `process`, given to the loops, served by the ops server.

The registry is passed in, so that tests have one each. Labels are bounded: calls, outcomes, phases and reasons are
ours, and no label names a pod or a slice.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a millisecond of the simulation to the tens of seconds of a driver that is about to be given up.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class AgentMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.hardware_calls = Counter(
            "knative_mig_agent_hardware_calls_total",
            "Calls to the GPUs, by call and outcome (ok, or the error's reason).",
            ("call", "outcome"),
            registry=registry,
        )
        self.phase_seconds = Histogram(
            "knative_mig_agent_phase_seconds",
            "Seconds that each phase of a slice's change took.",
            ("phase",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_use_aborts = Counter(
            "knative_mig_agent_in_use_aborts_total",
            "Slices that were to be destroyed and that the driver said are in use: they stay.",
            registry=registry,
        )
        self.failed_pods_deleted = Counter(
            "knative_mig_agent_failed_pods_deleted_total",
            "Pods that were deleted so that their function gets another, by reason.",
            ("reason",),
            registry=registry,
        )
        self.pods_evicted = Counter(
            "knative_mig_agent_pods_evicted_total",
            "Pods that were evicted from a broken slice.",
            registry=registry,
        )
        self.kubelet_reconnects = Counter(
            "knative_mig_agent_kubelet_reconnects_total",
            "Times that the kubelet answered again after it had not.",
            registry=registry,
        )
        self.kubelet_connected = Gauge(
            "knative_mig_agent_kubelet_connected",
            "1 while the kubelet answers.",
            registry=registry,
        )
        self.spec_to_allocatable_seconds = Histogram(
            "knative_mig_agent_spec_to_allocatable_seconds",
            "Seconds from a spec's arrival here until the Node offers what it asks for.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.status_write_errors = Counter(
            "knative_mig_agent_status_write_errors_total",
            "Writes that the API server refused or did not answer, by object (gpunode, node, lease, pod) and reason.",
            ("object", "reason"),
            registry=registry,
        )
        self.handouts = Counter(
            "knative_mig_agent_handouts_total",
            "Slices that the kubelet asked for, by answer (given, refused, start-refused).",
            ("answer",),
            registry=registry,
        )
