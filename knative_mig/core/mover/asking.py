"""What a move asks of the floor, phase by phase. Called by the planner's leader, which asks for all moves at once."""

from knative_mig.core.floor.values import SHORTEST_WINDOW_S, Request, Setting
from knative_mig.core.inventory import Function
from knative_mig.core.mover.machine import wants
from knative_mig.core.mover.values import Move, Patience


def asks(move: Move, component: str, patience: Patience) -> Request | None:
    """It runs out by itself, so that a leader that dies leaves nothing behind for ever."""
    wanted = wants(move)
    if wanted.floor:
        reason = f"makes room for {move.function}"
        return _ask(component, move.leg.function, Setting.MIN, move.floor, move.until, reason)
    if wanted.switch:
        reason = "no slice is spare: the traffic goes to it before it has one (rollout: recreate)"
        return _ask(component, move.function, Setting.INITIAL, 0, move.since + patience.switch_s, reason)
    if wanted.hasten:
        reason = f"{move.function} has the traffic and waits for its slice (rollout: recreate)"
        until = move.since + patience.clear_s
        return _ask(component, move.leg.function, Setting.WINDOW, SHORTEST_WINDOW_S, until, reason)
    return None


def _ask(component: str, function: Function, setting: Setting, value: float, until: float, reason: str) -> Request:  # noqa: PLR0917
    return Request(
        component=component,
        name=f"{function.namespace}.{function.name}",
        namespace=function.namespace,
        revision=function.name,
        setting=setting,
        value=float(value),
        until=until,
        reason=reason,
    )
