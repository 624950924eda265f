"""What the floor and the mover ask of the Kubernetes API beside `ports.kube`, and what they keep there.

Called by the planner's leader; answered by `adapters.kube`, and in tests by `tests.rigs.fake_knative`. What is kept is
replaced whole under its resourceVersion and carries the leader's fencing token: a new leader writes it once before it
acts, so that one that was paused finds at its next write that it is not the newest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.floor.values import Record, Request, Revision, Setting
from knative_mig.core.inventory import Function
from knative_mig.core.mover.choose import Journal
from knative_mig.ports.kube import Key


class Revisions(Protocol):
    def write(self, revision: Revision, values: Mapping[Setting, str | None]) -> Revision:
        """Those values and nothing else, under our field manager. Conflict where `revision` is not the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorRecords:
    """By the Revision's UID."""

    records: Mapping[str, Record] = field(default_factory=dict)
    token: int = 0
    resource_version: str = ""  # empty: nothing is stored yet


class FloorStore(Protocol):
    def load(self) -> FloorRecords: ...

    def save(self, records: FloorRecords) -> FloorRecords:
        """Conflict or AlreadyExists: another one has written since `records.resource_version`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMoves:
    journal: Journal = field(default_factory=Journal)
    token: int = 0
    resource_version: str = ""


class MoveStore(Protocol):
    def load(self) -> StoredMoves: ...

    def save(self, moves: StoredMoves) -> StoredMoves:
        """As `FloorStore.save`."""


class MovedPods(Protocol):
    """The writes of a move. `uid` guards against a successor of the same name: ObjectNotFound then."""

    def read_of(self, function: Function) -> Sequence[PodFacts]:
        """The pods of a revision as the API server has them now: no mirror stands between."""

    def set_deletion_cost(self, key: Key, *, uid: str, cost: int | None) -> None:
        """Which pod of its ReplicaSet goes first: the one with the lowest. None takes the annotation away."""

    def evict(self, key: Key, *, uid: str) -> None:
        """TooManyRequests: a disruption budget holds it up."""


class FloorRequests(Protocol):
    """One component's requests: nobody else writes its object."""

    def put(self, requests: Iterable[Request]) -> None:
        """Instead of all that stood there."""
