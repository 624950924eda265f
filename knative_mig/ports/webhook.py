"""What the admission webhooks ask of the world: decisions on what is being written, and where certificates are kept.

`Decides` is implemented by `activator_hooks.webhook.desk` and asked by `adapters.admission`; `RelaySecrets` is asked by
that desk, the other two by `activator_hooks.webhook.keeper`, and all are answered by `adapters.kube`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from knative_mig.core.admission.choice import Choice
from knative_mig.core.admission.function import Function
from knative_mig.core.admission.pods import Additions, NewPod


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Decides(Protocol):
    """From many threads at once; `old` is None for what is being made."""

    def choose(self, new: Function, old: Function | None) -> Choice: ...

    def judge(self, new: Function, old: Function | None) -> Judgement: ...

    def add(self, pod: NewPod, *, dry_run: bool) -> Additions:
        """In a dry run nothing is made beside."""


class RelaySecrets(Protocol):
    """One Secret for each namespace whose functions may be moved: who has it may move what runs there."""

    def ensure(self, namespace: str) -> bool:
        """Whether it was made now; it is left as it is where there is one. ClusterError: there may be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCertificates:
    files: Mapping[str, bytes]
    resource_version: str


class CertificateStore(Protocol):
    """One Secret that the replicas share. Each call raises what ClusterError's kinds say."""

    def load(self) -> StoredCertificates: ...

    def save(self, files: Mapping[str, bytes], *, replaces: StoredCertificates) -> StoredCertificates:
        """Conflict: another replica wrote in between."""


class WebhookConfigurations(Protocol):
    def distrusting(self, bundle: bytes) -> tuple[str, ...]:
        """The configurations of ours that name another bundle."""

    def trust(self, name: str, bundle: bytes) -> None: ...
