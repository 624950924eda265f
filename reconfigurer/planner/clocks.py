"""Both clocks of a round, read once: what is measured here is monotonic, what objects carry is the wall's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    monotonic: float
    wall: float
