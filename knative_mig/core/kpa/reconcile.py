"""What is done about what the autoscaler wants of a revision: replicas, the way that requests take, and its status.

Called when `decider` has news, when the revision, its pods, its route or the settings change, and when the pass before
asked for it (`look_again_s`). Level-triggered: it may be called at any time, and the same twice changes nothing.

The subtle thing is that the status it writes is what it decides by the next time. Going to zero (`zero`) is two
passes, since the first only says that the revision is inactive; and a revision that is activating is left alone
although nothing is wanted of it, or its first pod would go before it is ready.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Final

from knative_mig.core.kpa.decider import UNKNOWN, Decider
from knative_mig.core.kpa.settings import Settings
from knative_mig.core.kpa.status import (
    NO_TRAFFIC,
    QUEUED,
    SERVING,
    TIMED_OUT,
    Active,
    Activity,
    Status,
)
from knative_mig.core.kpa.zero import Zero, to_zero

FEWEST_ACTIVATORS: Final = 2


class Mode(StrEnum):
    PROXY = "Proxy"  # requests go by the activator
    SERVE = "Serve"  # straight to the pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The revision's ServerlessService: as its reconciler made it, and as it was last asked to be."""

    mode: Mode
    named: bool = False  # its services are made
    ready: bool = False
    proxied_since: float | None = None  # when activators took the place of the pods, if they have


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`activator_answers` matters where `zero.asks` says so."""

    route: Route | None
    ready: int  # pods
    replicas: int  # that the Deployment is to have
    activator_answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    status: Status
    mode: Mode
    activators: int
    replicas: int | None = None  # to be written
    look_again_s: float | None = None
    probe: bool = False
    reasons: tuple[str, ...] = ()


def reconcile(status: Status, settings: Settings, decider: Decider | None, seen: Seen, now: float) -> Reconciled:
    """`decider`: None until the revision's services are made, and it with them."""
    if decider is None or seen.route is None or not seen.route.named:
        return Reconciled(
            status=_status(replace(status, routed=False), settings, UNKNOWN, 0, now),
            mode=Mode.PROXY,
            activators=FEWEST_ACTIVATORS,
            reasons=("its services are not made yet",),
        )
    wanted, reasons = _bounded(status, settings, decider)
    step = Zero(pods=wanted, apply=wanted != UNKNOWN, reason="")
    if wanted == 0:
        step = to_zero(
            status.active,
            settings,
            proxied=seen.route.mode is Mode.PROXY,
            proxied_since=seen.route.proxied_since,
            activator_answers=seen.activator_answers,
            now=now,
        )
        reasons.append(step.reason)
    serves = step.pods > 0 and decider.excess_burst >= 0
    return Reconciled(
        status=_status(replace(status, routed=seen.route.ready), settings, step.pods, seen.ready, now, named=True),
        mode=Mode.SERVE if serves else Mode.PROXY,
        activators=_activators(settings, seen.ready),
        replicas=step.pods if step.apply and step.pods != seen.replicas else None,
        look_again_s=step.look_again_s,
        probe=step.probe,
        reasons=tuple(reasons),
    )


def _bounded(status: Status, settings: Settings, decider: Decider) -> tuple[int, list[str]]:
    if decider.desired == UNKNOWN and status.active.activity is not Activity.ACTIVATING:
        return UNKNOWN, ["nothing is known yet"]
    least = settings.min_scale
    if settings.initial_scale > 1 and not status.initialized and settings.reachable:
        least = max(least, settings.initial_scale)
    wanted = decider.desired
    if wanted < least:
        return least, [*decider.reasons, f"{least} as the least"]
    if settings.max_scale and wanted > settings.max_scale:
        return settings.max_scale, [*decider.reasons, f"{settings.max_scale} as the most"]
    return wanted, list(decider.reasons)


def _status(status: Status, settings: Settings, wanted: int, ready: int, now: float, *, named: bool = False) -> Status:
    enough = _enough(status, settings)
    known = wanted != UNKNOWN or status.desired is None or status.desired < 0
    return replace(
        status,
        active=_active(status.active, wanted, ready, enough, now),
        initialized=status.initialized or (named and ready >= enough),
        desired=wanted if known else status.desired,  # as a restarted autoscaler would else say that it wants -1
        actual=ready,
    )


def _enough(status: Status, settings: Settings) -> int:
    """So many ready pods make it active."""
    return max(settings.min_scale, 1 if status.initialized else settings.initial_scale)


def _active(active: Active, wanted: int, ready: int, enough: int, now: float) -> Active:
    if wanted == 0 or enough == 0:
        gave_up = active.activity is Activity.ACTIVATING and enough > 0
        return active.now_said(*(TIMED_OUT if gave_up else NO_TRAFFIC), now)
    if wanted > 0 or active.activity is not Activity.INACTIVE:
        return active.now_said(*(SERVING if ready >= enough else QUEUED), now)
    return active.now_said(*NO_TRAFFIC, now) if ready < enough else active


def _activators(settings: Settings, ready: int) -> int:
    """So many that they could bear it all, were it all to come by them."""
    if settings.burst == 0:
        return FEWEST_ACTIVATORS
    bearable = ready * settings.total + max(0.0, settings.burst)
    return max(FEWEST_ACTIVATORS, ceil(bearable / settings.activator_capacity))
