"""What a PodAutoscaler's reconciler asks of the autoscaler, and gets: the decision itself is made elsewhere (the KPA).

Implemented by `whole.autoscaling` around the KPA of the core, whose words it speaks, and by a scripted one in tests.
The autoscaler keeps its own ticks and windows; when these have news for a revision it pokes the loop, which asks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from knative_mig.core.kpa.reconcile import Mode, Route
from knative_mig.core.kpa.status import Active
from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All that is seen of one revision, and what was said of it the last time, upon which the next answer builds."""

    revision: Key
    annotations: Mapping[str, str]  # of the PodAutoscaler
    container_concurrency: int
    reachable: bool
    active: Active
    initialized: bool  # it once had as many pods as it is to begin with
    desired: int | None
    actual: int | None
    ready: int  # pods
    replicas: int  # that the Deployment is to have
    way: Route | None  # its ServerlessService: how requests reach it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    active: Active
    initialized: bool
    desired: int | None
    actual: int | None
    mode: Mode
    activators: int
    replicas: int | None = None  # to be written; None: they stay
    look_again_s: float | None = None
    reasons: tuple[str, ...] = ()


class Autoscaler(Protocol):
    def answer(self, asked: Asked, now: float) -> Answer:
        """Level-triggered: the same asked twice is no two requests."""
        ...

    def forget(self, revision: Key) -> None:
        """It is gone."""
        ...
