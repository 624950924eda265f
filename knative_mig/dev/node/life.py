"""Decides what is to be done for a pod's containers next: which are started, which wait and for how long.

Called by `pod_worker` after everything that happens; `now` is passed in, and the answer says when to ask again.
Containers of the start (init containers) run one after the other, each until it succeeds; then all others at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from knative_mig.core.durations import written
from knative_mig.dev.node.back_off import BackOff, counted, ends_at
from knative_mig.dev.node.container_state import ContainerState, PodState, Running, Terminated, Waiting
from knative_mig.dev.node.pod_spec import ContainerSpec, Pod, RestartPolicy

CRASH_LOOP: Final = "CrashLoopBackOff"
ERR_IMAGE_PULL: Final = "ErrImagePull"
IMAGE_BACK_OFF: Final = "ImagePullBackOff"
ERROR_SHOWN_S: Final = 2.0
_KILLED: Final = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    start: tuple[str, ...] = ()
    state: PodState  # with what waits now
    backs_off: tuple[str, ...] = ()  # that began to, and are told of
    look_at: float | None = None


def decide(pod: Pod, state: PodState, now: float) -> Next:
    if state.refused or state.ending or state.overdue:
        return Next(state=state)
    deadline = _deadline(pod, state)
    if deadline is not None and deadline <= now:
        return Next(state=replace(state, overdue=True))
    containers = dict(state.containers)
    start: list[str] = []
    backs_off: list[str] = []
    times = [] if deadline is None else [deadline]
    for spec in _due(pod, containers):
        current = containers[spec.name]
        if isinstance(current.now, Running) or not _again(pod.restarts, current, of_start=spec in pod.init):
            continue
        may_at = _may_at(current)
        if may_at > now:
            times.append(may_at)
            if _is_error(current) and now < (shown_until := (current.failed_at or 0.0) + ERROR_SHOWN_S):
                times.append(shown_until)
            waiting = _backing_off(pod, spec, current, now)
            if waiting != current.now:
                if isinstance(current.now, Terminated):
                    current = replace(current, last=current.now)
                backs_off.append(spec.name)
                containers[spec.name] = replace(current, now=waiting, started=False, ready=False)
        else:
            start.append(spec.name)
    return Next(
        start=tuple(start),
        state=replace(state, containers=containers),
        backs_off=tuple(backs_off),
        look_at=min(times, default=None),
    )


def counted_start(current: ContainerState, now: float) -> BackOff | None:
    """What is remembered when it is started, now. What could not be was counted when that failed."""
    ended = _ended(current)
    if ended is None or current.failed_at is not None:
        return None
    return counted(current.back_off, ended.finished_at, now)


def is_back_at_once(pod: Pod, state: PodState, name: str, now: float) -> bool:
    """Whether one that runs, if it is killed now, is started again without a wait."""
    killed = Terminated(id="", exit_code=_KILLED, started_at=now, finished_at=now)
    containers = {**state.containers, name: replace(state.containers[name], now=killed)}
    return name in decide(pod, replace(state, containers=containers), now).start


def is_over(pod: Pod, state: PodState) -> bool:
    """Nothing of it runs, and nothing will be started."""
    if state.refused:
        return True
    if any(isinstance(each.now, Running) for each in state.containers.values()):
        return False
    return (
        state.overdue
        or all(
            isinstance(state.containers[spec.name].now, Terminated)
            and not _again(pod.restarts, state.containers[spec.name], of_start=False)
            for spec in pod.containers
        )
        or any(
            isinstance(state.containers[spec.name].now, Terminated)
            and not _succeeded(state.containers[spec.name])
            and pod.restarts is RestartPolicy.NEVER
            for spec in pod.init
        )
    )


def _deadline(pod: Pod, state: PodState) -> float | None:
    """None: it has none, or none any more."""
    if pod.deadline_s is None or state.began_at is None or is_over(pod, state):
        return None
    return state.began_at + pod.deadline_s


def _due(pod: Pod, containers: Mapping[str, ContainerState]) -> tuple[ContainerSpec, ...]:
    for spec in pod.init:
        if not _succeeded(containers[spec.name]):
            return (spec,)
    return pod.containers


def _succeeded(current: ContainerState) -> bool:
    return isinstance(current.now, Terminated) and current.now.exit_code == 0


def _again(policy: RestartPolicy, current: ContainerState, *, of_start: bool) -> bool:
    ended = _ended(current)
    if ended is None or isinstance(current.now, Waiting):
        return True
    if of_start or policy is RestartPolicy.ON_FAILURE:
        return ended.exit_code != 0 and policy is not RestartPolicy.NEVER
    return policy is RestartPolicy.ALWAYS


def _ended(current: ContainerState) -> Terminated | None:
    return current.now if isinstance(current.now, Terminated) else current.last


def _may_at(current: ContainerState) -> float:
    if current.failed_at is not None:
        return ends_at(current.back_off, current.failed_at)
    ended = _ended(current)
    return ends_at(current.back_off, ended.finished_at) if ended else 0.0


def _is_error(current: ContainerState) -> bool:
    """It could not be made, which is told as it is before it is told that it waits."""
    return isinstance(current.now, Waiting) and current.now.reason == ERR_IMAGE_PULL


def _backing_off(pod: Pod, spec: ContainerSpec, current: ContainerState, now: float) -> Waiting:
    if current.failed_at is not None and isinstance(current.now, Waiting):
        if current.now.reason == ERR_IMAGE_PULL and now >= current.failed_at + ERROR_SHOWN_S:
            why = f'Back-off pulling image "{spec.image}": {current.now.reason}: {current.now.message}'
            return Waiting(reason=IMAGE_BACK_OFF, message=why)
        return current.now
    wait_s = current.back_off.wait_s if current.back_off else 0.0
    return Waiting(
        reason=CRASH_LOOP,
        message=f"back-off {written(int(wait_s))} restarting failed container={spec.name} pod={named(pod)}",
    )


def named(pod: Pod) -> str:
    return f"{pod.key.name}_{pod.key.namespace}({pod.uid})"
