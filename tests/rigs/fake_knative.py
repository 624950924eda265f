"""Revisions, and what floor and mover keep, in memory: the ports of `ports.autoscaling` with the API server's refusals.

Beside `tests.rigs.fake_cluster`, whose versions it shares. A Revision's values have their managers, as the API server
notes them; `edit` is somebody else's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from knative_mig.core.floor.values import MANAGER, Request, Revision, Setting
from knative_mig.core.inventory import Function
from knative_mig.ports.autoscaling import FloorRecords, StoredMoves
from knative_mig.ports.kube import AlreadyExists, Conflict, Key, ObjectNotFound, Refused
from tests.rigs.fake_cluster import FakeCluster

S = TypeVar("S", FloorRecords, StoredMoves)


@dataclass
class FakeStore(Generic[S]):
    """Of one object; `before_save` may raise, as a process does that is killed there."""

    cluster: FakeCluster
    stands: S
    saves: int = 0
    before_save: Callable[[], None] = lambda: None

    def load(self) -> S:
        self.cluster.version()
        return self.stands

    def save(self, new: S) -> S:
        version = self.cluster.version()
        self.before_save()
        if new.resource_version != self.stands.resource_version:
            raise Conflict("another one has written") if new.resource_version else AlreadyExists("it is there")
        self.saves += 1
        self.stands = replace(new, resource_version=version)
        return self.stands


@dataclass
class FakeKnative:
    cluster: FakeCluster
    revisions: dict[Key, Revision] = field(default_factory=dict)
    requests: dict[Key, tuple[Request, ...]] = field(default_factory=dict)
    writes: list[tuple[str, Mapping[Setting, str | None]]] = field(default_factory=list)
    before_write: Callable[[], None] = lambda: None
    allows_zero: bool = True  # config-autoscaler's allow-zero-initial-scale
    refuses: Setting | None = None  # the setting that the cluster's operator has bounded

    def __post_init__(self) -> None:
        self.floor_store: FakeStore[FloorRecords] = FakeStore(self.cluster, FloorRecords())
        self.move_store: FakeStore[StoredMoves] = FakeStore(self.cluster, StoredMoves())

    def put_revision(
        self, name: str, *, service: str = "", generation: int = 0, desired: int | None = 1, **values: str
    ) -> Revision:
        """`values`: min_scale="1" and so on, as the template has them."""
        named = {Setting(key.replace("_", "-")): value for key, value in values.items()}
        made = Revision(
            namespace="team",
            name=name,
            uid=f"uid-{name}",
            resource_version=self.cluster.version(),
            service=service or name,
            generation=generation,
            values=named,
            owners={each: frozenset({"controller"}) for each in named},
            burst="-1",
            desired=desired,
        )
        self.revisions[Key("team", name)] = made
        return made

    def revision(self, name: str) -> Revision:
        return self.revisions[Key("team", name)]

    def floor(self, name: str) -> str | None:
        return self.revision(name).values.get(Setting.MIN)

    def write(self, revision: Revision, values: Mapping[Setting, str | None]) -> Revision:
        self.cluster.version()
        self.before_write()
        there = self.revisions.get(Key(revision.namespace, revision.name))
        if there is None:
            raise ObjectNotFound(revision.name)
        if (there.uid, there.resource_version) != (revision.uid, revision.resource_version):
            raise Conflict(revision.name)
        if values.get(Setting.INITIAL) == "0" and not self.allows_zero:
            raise Refused("initial-scale=0 not allowed by cluster")
        if self.refuses in values:
            raise Refused(f"{self.refuses} is out of range")
        self.writes.append((revision.name, values))
        return self.edit(revision.name, values, manager=MANAGER)

    def edit(self, name: str, values: Mapping[Setting, str | None], *, manager: str = "kubectl-annotate") -> Revision:
        there = self.revision(name)
        stands, owners = dict(there.values), dict(there.owners or {})
        for setting, value in values.items():
            if value is None:
                stands.pop(setting, None)
                owners.pop(setting, None)
            elif stands.get(setting) != value:
                stands[setting], owners[setting] = value, frozenset({manager})
        new = replace(there, values=stands, owners=owners, resource_version=self.cluster.version())
        self.revisions[Key("team", name)] = new
        return new

    def ask(self, component: str, *requests: Request) -> None:
        self.requests[Key("knative-mig", f"floor-{component}")] = requests

    def component(self, name: str) -> "FakeRequests":
        return FakeRequests(self, name)


@dataclass
class FakeRequests:
    knative: FakeKnative
    name: str

    def put(self, requests: Iterable[Request]) -> None:
        self.knative.cluster.version()
        self.knative.ask(self.name, *requests)

    @property
    def asked(self) -> dict[Function, float]:
        stands = self.knative.requests.get(Key("knative-mig", f"floor-{self.name}"), ())
        return {Function(each.namespace, each.revision): each.value for each in stands}
