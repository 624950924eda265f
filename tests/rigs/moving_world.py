"""One function on stock Knative, as far as a move meets it: an autoscaler with its floor, a ReplicaSet that takes the
cheapest pod first, a scheduler with slices to give, and a mover that may crash between any two of its writes.

What the API server refuses is refused here: a journal that somebody else wrote meanwhile, a pod with another UID.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from knative_mig.core.cluster.objects import HOSTNAME, PodFacts
from knative_mig.core.cluster.objects import Phase as PodPhase
from knative_mig.core.floor.values import Revision
from knative_mig.core.gpu_node import GATE, SliceId
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mover.machine import advance, may_evict, successor, wants, wants_room
from knative_mig.core.mover.values import GOES_FIRST, Leg, Move, Over, Patience, PodRef, Sight, SliceSight, Spot, Waits
from knative_mig.core.profile import ProfileName

LLM = Function("team", "llm-00001")
OTHER = Function("team", "big-00001")
PATIENCE = Patience()


def spot(start: int, gpu: str = "gpu-0") -> Spot:
    at = SliceId(gpu=GpuUuid(gpu), profile=ProfileName.parse("3g.20gb"), start=start)
    return Spot(node=NodeName("n1"), slice=at)


class Crash(Exception):
    """The planner is gone, in the middle of its writes."""


@dataclass
class World:
    now: float = 0.0
    demand: int = 1  # pods that the autoscaler wants for the requests that come
    knows: bool = True  # its desired scale is not -1
    floors: dict[Function, int] = field(default_factory=dict)  # what the mover asks of the floor
    pods: dict[str, PodFacts] = field(default_factory=dict)
    target: SliceSight = SliceSight.ABSENT
    beneficiary: Waits = Waits.YES
    room: bool = True
    budget: bool = False  # a disruption budget refuses evictions
    starts: bool = True  # new pods become Ready
    chosen_node: str = ""  # by the function's user, for all its pods
    relay_answers: bool = True  # or there is none, which is known as soon
    released: bool = False  # the old pod gives its slice back early
    handed_over: list[tuple[str, str]] = field(default_factory=list)  # from which pod, and where
    journal: Move | None = None
    over: Over | None = None
    crash_after: int | None = None  # so many writes from now
    told: list[str] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.come(ready=True)
        (old,) = self.pods.values()
        self.old = old.uid
        self.journal = Move(
            beneficiary=PodRef(name="big", uid="uid-big"),
            function=OTHER,
            place=spot(0),
            legs=(
                Leg(
                    function=LLM,
                    revision_uid="uid-r",
                    old=PodRef(name=old.name, uid=old.uid),
                    source=spot(4),
                    target=spot(4, "gpu-1"),
                ),
            ),
            began=0.0,
        )
        self.seen = dict(self.pods)

    # -- Knative ------------------------------------------------------------------------------------------------------

    def come(self, *, ready: bool = False) -> None:
        self.made += 1
        name = f"p{self.made}"
        self.pods[f"uid-{name}"] = PodFacts(
            namespace="team",
            name=name,
            uid=f"uid-{name}",
            created=self.now,
            revision=LLM.name,
            ready=ready,
            phase=PodPhase.RUNNING if ready else PodPhase.PENDING,
            node=NodeName("n1") if ready else None,
            node_selector={HOSTNAME: self.chosen_node} if self.chosen_node else {},
            gates=() if ready else (GATE,),
        )

    def live(self) -> list[PodFacts]:
        return [pod for pod in self.pods.values() if pod.ends_at is None]

    def ready(self) -> list[PodFacts]:
        return [pod for pod in self.live() if pod.ready]

    @property
    def replicas(self) -> int:
        return max(self.demand, self.floors.get(LLM, 0))

    def scale(self) -> None:
        while self.knows and len(self.live()) < self.replicas:
            self.come()
        while self.knows and len(self.live()) > self.replicas:
            cheapest = min(self.live(), key=lambda pod: (pod.ready, pod.deletion_cost or 0, -pod.created))
            self.end(cheapest.uid)

    def start_pods(self) -> None:
        for uid, pod in self.pods.items():
            if self.starts and not pod.ready and pod.ends_at is None:
                self.pods[uid] = replace(pod, ready=True, node=NodeName("n1"), phase=PodPhase.RUNNING)

    def end(self, uid: str) -> None:
        self.pods[uid] = replace(self.pods[uid], ends_at=self.now + 30, ready=False)

    def die(self, uid: str) -> None:
        self.pods.pop(uid, None)

    def go_on(self) -> None:
        """All that is not ours, once, and the mirrors see it."""
        self.scale()
        self.start_pods()
        for uid in [uid for uid, pod in self.pods.items() if pod.ends_at is not None and pod.ends_at <= self.now]:
            self.die(uid)
        if self.target in (SliceSight.ABSENT, SliceSight.COMING) and self.reserved:
            self.target = SliceSight.IDLE
        self.seen = dict(self.pods)

    # -- the mover ----------------------------------------------------------------------------------------------------

    @property
    def reserved(self) -> bool:
        return self.journal is not None and wants(self.journal).reserve is not None

    def sight(self) -> Sight:
        revision = Revision(namespace="team", name=LLM.name, uid="uid-r", desired=self.demand if self.knows else None)
        return Sight(
            pods=dict(self.seen),
            revision=revision,
            target=self.target,
            beneficiary=self.beneficiary,
            asked=LLM in self.floors,
            has_room=self.room
            and self.journal is not None
            and wants_room(self.journal, Sight(asked=LLM in self.floors), self.now, PATIENCE),
            released=self.released,
            handed_over=self.relay_answers and self.old in dict(self.handed_over),
        )

    def round(self) -> None:
        """A new leader plays it just so: there is nothing in memory."""
        move = self.journal
        if move is None:
            return
        sight = self.sight()
        while True:
            step = advance(move, sight, self.now, PATIENCE)
            if isinstance(step, Over) or step == move:
                break
            move = step
        over = step if isinstance(step, Over) else None
        if move != self.journal or over:
            self._write(lambda: self._store(None if over else move, over))
        if over is None:
            self._act(move, sight)

    def _store(self, move: Move | None, over: Over | None) -> None:
        if self.journal and move and move.phase is not self.journal.phase:
            self.told.append(str(move.phase))
        self.journal, self.over = move, over

    def _act(self, move: Move, sight: Sight) -> None:
        wanted = wants(move)
        if wanted.floor and self.floors.get(LLM) != wanted.floor:
            self._write(lambda: self.floors.update({LLM: wanted.floor}))
        if not wanted.floor and LLM in self.floors:
            self._write(lambda: self.floors.pop(LLM))
        if wanted.mark:
            self._mark(wanted.mark, GOES_FIRST)
        if wanted.unmark and (pod := self.pods.get(wanted.unmark.uid)) and pod.deletion_cost == GOES_FIRST:
            self._mark(wanted.unmark, move.cost)
        now = replace(sight, pods=dict(self.pods))
        if wanted.evict and wanted.evict.uid in self.pods and may_evict(move, now) and not self.budget:
            evicted = wanted.evict.uid
            assert [pod for pod in self.ready() if pod.uid != evicted], "the last replica is evicted"
            self._write(lambda: self.end(evicted))
        if wanted.hand_over and (to := successor(move, sight)):
            leaving = self.pods.get(wanted.hand_over.uid)
            assert leaving is None or leaving.ends_at is not None, "it would serve nobody, and stay"
            self._write(lambda: self.handed_over.append((self.old, to.uid)))

    def _mark(self, ref: PodRef, cost: int | None) -> None:
        pod = self.pods.get(ref.uid)
        if pod and pod.deletion_cost != cost:
            self._write(lambda: self.pods.update({ref.uid: replace(pod, deletion_cost=cost)}))

    def _write(self, write: Callable[[], object]) -> None:
        if self.crash_after is not None:
            if self.crash_after == 0:
                self.crash_after = None
                raise Crash
            self.crash_after -= 1
        write()

    # -- time ---------------------------------------------------------------------------------------------------------

    def play(self, seconds: float, step_s: float = 1.0) -> None:
        ends = self.now + seconds
        while self.now < ends:
            self.round()
            self.go_on()
            self.now += step_s
