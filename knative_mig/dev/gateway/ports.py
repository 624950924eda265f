"""What the gateway asks of others in its process."""

from collections.abc import Sequence
from typing import Protocol

from knative_mig.dev.gateway.load import Told


class Autoscaler(Protocol):
    def told(self, messages: Sequence[Told]) -> None:
        """Each second of all revisions that have requests, and at once of the first request of one that had none. From
        any thread; it must return at once.
        """
