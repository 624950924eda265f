"""Whoever says a generation's tokens to the relay that has its client, and what it has said that is not believed yet.

Made by `source_side`, one for each engine or target that is asked. The subtle thing is a target that is ahead of the
own engine: what it says waits here until the own engine has said the same, so that it is compared before a client has
any of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.relay.source_words import Kind, Spoke


@dataclass(slots=True)
class Voice:
    kind: Kind
    at: int = 0  # the place of what is looked at next
    begins: int = 0  # the place of the first that it was asked for
    compared: int = 0  # tokens that others have said too
    held: list[Spoke] = field(default_factory=list)
    begins_anew: bool = False  # what comes before its first place was asked for earlier, and is not wanted

    def begin(self, at: int, *, anew: bool = False) -> None:
        self.at = self.begins = at
        self.compared = 0
        self.held.clear()
        self.begins_anew = anew

    @property
    def next(self) -> int:
        """The place of what it says next."""
        return self.at + sum(len(piece.ids) for piece in self.held)

    @property
    def has_said_all(self) -> bool:
        return bool(self.held) and self.held[-1].last

    def agrees(self, said: Sequence[int]) -> bool:
        """What it holds that was said by others too is compared, and not held any more."""
        while self.held:
            piece = self.held[0]
            until = self.at + len(piece.ids)
            both = min(until, len(said))
            if tuple(said[self.at : both]) != piece.ids[: both - self.at]:
                return False
            self.compared = max(self.compared, both - self.begins)
            if until > len(said) or piece.last:
                break
            self.at = until
            del self.held[0]
        return True

    def is_even_with(self, said: Sequence[int]) -> bool:
        """Nothing that it holds is in part with the client already."""
        return not self.held or self.at == len(said)
