"""Decides what a pod that asks for a slice is given: the way onto GPU nodes, the gate, and what a relay needs.

Called by the mutating webhook; Knative never compares its pods with what it asked for. The gate holds the pod back from
the scheduler until the planner has a slice for it (decision record 0012), so it is put only on pods that the planner
plans for, and only where a GPU of ours has the profile: nobody else would lift it, and a node that is not ours may well
have what the pod asks for. A pod without the gate is planned for all the same.

Whether there is a relay in a container cannot be seen. So each that holds a slice is told its function's URL, where a
relay sends what comes too late, and the namespace's secret is mounted where the function may be moved: with it a relay
is moved from, and moved to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.cluster.objects import Effect, Toleration
from knative_mig.core.gpu_node import GATE
from knative_mig.core.profile import ProfileName
from knative_mig.core.relays import FUNCTION_URL_VARIABLE, SECRET_FILE, SECRET_FILE_VARIABLE, SECRET_FOLDER, SECRET_NAME

# NVIDIA's documentation has GPU nodes tainted nvidia.com/gpu=present:NoSchedule; the value is left open.
GPU_TAINT: Final = Toleration(key="nvidia.com/gpu", exists=True, effect=Effect.NO_SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContainer:
    wants_slice: bool = False
    variables: frozenset[str] = frozenset()
    mounts: frozenset[str] = frozenset()  # paths


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPod:
    namespace: str = ""
    service: str = ""  # the Knative Service that it is of
    movable: bool = False
    wants: Mapping[ProfileName, int] = field(default_factory=dict)
    gates: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    bound: bool = False  # to a node, by whoever made it
    containers: tuple[NewContainer, ...] = ()
    volumes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForRelay:
    """`container`: which of the pod's it is in."""

    container: int
    variables: Mapping[str, str] = field(default_factory=dict)
    secret: bool = False  # the namespace's is mounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    toleration: Toleration | None = None
    gate: bool = False
    relays: tuple[ForRelay, ...] = ()

    def __bool__(self) -> bool:
        return self.gate or self.toleration is not None or bool(self.relays)

    @property
    def secret(self) -> bool:
        return any(each.secret for each in self.relays)


def additions(pod: NewPod, fleet: frozenset[ProfileName]) -> Additions:
    """`fleet`: the profiles that the GPUs of ours can be cut into, as far as is known."""
    asked = sum(pod.wants.values())
    if not asked:
        return Additions()
    return Additions(
        toleration=None if any(map(_covers, pod.tolerations)) else GPU_TAINT,
        gate=asked == 1 and fleet.issuperset(pod.wants) and not pod.bound and GATE not in pod.gates,
        relays=tuple(_for_relays(pod)) if pod.service else (),
    )


def _for_relays(pod: NewPod) -> Iterator[ForRelay]:
    """What a user has said of it stands."""
    for at, container in enumerate(pod.containers):
        if not container.wants_slice:
            continue
        variables = {FUNCTION_URL_VARIABLE: f"http://{pod.service}.{pod.namespace}.svc"}
        secret = (
            pod.movable
            and SECRET_NAME not in pod.volumes
            and SECRET_FOLDER not in container.mounts
            and SECRET_FILE_VARIABLE not in container.variables
        )
        if secret:
            variables[SECRET_FILE_VARIABLE] = SECRET_FILE
        variables = {name: value for name, value in variables.items() if name not in container.variables}
        if variables:
            yield ForRelay(container=at, variables=variables, secret=secret)


def _covers(toleration: Toleration) -> bool:
    """Whatever value the taint has."""
    return toleration.exists and toleration.key in ("", GPU_TAINT.key) and toleration.effect in (None, GPU_TAINT.effect)
