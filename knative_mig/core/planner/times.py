"""How a reason tells when something will be: what is printed once counts from now, what stands somewhere has a clock's.

Chosen by who plans (`core.cluster.decide` takes the clock's), used where reasons are worded. A countdown in a pod's
condition would be wrong a second after it was written.
"""

from collections.abc import Callable

WhenTold = Callable[[float], str]


def in_seconds(now: float) -> WhenTold:
    return lambda at: f"in {max(0.0, at - now):.0f} s"


def by_the_clock(at: float) -> str:
    """`at`: seconds since the epoch."""
    second = int(at) % 86_400
    return f"at about {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} UTC"
