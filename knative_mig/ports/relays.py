"""What the mover asks of the relays that stand before functions' engines.

Called on threads of `reconfigurer.planner.hand_overs`; answered by `adapters.relay_calls`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from knative_mig.ports.kube import Key

_REASONS_TOLD: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAt:
    key: Key
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """`stay`: why each that did not move ends where it is."""

    moved: int = 0
    stay: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.moved} moved, {len(self.stay)} stay{f': {self.why}' if self.stay else ''}"

    @property
    def why(self) -> str:
        """A few of the reasons: a relay may say as many as it likes."""
        return ", ".join(sorted(set(self.stay))[:_REASONS_TOLD])


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHandedOver:
    """`has_relay`: as far as can be seen, something is wrong; else its image is somebody else's, and that is that."""

    why: str
    has_relay: bool

    def __str__(self) -> str:
        return self.why


class Relays(Protocol):
    def hand_over(self, leaving: PodAt, to: PodAt, *, is_wanted: Callable[[], bool]) -> HandedOver | NotHandedOver:
        """All generations of a pod that ends anyway go on in another of its function. Within a limit, whatever is at
        the other end, and a second after `is_wanted` says no.
        """
