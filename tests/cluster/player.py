"""A function of a scenario on the real cluster: what its clients and its owner do and see. Made by `stage`."""

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.cluster import load as requests
from tests.cluster.api import POD, REVISION, SERVICE, Api, Object
from tests.cluster.function import Answer as HttpAnswer
from tests.cluster.function import Function
from tests.cluster.kn import Kn
from tests.cluster.observed import Observation, Presence, Sent, has_ended, observed
from tests.cluster.slices import EVENT, SLICE_CONDITION, GpuNodeView, end_undrained
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import PATIENCE_SECONDS, eventually, recorded, until_all, until_gone
from tests.scenarios.stage import Answer, Drained, SliceSeen, Timeline, Wish

_OF: Final = "serving.knative.dev/service"
_READY_WITHIN_S: Final = 230  # a container runtime that hangs is asked anew by its kubelet after two minutes
_SLOW_S: Final = 45.0  # is told of, though nothing failed


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on a thread of its own."""

    thread: threading.Thread
    answers: list[Answer]

    @property
    def waits(self) -> bool:
        return self.thread.is_alive()

    def answer(self, *, seconds: float = PATIENCE_SECONDS) -> Answer:
        self.thread.join(seconds)
        assert not self.waits, f"no answer within {seconds:.0f} s"
        return self.answers[0]


@dataclass(slots=True, kw_only=True)
class Player:
    wish: Wish
    function: Function
    api: Api
    kn: Kn
    where: Sequence[str]  # words of kn's
    nodes: Sequence[GpuNodeView]
    slices: Callable[[], list[SliceSeen]]  # of those nodes, with GPUs numbered
    told: Callable[[str], None]
    sent: Callable[[int], Iterable[Sent]]
    observation: Observation | None = None

    @property
    def name(self) -> str:
        return self.wish.name

    def create(self, *, wait: bool = True) -> None:
        waits = ["--wait-timeout", str(_READY_WITHIN_S)] if wait else ["--no-wait"]
        words = ["service", "create", self.name, "--image", FUNCTION_IMAGE, *_words(self.wish), *self.where, *waits]
        began = time.monotonic()
        self.kn(*words, seconds=_READY_WITHIN_S + 20)
        if (took := time.monotonic() - began) > _SLOW_S:
            self.told(f"{self.name}: created after {took:.0f} s")

    def wait_ready(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        self.function.wait_ready(seconds=seconds)

    # ------------------------------------------------------------ asking

    def ask(self, path: str = "/", *, seconds: float = PATIENCE_SECONDS) -> Answer:
        found: HttpAnswer = self.function.ask(path, timeout=seconds)
        if self.observation:
            self.observation.reach("first byte", found.first_byte)
        return Answer(status=found.status, text=found.text, seconds=found.ended - found.asked)

    def asked(self, path: str = "/") -> Asked:
        answers: list[Answer] = []

        def ask() -> None:
            try:
                answers.append(self.ask(path, seconds=600))
            except (OSError, http.client.HTTPException) as error:
                answers.append(Answer(status=0, text=repr(error), seconds=0.0))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return Asked(thread, answers)

    @contextmanager
    def load(self, *, clients: int = 2, path: str = "/") -> Iterator[requests.Load]:
        with requests.load(self.function, clients, path=path) as running:
            yield running
        print(
            f"{self.name}: {running.answered} answers, {len(running.failed)} failures, {running.longest:.2f} s at most"
        )

    @contextmanager
    def timed(self) -> Iterator[Timeline]:
        with timed([self]) as [seen]:
            yield seen

    # ------------------------------------------------------------ looking and waiting

    def replicas(self) -> list[str]:
        return [str(pod["metadata"]["name"]) for pod in self.function.pods()]

    def wait_replicas(self, number: int, *, seconds: float = PATIENCE_SECONDS) -> list[str]:
        return self.function.wait_pods(number, seconds=seconds)

    def wait_gone(self, replica: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        until_gone(self.api, POD.named(replica, self.function.namespace), seconds=seconds)

    @contextmanager
    def always_ready(self) -> Iterator[None]:
        presence = Presence.of(self.function.pods())
        assert presence.ready, f"no pod of {self.name} is Ready"
        with recorded(self.api, POD, self.function.namespace, presence.pod, labelSelector=f"{_OF}={self.name}"):
            yield
            # A watch that broke off would have told of nothing.
            eventually(
                f"the pods of {self.name} are known as they are",
                lambda: Presence.of(self.function.pods()).ready,
                lambda now: now == presence.ready,
            )
        assert not presence.bare, f"{self.name} had no Ready pod after {', '.join(presence.bare)}"

    def wait_zero(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        self.function.wait_zero(seconds=seconds)

    def rest(self, *, seconds: float = PATIENCE_SECONDS) -> Drained:
        leaves: dict[str, float] = {}
        ended: dict[str, float] = {}
        gone: set[str] = set()
        held = self._held_by_any()

        def note(arrived: float, event: str, pod: Object) -> None:
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                leaves.setdefault(name, min(arrived, _left_before(pod)))
            if event == "DELETED" or has_ended(pod):
                ended.setdefault(name, min(arrived, _ended_before(pod)))
            if event == "DELETED":
                gone.add(name)

        with recorded(self.api, POD, self.function.namespace, note, labelSelector=f"{_OF}={self.name}"):
            self.wait_zero(seconds=seconds)
            self._wait_no_pod(seconds)
            eventually("its last pod was seen to go", lambda: gone >= leaves.keys())
        self._wait_idle(held)
        idle = time.monotonic()
        drained = Drained(
            seconds=max((ended[name] - leaves[name] for name in leaves), default=0.0),
            idle=max((idle - leaves[name] for name in leaves), default=0.0),
        )
        self.told(f"{self.name}: drain {drained.seconds:.3f}, its slice is idle {drained.idle:.3f} s")
        return drained

    def put_to_rest(self) -> None:
        """`wait_zero`, and what drains is ended, as nobody asks it anything."""
        held = self._held_by_any()
        self.wait_zero()
        self._end_pods()
        self._wait_no_pod(PATIENCE_SECONDS)
        self._wait_idle(held)

    def _end_pods(self) -> None:
        for pod in self.api.items(POD, self.function.namespace, labelSelector=f"{_OF}={self.name}"):
            end_undrained(self.api, pod)

    def _held_by_any(self) -> set[str]:
        """Also those of pods that drain already: a function may be at zero before anybody looks."""
        of_mine = f"{self.name}-0"
        return {each.uuid for each in self.slices() if any(name.startswith(of_mine) for name in each.holders)}

    def _wait_no_pod(self, seconds: float) -> None:
        until_all(
            self.api, POD, self.function.namespace, f"{self.name} has no pod", lambda world: not world,
            seconds=seconds, labelSelector=f"{_OF}={self.name}",
        )  # fmt: skip

    def _wait_idle(self, held: set[str]) -> None:
        eventually(
            f"the slices of {self.name} are nobody's",
            lambda: [str(each) for each in self.slices() if each.uuid in held and each.state != "Idle"],
            lambda left: not left,
        )

    def held(self) -> list[SliceSeen]:
        def look() -> list[SliceSeen]:
            mine = {*self.replicas()}
            found = [each for each in self.slices() if mine.intersection(each.holders)]
            return found if len(found) == len(mine) else []

        return eventually(f"each replica of {self.name} holds a slice", look)

    def why(self) -> str:
        """What `kubectl describe` shows of its Revision and its pods."""
        api, namespace, revision = self.api, self.function.namespace, self.function.revision
        status = api.get(REVISION, revision, namespace).get("status", {})  # it may just have been made
        conditions = status.get("conditions", [])
        told = [
            f"{each['type']}={each['status']} {each.get('reason', '')} {each.get('message', '')}" for each in conditions
        ]
        for event in api.items(EVENT, namespace):
            about = event["involvedObject"]
            if about["kind"] in ("Revision", "Pod") and about["name"].startswith(f"{self.name}-"):
                told.append(f"{about['kind']}: {event.get('reason', '')}: {event.get('message', '')}")
        return "\n".join(told)

    def wait_why(self, word: str, *, seconds: float = PATIENCE_SECONDS) -> str:
        return eventually(f"{word} is told of {self.name}", self.why, lambda told: word in told, seconds=seconds)

    def says(self) -> str:
        conditions = [each for pod in self.function.pods() for each in pod["status"].get("conditions", [])]
        waiting = [each for each in conditions if (each["type"], each["status"]) == (SLICE_CONDITION, "False")]
        return "\n".join(f"{each['reason']}: {each['message']}" for each in waiting)

    def update(self, *, environment: Mapping[str, str]) -> None:
        words = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        self.kn("service", "update", self.name, "--no-wait", *words)

    def delete(self) -> None:
        """What drains is ended, as nobody asks it anything; not before whoever would make another pod is gone."""
        self.api.delete(SERVICE, self.name, self.function.namespace)
        until_all(
            self.api, POD, self.function.namespace, f"the pods of {self.name} are told to go",
            lambda world: all("deletionTimestamp" in pod["metadata"] for pod in world.values()),
            labelSelector=f"{_OF}={self.name}",
        )  # fmt: skip
        self._end_pods()


@contextmanager
def timed(players: Sequence[Player]) -> Iterator[list[Timeline]]:
    seen: list[Observation] = []
    for player in players:
        assert player.wish.profile
        player.observation = Observation(player.function, player.wish.profile, Timeline(what=player.name))
        seen.append(player.observation)
    with observed(seen, players[0].nodes, players[0].api, players[0].sent):
        yield [each.timeline for each in seen]
    for player in players:
        player.observation = None


def _words(wish: Wish) -> list[str]:
    words: list[str] = []
    if wish.profile:
        words += ["--limit", f"nvidia.com/mig-{wish.profile}=1"]
    if wish.timeout_s is not None:
        words += ["--timeout", str(wish.timeout_s)]
    if wish.at_zero:
        words += ["--scale-init", "0"]
    if wish.pods:
        words += ["--scale-min", str(wish.pods)]
    for key, value in wish.annotations.items():
        words += ["--annotation", f"{key}={value}"]
    for key, value in wish.environment.items():
        words += ["--env", f"{key}={value}"]
    return words


def _left_before(pod: Object) -> float:
    """When it was told to go, at the latest, on the monotonic clock: its deletion may be older than our watch."""
    about = pod["metadata"]
    ends = datetime.fromisoformat(about["deletionTimestamp"]).timestamp()
    told = ends - float(about.get("deletionGracePeriodSeconds", 0)) + 1.0  # written in whole seconds
    return time.monotonic() + told - time.time()


def _ended_before(pod: Object) -> float:
    """When its containers ran no more, at the latest, by the container runtime: we may hear of it late."""
    states = [each["state"].get("terminated", {}) for each in pod["status"].get("containerStatuses", [])]
    ends = [datetime.fromisoformat(each["finishedAt"]).timestamp() for each in states if each.get("finishedAt")]
    if not states or len(ends) < len(states):
        return time.monotonic()
    return time.monotonic() + max(ends) + 1.0 - time.time()  # written in whole seconds
