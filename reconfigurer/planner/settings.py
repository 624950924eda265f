"""The planner process's settings, each with its unit and the reason for its default."""

from dataclasses import dataclass, field

from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.staleness import Patience
from knative_mig.core.errors import BadInput
from knative_mig.core.mover.values import Patience as MovePatience
from knative_mig.core.planner.policy import Policy
from reconfigurer.planner.door import DoorSettings
from reconfigurer.planner.outbox import OutboxSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """A leader that dies is followed after `duration_s` at the latest."""

    duration_s: float = 15.0  # as kube-scheduler and kube-controller-manager have it
    renew_s: float = 5.0
    margin_s: float = 5.0  # so long before others may take the lease its holder stops by itself

    def __post_init__(self) -> None:
        if not 0 < self.renew_s < self.duration_s - self.margin_s:
            raise BadInput(
                f"a lease of {self.duration_s} s is renewed every {self.renew_s} s: legal is more than 0 and less than "
                f"{self.duration_s - self.margin_s} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MoverSettings:
    patience: MovePatience = field(default_factory=MovePatience)
    # Each holds a second slice while it lasts: more than a few at once would take what pods wait for.
    at_once: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    namespace: str = "knative-mig"
    agent_namespace: str = "knative-mig-agent"
    resync_s: float = 10.0  # the event makes it fast, this makes it right
    # A mirror's watch ends and begins again every 30 s; half as much again is an API server that is away.
    mirror_age_limit_s: float = 45.0
    store_meters_s: float = 10.0  # what a crash loses is counted by the next leader from the last time stored
    # A pod's Event is repeated after this if it says nothing new, its condition where it is lost or has old figures.
    tell_again_s: float = 300.0
    events_port: int = 8080
    ops_port: int = 9090
    writers: int = 8  # specs written at once: a write takes some milliseconds, nearly all of it waiting
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    patience: Patience = field(default_factory=Patience)
    door: DoorSettings = field(default_factory=DoorSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    reuse: Reuse = field(default_factory=Reuse)
    policy: Policy = field(default_factory=Policy)
    mover: MoverSettings = field(default_factory=MoverSettings)

    def __post_init__(self) -> None:
        for name in ("resync_s", "mirror_age_limit_s", "store_meters_s", "tell_again_s"):
            if getattr(self, name) <= 0:
                raise BadInput(f"{name} is {getattr(self, name)}: legal is more than 0 seconds")
