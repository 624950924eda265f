"""What Eventing's stand-in asks of others in its process."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int


class Addresses(Protocol):
    def of(self, host: str) -> Place | None:
        """Where on this machine a host of the cluster's own is served (`fn.team.svc.cluster.local`: at the gateway): it
        is connected to there, and named in the Host header. None: it is resolved like any other. From any thread.
        """
