"""Decides how long a container, an image or a volume waits before it is tried again: as the kubelet counts it.

Called by `life` and `pod_worker`. Ten seconds, doubled with each try up to five minutes; begun anew when the last try
was more than ten minutes before the failure. The subtle thing is the first failure: nothing has been counted by then,
so a container that ends once is started again at once.
"""

from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 10.0
MOST_S: Final = 300.0
FORGOTTEN_AFTER_S: Final = 600.0
_VOLUME_FIRST_S: Final = 0.5
_VOLUME_MOST_S: Final = 122.0


@dataclass(frozen=True, slots=True)
class BackOff:
    wait_s: float
    counted_at: float


def ends_at(of: BackOff | None, failed_at: float) -> float:
    """When what failed then may be tried again; at once where that has passed."""
    if of is None or failed_at - of.counted_at > FORGOTTEN_AFTER_S:
        return failed_at
    return failed_at + of.wait_s


def counted(of: BackOff | None, failed_at: float, now: float) -> BackOff:
    """It is tried again now."""
    if of is None or failed_at - of.counted_at > FORGOTTEN_AFTER_S:
        return BackOff(FIRST_S, now)
    return BackOff(min(of.wait_s * 2, MOST_S), now)


def counted_volume(of: BackOff | None, now: float) -> BackOff:
    """It could not be mounted now. `of`: the time before; None: this is the first."""
    return BackOff(_VOLUME_FIRST_S if of is None else min(of.wait_s * 2, _VOLUME_MOST_S), now)
