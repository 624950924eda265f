"""Ends one container, step by step as `ending` decides: on a thread of its own, made by `pod_worker`."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from knative_mig.dev.node.container import Container
from knative_mig.dev.node.ending import Do, Ending, next_step
from knative_mig.dev.node.pod_spec import ContainerSpec, Sleep
from knative_mig.dev.node.prober import Target
from knative_mig.dev.node.probing import ask

_log = logging.getLogger(__name__)
_LOOK_EACH_S: Final = 1.0  # a later deletion may make the grace shorter


def end_container(
    container: Container,
    spec: ContainerSpec,
    target: Target,
    *,
    grace: Callable[[], float],
    quiet_s: float,
    last_came: Callable[[], float | None],
    hook_failed: Callable[[], None],
) -> None:
    """Until it has ended."""
    began = time.monotonic()
    ending = Ending(began_at=began, grace_s=grace(), quiet_s=quiet_s, has_hook=spec.pre_stop is not None)
    while container.ended is None:
        now = time.monotonic()
        ending = replace(ending, grace_s=grace(), last_came=last_came())
        step = next_step(ending, now)
        match step.do:
            case Do.WAIT:
                container.wait(min(_LOOK_EACH_S, max(0.0, step.until - now)))
            case Do.RUN_HOOK:
                if not _hook(spec, target, ending.began_at + ending.grace_s - now, container):
                    hook_failed()
                ending = replace(ending, hook_began=True, hook_over=True)
            case Do.TERMINATE:
                container.terminate()
                ending = replace(ending, told_at=now)
            case Do.KILL:
                _log.info("process %d is killed: its grace of %g s is over", container.pid, ending.grace_s)
                container.kill()
                ending = replace(ending, killed=True)


def _hook(spec: ContainerSpec, target: Target, within_s: float, container: Container) -> bool:
    """Whether it succeeded."""
    match spec.pre_stop:
        case None:
            return True
        case Sleep() as sleep:
            container.wait(min(sleep.seconds, within_s))
            return True
        case check:
            return ask(check, target.address, within_s, target.command).succeeded
