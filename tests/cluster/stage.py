"""The stage of tests/scenarios behind a Kubernetes API: functions by the real kn, GPUs that are simulated.

Made by the `stage` fixtures of test_scenarios.py, here on the real cluster, and of tests/dev_suite on `knative-mig
dev`: what the two do in different ways is `Gpus` and `Steering`. A stage that has one node of several keeps its
functions on that node, so that scenarios on different nodes are played side by side.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from knative_mig.core.events import PENDING
from tests.cluster.api import REVISION, Api, Kind, Object
from tests.cluster.brokers import Broker
from tests.cluster.function import Function
from tests.cluster.kn import Kn
from tests.cluster.observed import Sent
from tests.cluster.player import Player, timed
from tests.cluster.slices import GPU_NODE, GpuNodeView, Slice, slices_of
from tests.cluster.steering import SYSTEMS_BROKER
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.waits import PATIENCE_SECONDS, eventually, is_true, until
from tests.scenarios import stage as scenarios
from tests.scenarios.stage import Listener, SliceSeen, Timeline, Wish

T = TypeVar("T")

_AT_ONCE: Final = 4  # a kn is a process, on a machine of two cores
QUOTA: Final = Kind("v1", "resourcequotas")


class Gpus(Protocol):
    def calls(self, node: str, call: str) -> int:
        """How often its agent has called the hardware so."""

    def break_slice(self, node: str, gpu: str, uuid: str, xid: int) -> None: ...


class Steering(Protocol):
    """Of the system itself; each does what the stage's method of the same name says."""

    def resync(self, seconds: float) -> None: ...
    def sources(self, count: int) -> AbstractContextManager[None]: ...
    def kill_source(self) -> None: ...
    def events_to(self, whom: Listener) -> AbstractContextManager[None]: ...
    def tell(self, revision: Object, profile: str, identity: str, count: int) -> None: ...
    def sent(self, seconds: int) -> Iterable[Sent]:
        """By the pending source, in the last seconds."""

    def broker_between(self) -> AbstractContextManager[None]: ...
    def broker_away(self) -> AbstractContextManager[None]: ...
    def broker(self, namespace: str, name: str = "default") -> Broker: ...

    def is_dead_letter(self, identity: str) -> bool: ...


