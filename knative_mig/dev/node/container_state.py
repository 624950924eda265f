"""What became of a pod's containers so far: the values that `life`, `pod_status` and `pod_worker` share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knative_mig.dev.node.back_off import BackOff


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    id: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    id: str
    exit_code: int
    finished_at: float
    started_at: float
    reason: str = ""
    message: str = ""
    signal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """`now` is Terminated only where it is not started again."""

    now: Waiting | Running | Terminated = Waiting()
    last: Terminated | None = None  # of the life before
    restarts: int = 0
    started: bool = False  # its startup probe has succeeded, where it has one
    ready: bool = False
    failed_at: float | None = None  # it could not be started: when
    back_off: BackOff | None = None
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    containers: Mapping[str, ContainerState] = field(default_factory=dict)  # by name, those of the start too
    refused: tuple[str, str] | None = None  # it was not admitted: reason and message
    ip: str = ""
    began_at: float | None = None
    overdue: bool = False  # its deadline has passed: what runs of it ends, and then it has failed
    ending: bool = False
