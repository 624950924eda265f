"""Decides how a container is ended: what it is told next, and until when it is waited for.

Called by `container_end` while a container is to end; `now` is passed in. What queue-proxy does for a function comes
first: no request has to have come for a while. Then the hook, SIGTERM, and SIGKILL when the grace is over. The subtle
thing is that the grace is one, for all of it, and that a later deletion can make it shorter; whoever is told at its
very end has two seconds all the same, as the kubelet gives.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

LEAST_S: Final = 2.0


class Do(Enum):
    WAIT = auto()
    RUN_HOOK = auto()
    TERMINATE = auto()
    KILL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    began_at: float
    grace_s: float
    quiet_s: float = 0.0  # for so long no request is to have come; those that have come are not waited for
    last_came: float | None = None
    has_hook: bool = False
    hook_over: bool = False
    hook_began: bool = False
    told_at: float | None = None  # SIGTERM
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    do: Do
    until: float = float("inf")  # what is waited for at most


def next_step(of: Ending, now: float) -> Step:
    ends_at = of.began_at + of.grace_s
    if of.killed:
        return Step(Do.WAIT)
    if of.told_at is not None:
        deadline = of.told_at if of.grace_s <= 0 else max(ends_at, of.told_at + LEAST_S)
        return Step(Do.WAIT, deadline) if now < deadline else Step(Do.KILL)
    if of.grace_s <= 0:
        return Step(Do.KILL)
    if now < ends_at:
        quiet_at = max(of.began_at, of.last_came or of.began_at) + of.quiet_s
        if now < quiet_at:
            return Step(Do.WAIT, min(ends_at, quiet_at))
        if of.has_hook and not of.hook_over:
            return Step(Do.WAIT, ends_at) if of.hook_began else Step(Do.RUN_HOOK)
    return Step(Do.TERMINATE)