@dataclass(slots=True, kw_only=True)
class Stage:
    gateway: str
    domain: str
    api: Api
    kn: Kn
    namespace: str
    nodes: Sequence[GpuNodeView]
    where: Sequence[str]  # words of kn's, that keep a function on these nodes
    hardware: Gpus
    steering: Steering
    told: Callable[[str], None]

    @property
    def _uuids(self) -> list[str]:
        return [uuid for node in self.nodes for uuid in node.gpus]

    @property
    def gpus(self) -> int:
        return len(self._uuids)

    # ------------------------------------------------------------ slices

    def lay_out(self, *layouts: str) -> None:
        left = [*layouts, *[""] * (self.gpus - len(layouts))]
        for node in self.nodes:
            here, left = left[: len(node.gpus)], left[len(node.gpus) :]
            node.want(*here)

    def slices(self) -> list[SliceSeen]:
        numbers = {uuid: number for number, uuid in enumerate(self._uuids)}
        found = [_seen(each, numbers) for node in self.nodes for each in node.slices()]
        return sorted(found, key=lambda each: (each.gpu, each.start))

    def layout(self) -> list[str]:
        found = self.slices()
        return [" ".join(each.place for each in found if each.gpu == gpu) for gpu in range(self.gpus)]

    def model(self, gpu: int) -> str:
        models = {each["uuid"]: each["model"] for node in self.nodes for each in node.object["status"]["gpus"]}
        return str(models[self._uuids[gpu]])

    def uuid(self, gpu: int) -> str:
        return self._uuids[gpu]

    def changes(self) -> int:
        return sum(self.hardware.calls(node.name, call) for node in self.nodes for call in ("create", "destroy"))

    def break_slice(self, place: SliceSeen, xid: int) -> None:
        uuid = self._uuids[place.gpu]
        [node] = [node for node in self.nodes if uuid in node.gpus]
        self.hardware.break_slice(node.name, uuid, place.uuid, xid)

    def wait_sound(self) -> None:
        for node in self.nodes:
            until(
                self.api, GPU_NODE.named(node.name), "is sound",
                lambda item: is_true(item, "GpusHealthy")
                and is_true(item, "SpecApplied")
                and all(each.state != "Broken" for each in slices_of(item)),
            )  # fmt: skip

    # ------------------------------------------------------------ functions

    def cast(self, wish: Wish) -> Player:
        function = Function(
            name=wish.name, namespace=self.namespace, api=self.api, gateway=self.gateway, domain=self.domain
        )
        return Player(
            wish=wish, function=function, api=self.api, kn=self.kn, where=self.where,
            nodes=self.nodes, slices=self.slices, told=self.told, sent=self.steering.sent,
        )  # fmt: skip

    def deploy(self, wish: Wish) -> Player:
        [player] = self.deploy_all(wish)
        return player

    def deploy_all(self, *wishes: Wish, wait: bool = True) -> list[Player]:
        players = [self.cast(wish) for wish in wishes]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            for done in [pool.submit(player.create, wait=wait) for player in players]:
                done.result()
        for player in players:
            if player.wish.at_zero:
                player.wait_zero()
        return players

    def put_to_rest(self, *players: scenarios.Player) -> None:
        with ThreadPoolExecutor(max_workers=len(players)) as pool:
            for done in [pool.submit(player.put_to_rest) for player in players]:
                done.result()

    def delete(self, *players: scenarios.Player) -> None:
        with ThreadPoolExecutor(max_workers=len(players)) as pool:
            for done in [pool.submit(player.delete) for player in players]:
                done.result()

    @contextmanager
    def timed(self, *players: scenarios.Player) -> Iterator[list[Timeline]]:
        with timed([player for player in players if isinstance(player, Player)]) as seen:
            assert len(seen) == len(players)
            yield seen

    def limit(self, profile: str, most: int) -> None:
        hard = {f"requests.nvidia.com/mig-{profile}": str(most)}
        name = f"of-{profile.replace('.', '-')}"
        if any(each["metadata"]["name"] == name for each in self.api.items(QUOTA, self.namespace)):
            self.api.merge(QUOTA, name, {"spec": {"hard": hard}}, self.namespace)
        else:
            self.api.create(QUOTA, {"metadata": {"name": name}, "spec": {"hard": hard}}, self.namespace)

    # ------------------------------------------------------------ the system

    def resync(self, seconds: float) -> None:
        self.steering.resync(seconds)

    def sources(self, count: int) -> AbstractContextManager[None]:
        return self.steering.sources(count)

    def kill_source(self) -> None:
        self.steering.kill_source()

    def events_to(self, whom: Listener) -> AbstractContextManager[None]:
        return self.steering.events_to(whom)

    def broker_between(self) -> AbstractContextManager[None]:
        return self.steering.broker_between()

    def broker_away(self) -> AbstractContextManager[None]:
        return self.steering.broker_away()

    def tell(self, player: scenarios.Player, *, identity: str, count: int) -> None:
        assert isinstance(player, Player)
        revision = self.api.get(REVISION, player.function.revision, self.namespace)
        self.steering.tell(revision, player.wish.profile or "", identity, count)

    @contextmanager
    def outcomes_to(self, player: scenarios.Player, kind: str) -> Iterator[None]:
        broker = self.steering.broker(PLANNER_NAMESPACE, SYSTEMS_BROKER)
        try:
            broker.subscribe(player.name, kind, of=self.namespace)
            yield
        finally:
            broker.unsubscribe(player.name)

    def tell_nonsense(self, identity: str) -> int:
        broker = self.steering.broker(PLANNER_NAMESPACE, SYSTEMS_BROKER)
        return broker.publish(PENDING, identity, {"Ce-Subject": f"{self.namespace}/nobody-00001"})

    def is_dead_letter(self, identity: str) -> bool:
        return self.steering.is_dead_letter(identity)

    # ------------------------------------------------------------ events of others

    def subscribe(self, player: scenarios.Player, kind: str) -> None:
        self.steering.broker(self.namespace).subscribe(player.name, kind)

    def publish(self, kind: str, identity: str) -> int:
        return self.steering.broker(self.namespace).publish(kind, identity)

    def wait(self, what: str, look: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
        return eventually(what, look, seconds=seconds)

    def print(self, timeline: Timeline) -> None:
        self.told(str(timeline))


def _seen(each: Slice, numbers: Mapping[str, int]) -> SliceSeen:
    return SliceSeen(
        gpu=numbers[each.gpu], profile=each.profile, start=each.start, state=each.state, uuid=each.uuid,
        holders=each.holders,
    )  # fmt: skip
