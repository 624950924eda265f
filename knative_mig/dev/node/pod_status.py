"""Writes what a pod's status says from what became of its containers: phase, conditions, one entry a container.

Called by `pod_worker`, which sends it where it differs. Words and rules are the kubelet's (status/generate.go, getPhase
in kubelet_pods.go). The conditions' times of change are put in by `with_times`, which knows what was said before.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.dev.node.container_state import ContainerState, PodState, Running, Terminated, Waiting
from knative_mig.dev.node.life import is_over
from knative_mig.dev.node.pod_spec import ContainerSpec, Pod
from knative_mig.dev.node.ports import NODE_IP

Object = dict[str, Any]
OVERDUE: Final = "DeadlineExceeded"
OVERDUE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"
RUNTIME: Final = "process://"  # before the id of a container, as containerd:// is elsewhere


def status(pod: Pod, state: PodState) -> Object:
    """Without the conditions' times."""
    if state.refused:
        reason, message = state.refused
        return {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {message}"}
    phase = phase_of(pod, state)
    found: Object = {
        "phase": phase,
        **({"reason": OVERDUE, "message": OVERDUE_MESSAGE} if state.overdue and phase == "Failed" else {}),
        "conditions": _conditions(pod, state, phase),
        "containerStatuses": [_container(pod, each, state, of_start=False) for each in pod.containers],
        "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}],
    }
    if pod.init:
        found["initContainerStatuses"] = [_container(pod, each, state, of_start=True) for each in pod.init]
    if state.ip:
        found |= {"podIP": state.ip, "podIPs": [{"ip": state.ip}]}
    if state.began_at is not None:
        found["startTime"] = time_text(int(state.began_at))
    return found


def phase_of(pod: Pod, state: PodState) -> str:
    containers = [state.containers[each.name] for each in pod.containers]
    ended = [each for each in containers if isinstance(each.now, Terminated)]
    if is_over(pod, state) or (state.ending and len(ended) == len(containers)):
        good = not state.overdue and len(ended) == len(containers) and all(_code(each) == 0 for each in ended)
        return "Succeeded" if good else "Failed"
    if not _initialized(pod, state) or any(isinstance(each.now, Waiting) and each.last is None for each in containers):
        return "Pending"
    return "Running"


def with_times(new: list[Object], before: Mapping[str, Object], now: float) -> list[Object]:
    """`before`: by type, as they were written last."""
    found = []
    for each in new:
        old = before.get(each["type"])
        kept = old is not None and old["status"] == each["status"]
        changed = old["lastTransitionTime"] if old is not None and kept else time_text(int(now))
        found.append({**each, "lastProbeTime": None, "lastTransitionTime": changed})
    return found


def _conditions(pod: Pod, state: PodState, phase: str) -> list[Object]:
    ready = _containers_ready(pod, state, phase)
    return [
        _condition("PodReadyToStartContainers", holds=state.ip != "" and phase in ("Pending", "Running")),
        _initialized_condition(pod, state, phase),
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
    ]


def _containers_ready(pod: Pod, state: PodState, phase: str) -> Object:
    if phase in ("Succeeded", "Failed"):
        return {"status": "False", "reason": "PodCompleted" if phase == "Succeeded" else "PodFailed", "message": ""}
    unready = [each.name for each in pod.containers if not state.containers[each.name].ready]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return {"status": "False", "reason": "ContainersNotReady", "message": message}
    return {"status": "True", "reason": None, "message": None}


def _initialized_condition(pod: Pod, state: PodState, phase: str) -> Object:
    if phase == "Succeeded":
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted", "message": None}
    incomplete = [each.name for each in pod.init if not _complete(state.containers[each.name])]
    if incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return {"type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": message}
    return _condition("Initialized", holds=True)


def _condition(kind: str, *, holds: bool) -> Object:
    return {"type": kind, "status": "True" if holds else "False", "reason": None, "message": None}


def _initialized(pod: Pod, state: PodState) -> bool:
    return all(_complete(state.containers[each.name]) for each in pod.init)


def _complete(of: ContainerState) -> bool:
    return isinstance(of.now, Terminated) and of.now.exit_code == 0


def _container(pod: Pod, spec: ContainerSpec, state: PodState, *, of_start: bool) -> Object:
    of = state.containers[spec.name]
    found: Object = {
        "name": spec.name,
        "image": of.image or spec.image,
        "imageID": of.image,
        "ready": _complete(of) if of_start else of.ready,
        "started": isinstance(of.now, Running) and of.started,
        "restartCount": of.restarts,
        "state": _shown(_as_seen(of.now, has_start=bool(pod.init))),
        "lastState": _shown(of.last) if of.last else {},
    }
    if identity := next((each.id for each in (of.now, of.last) if isinstance(each, Running | Terminated)), ""):
        found["containerID"] = RUNTIME + identity
    return found


def _as_seen(of: Waiting | Running | Terminated, *, has_start: bool) -> Waiting | Running | Terminated:
    """Where there are containers of the start, each of all containers has another word for that it is not made yet."""
    return Waiting(reason="PodInitializing") if has_start and of == Waiting() else of


def _shown(of: Waiting | Running | Terminated) -> Object:
    match of:
        case Waiting():
            return {"waiting": {"reason": of.reason, **({"message": of.message} if of.message else {})}}
        case Running():
            return {"running": {"startedAt": time_text(int(of.started_at))}}
        case Terminated():
            told: Object = {
                "exitCode": of.exit_code,
                "reason": of.reason or ("Completed" if of.exit_code == 0 else "Error"),
                "startedAt": time_text(int(of.started_at)),
                "finishedAt": time_text(int(of.finished_at)),
                "containerID": RUNTIME + of.id,
            }
            if of.signal:
                told["signal"] = of.signal
            if of.message:
                told["message"] = of.message
            return {"terminated": told}


def _code(of: ContainerState) -> int:
    return of.now.exit_code if isinstance(of.now, Terminated) else 1
