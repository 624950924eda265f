"""What the webhook process counts, under the names that `docs/operations.md` lists."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class WebhookMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"knative_mig_webhook_{name}", text, labels, registry=registry)

        self.reviews = counter(
            "reviews_total",
            "Reviews answered, by webhook and outcome (unchanged, changed, refused, unreadable, malformed, failed).",
            "webhook",
            "outcome",
        )
        self.seconds = Histogram(
            "knative_mig_webhook_review_seconds",
            "From a review's last byte to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.choices = counter(
            "choices_total",
            "Functions written, by what was chosen for them (decided, carried, left, withdrawn, not-ours, deleting).",
            "why",
        )
        self.gated = counter("gated_pods_total", "Pods that were given the gate.")
        self.relay_secrets = counter(
            "relay_secrets_total", "Looks whether a namespace's relays have a secret (made, there, failed).", "result"
        )
        self.until = Gauge(
            "knative_mig_webhook_certificate_until_seconds",
            "When the certificate that is served runs out, in seconds since the epoch.",
            registry=registry,
        )
        self.made = counter("certificates_made_total", "Certificates that this replica made for all.")
        self.repaired = counter(
            "bundles_written_total", "Times that this replica wrote the authorities into a webhook configuration."
        )
