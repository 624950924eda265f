"""Whether a revision of which nobody wants anything may lose its last pod now, later, or not at all.

Called by `reconcile` when nothing is to be wanted. It goes in three steps, each seen by the next one alone: it stays
active for a stable window, with one pod; then it is said to be inactive, upon which requests are sent to the activator;
and once they have been for the grace period, or it has been inactive for that long, the pod goes.

The subtle thing is why: a request that is on its way to the pod while it goes would be lost. So what counts is not that
the activator was told of, but that an activator answers at the revision's address.
"""

from dataclasses import dataclass
from typing import Final

from knative_mig.core.kpa.decider import UNKNOWN
from knative_mig.core.kpa.settings import ACTIVATOR_ALWAYS, Settings
from knative_mig.core.kpa.status import Active, Activity

_UNTIL_THE_ROUTE_IS_WRITTEN_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    pods: int
    apply: bool  # write it; else nothing is written, and it is only wanted
    look_again_s: float | None = None
    probe: bool = False  # ask in the background until an activator answers
    reason: str


def asks(active: Active, settings: Settings) -> bool:
    """Whether `activator_answers` matters to `to_zero`: who is to find it out may be spared it."""
    return active.activity is Activity.INACTIVE and settings.burst != ACTIVATOR_ALWAYS and settings.scale_to_zero


def to_zero(
    active: Active,
    settings: Settings,
    *,
    proxied: bool,
    proxied_since: float | None,
    activator_answers: bool,
    now: float,
) -> Zero:
    """`proxied`: as the route is asked to be, `proxied_since`: as it is."""
    if not settings.scale_to_zero:
        return Zero(pods=1, apply=True, reason="the cluster does not scale to zero")
    for_s = now - active.since
    match active.activity:
        case Activity.ACTIVATING:
            if for_s > settings.give_up_after_s:
                return Zero(pods=0, apply=True, reason=f"not ready after {for_s:g} s, and nobody asks any more")
            return Zero(pods=UNKNOWN, apply=False, look_again_s=settings.give_up_after_s, reason="it is activating")
        case Activity.ACTIVE:
            if for_s < settings.stable_window_s:
                left_s = settings.stable_window_s - for_s
                return Zero(pods=1, apply=True, look_again_s=left_s, reason=f"active for {left_s:g} s more")
            again_s = _UNTIL_THE_ROUTE_IS_WRITTEN_S if proxied else None
            return Zero(pods=0, apply=False, look_again_s=again_s, reason="idle for a stable window: inactive")
        case Activity.INACTIVE:
            if asks(active, settings) and not activator_answers:
                return Zero(pods=0, apply=False, probe=True, reason="no activator answers for it yet")
            proxied_s = 0.0 if proxied_since is None else now - proxied_since
            return _inactive(for_s, settings, proxied_s)


def _inactive(for_s: float, settings: Settings, proxied_s: float) -> Zero:
    if for_s >= max(settings.grace_s, settings.retention_s):
        return Zero(pods=0, apply=True, reason=f"inactive for {for_s:g} s")
    if for_s < settings.retention_s:
        left_s = settings.retention_s - for_s
        return Zero(pods=0, apply=False, look_again_s=left_s, reason=f"its last pod is retained for {left_s:g} s more")
    if proxied_s >= settings.grace_s:
        return Zero(pods=0, apply=True, reason=f"by way of the activator for {proxied_s:g} s")
    left_s = settings.grace_s - proxied_s
    return Zero(pods=0, apply=False, look_again_s=left_s, reason=f"its grace period has {left_s:g} s left")
