"""The pending source's settings, each with its unit and the reason for its default."""

from dataclasses import dataclass, field

from knative_mig.core.errors import BadInput
from knative_mig.core.pending.asks import Rhythm


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    senders: int = 4  # an answer takes a millisecond; several, so that one that hangs holds up no other
    dead_letters_port: int = 8080
    ops_port: int = 9090
    rhythm: Rhythm = field(default_factory=Rhythm)

    def __post_init__(self) -> None:
        if not 1 <= self.senders <= 64:
            raise BadInput(f"senders is {self.senders}: legal is 1 to 64")
