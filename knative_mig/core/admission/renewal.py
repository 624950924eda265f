"""Decides when the webhooks' own certificates are made anew, so that an API server never meets one it cannot check.

Called by `activator_hooks.webhook.keeper` of each replica, with what the shared Secret holds; whoever writes the Secret
first decided for all. The subtle thing is order. An API server hears of a new authority through the webhook
configurations, some time after it was made; so a new one is published beside the old, and signs only once it has
settled. Until then the old server certificate serves, which has two thirds of an authority's life left to do so.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

DAY_S: Final = 86_400.0
SERVER_S: Final = 90 * DAY_S
AUTHORITY_S: Final = 3 * 365 * DAY_S
SETTLES_S: Final = 600.0  # the replicas look every few seconds, an API server's informers hear at once: ample
_RENEW_AT: Final = 1 / 3  # of its life left


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    id: str
    since: float  # seconds since the epoch
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the Secret holds."""

    authorities: tuple[Authority, ...]  # newest first: that one's key is here, the others are only believed
    can_sign: bool  # the key is there and is the newest authority's
    signed_by: str  # the id of the authority whose signature the server certificate has; empty: of none here
    server_until: float
    names_match: bool = True


class Step(Enum):
    KEEP = auto()
    SIGN = auto()  # a server certificate, by the newest authority
    NEW_AUTHORITY = auto()  # beside those there are; the server certificate stays if there is a sound one


def next_step(held: Held | None, now: float) -> Step:
    if held is None or not held.can_sign or not held.authorities:
        return Step.NEW_AUTHORITY
    newest = held.authorities[0]
    if newest.until - now < AUTHORITY_S * _RENEW_AT:
        return Step.NEW_AUTHORITY
    if not convinces(held, now):
        return Step.SIGN
    ages = held.server_until - now < SERVER_S * _RENEW_AT
    if (ages or held.signed_by != newest.id) and now - newest.since >= SETTLES_S:
        return Step.SIGN
    return Step.KEEP


def convinces(held: Held, now: float) -> bool:
    """Whether the server certificate is one that an API server accepts, which has heard of all authorities here."""
    return (
        held.names_match
        and now < held.server_until
        and any(each.id == held.signed_by and now < each.until for each in held.authorities)
    )
