"""The webhook process's settings, each with its unit and the reason for its default."""

from dataclasses import dataclass

from knative_mig.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    namespace: str = "knative-mig"
    service: str = "webhook"  # by whose name the API server calls
    knative_namespace: str = "knative-serving"  # where config-defaults is
    port: int = 8443
    ops_port: int = 9090
    # The Secret and both configurations are read so often: three small reads, and so long is a bundle that somebody
    # overwrote missing.
    look_every_s: float = 5.0
    # A new replica that cannot read GpuNodes or Knative's cap serves without after this: warnings and long timeouts are
    # worth less than being there.
    waits_for_mirrors_s: float = 20.0

    def __post_init__(self) -> None:
        for name in ("look_every_s", "waits_for_mirrors_s"):
            if getattr(self, name) <= 0:
                raise BadInput(f"{name} is {getattr(self, name)}: legal is more than 0 seconds")

    @property
    def names(self) -> tuple[str, ...]:
        """What the certificate is for: the API server asks for the second."""
        host = f"{self.service}.{self.namespace}"
        return host, f"{host}.svc", f"{host}.svc.cluster.local"
