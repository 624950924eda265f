"""What the gateway knows of the API's objects: parsed in `parse`, kept in `hall`."""

from dataclasses import dataclass

from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One line of a Route's traffic, as its status has it: all of it can be served."""

    revision: str
    percent: int = 0
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFacts:
    traffic: tuple[Traffic, ...]
    is_local: bool = False  # only the names inside the cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFacts:
    uid: str
    concurrency: int  # of one pod; 0: any
    limits: Limits


@dataclass(frozen=True, slots=True, order=True)
class Pod:
    """Where one can be reached."""

    host: str
    port: int
    key: Key

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    revision: Key
    at: Pod | None  # None: it is not to get requests now
