"""What the pending source counts, under the names that `docs/operations.md` lists."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class SourceMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.pending = Gauge(
            "knative_mig_source_pending_revisions",
            "Revisions that want slices which they do not have.",
            registry=registry,
        )
        self.events = Counter(
            "knative_mig_source_events_total",
            "Events sent, by what became of them (taken, refused, failed).",
            ("outcome",),
            registry=registry,
        )
        self.told = Histogram(
            "knative_mig_source_change_to_taken_seconds",
            "From the change that a revision's demand was seen by until the sink has its first event.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.mirror_age = Gauge(
            "knative_mig_source_mirror_age_seconds",
            "Since the API server was last heard of, by mirror.",
            ("mirror",),
            registry=registry,
        )
        self.dead_letters = Counter(
            "knative_mig_source_dead_letters_total",
            "Events that a Broker gave up on and left here.",
            registry=registry,
        )
