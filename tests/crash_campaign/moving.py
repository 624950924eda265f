"""All that surrounds a planner that is killed: an API server with Knative, agents, kubelets and a scheduler behind it.

Made by `campaign`, one for each run; asked by `moves`. A thread of its own has everybody but the planner do what they
would, whenever an object changes. The subtle thing is what must never be, even for a moment: how many pods of the
function are Ready is looked at after every single change that the API server has taken.
"""

import threading
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Self

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.fields import micro_time_text, time_text
from knative_mig.adapters.kube.floor_objects import PREFIX
from knative_mig.adapters.kube.kinds import CONFIG_MAP, LEASE, POD, REVISION
from knative_mig.adapters.kube.leases import FENCING
from knative_mig.adapters.kube.parse import DELETION_COST
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import GATE
from knative_mig.core.mover.values import GOES_FIRST
from knative_mig.ports.kube import Key
from reconfigurer.planner.process import LEASE_NAME
from tests.contract.planner_rig import beat_object, node_object
from tests.crash_campaign.api_objects import ApiObjects
from tests.crash_campaign.hosts import ForkHost
from tests.crash_campaign.killable import Killable
from tests.crash_campaign.planners import SETTINGS, Order
from tests.fake_api import FakeApi
from tests.fake_api.store import Id
from tests.rigs.fake_agents import Floor
from tests.rigs.gpu_node_object import gpu_node_object
from tests.rigs.small_cluster import gpu, gpu_node

REVISION_NAME: Final = "llm-00001"
MIN_SCALE: Final = f"{PREFIX}min-scale"
OF_TEMPLATE: Final = "1"  # its min-scale
NODES: Final = ("n1", "n2")
MOVES_PROFILE: Final = "3g.20gb"
DRAINS_S: Final = 0.15
TURNS_EACH_S: Final = 0.1  # at least: pods drain, and what one of the others has written another answers
_BEATS_EACH_S: Final = 0.5  # of the agents' leases


class MovingWorld:
    """A function has one pod, alone on its GPU; on three others there is room for another pod of it."""

    def __init__(self, folder: Path, host: ForkHost) -> None:
        self.api = FakeApi()
        self.objects = ApiObjects(self.api)
        order = Order(folder=str(folder), api=self.api.url)
        self.planner = Killable(
            host, asdict(order), announcements=order.announcements, log=order.log, stacks=order.stacks
        )
        self.demand = 1
        self.rises_when_marked = False  # the function's own demand, and so it keeps all its pods
        self._made = 0
        self._ready: set[str] = set()  # UIDs of the function's
        self._seen_version = 0
        self._harm = ""
        self._broken = ""
        self._ending: dict[str, float] = {}
        self._beaten_at = 0.0
        self._rng = Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="the others")

    @property
    def victim(self) -> Killable:
        return self.planner

    def __enter__(self) -> Self:
        self.api.__enter__()
        first = (gpu("GPU-1", {"3g.20gb@4": "old"}), gpu("GPU-2", {"4g.20gb@0": "fixed-2"}))
        second = (gpu("GPU-3", {"4g.20gb@0": "fixed-3"}), gpu("GPU-4", {"4g.20gb@0": "fixed-4"}))
        for name, gpus in zip(NODES, (first, second), strict=True):
            self.api.put_object(gpu_node_object(gpu_node(name, *gpus)))
            self.api.put_object(node_object(name, {}))
        self._put_revision()
        self._put_pod("old", MOVES_PROFILE, revision=REVISION_NAME, on="n1")
        for number in (2, 3, 4):
            self._put_pod(f"fixed-{number}", "4g.20gb", on="n1" if number == 2 else "n2")
        self.agents = Floor(self.objects)
        self._thread.start()
        return self

    def __exit__(self, *of_error: object) -> None:
        self.planner.close()
        self._stop.set()
        with self.api.store.changed:
            self.api.store.changed.notify_all()
        self._thread.join()
        self.api.__exit__(None, None, None)

    def harm(self) -> str:
        with self.api.store.changed:
            self._look_at_changes()
        return self._harm

    # What is seen from outside

    @property
    def broken(self) -> str:
        """Why nobody but the planner does anything any more."""
        return self._broken

    @property
    def pods(self) -> list[PodFacts]:
        """The function's that are not ending."""
        return [each for each in self._of_function() if each.ends_at is None]

    def pod(self, name: str) -> PodFacts | None:
        return self.objects.pods.get(Key("team", name))

    def slice_of(self, name: str) -> str:
        with self.api.store.changed:
            held = dict(self.agents.held)
        return next((f"{uuid}/{key}" for (_, uuid, key), holder in held.items() if holder and holder.pod == name), "")

    @property
    def floor(self) -> str | None:
        (body,) = self.api.objects(REVISION)
        found: str | None = body["metadata"]["annotations"].get(MIN_SCALE)
        return found

    def notes(self, name: str) -> dict[str, str]:
        found = [each for each in self.api.objects(CONFIG_MAP) if each["metadata"]["name"] == name]
        return dict(found[0]["data"]) if found else {}

    @property
    def token(self) -> int:
        """Of the planner's lease; 0: nobody has taken it."""
        found = [each["metadata"] for each in self.api.objects(LEASE) if each["metadata"]["name"] == LEASE_NAME]
        return int(found[0]["annotations"][FENCING]) if found else 0

    # What others do

    def ask_floor(self, component: str, data: dict[str, str]) -> None:
        about = {"namespace": SETTINGS.namespace, "name": f"floor-{component}"}
        self.api.put_object({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data})

    def come(self, name: str, profile: str) -> None:
        self._put_pod(name, profile)

    def end(self, name: str) -> None:
        with self.api.store.changed:
            self.agents.end(self.objects.pods[Key("team", name)])

    def mark(self, name: str, cost: int) -> None:
        with self.api.store.changed:
            (body,) = [each for each in self.api.objects(POD) if each["metadata"]["name"] == name]
            annotations = {**body["metadata"]["annotations"], DELETION_COST: str(cost)}
            self.api.put_object({**body, "metadata": {**body["metadata"], "annotations": annotations}})

    def _run(self) -> None:
        store = self.api.store
        while not self._stop.is_set():
            with store.changed:
                try:
                    self._turn()
                except Exception as error:  # noqa: BLE001  whatever it is: the step must end with it, and say so
                    self._broken = f"the others have ended: {error!r}"
                    return
                left_at = store.version
                store.changed.wait_for(partial(self._is_due, left_at), TURNS_EACH_S)

    def _is_due(self, left_at: int) -> bool:
        return self.api.store.version != left_at or self._stop.is_set()

    def _turn(self) -> None:
        self._look_at_changes()
        self._beat()
        self._scale()
        for node in self.objects.gpu_nodes.values():
            self.agents.obey(node.name)
        self.agents.schedule(self._rng)
        for each in self.objects.pods.values():
            if each.ends_at is not None:
                self._drain(each)
            elif each.phase is Phase.RUNNING and not each.ready:
                self.objects.put_pod(replace(each, ready=True))
        for node in self.objects.gpu_nodes.values():
            self.agents.report(node.name)
        self._look_at_changes()

    def _look_at_changes(self) -> None:
        store = self.api.store
        for change in store.since(self._seen_version):
            self._seen_version = change.version
            body = change.after or change.before
            if change.id.plural != "pods" or body is None:
                continue
            facts = parse.pod(body)
            if facts.revision != REVISION_NAME:
                continue
            if change.after is not None and facts.ready and facts.ends_at is None:
                self._ready.add(facts.uid)
            else:
                self._ready.discard(facts.uid)
            if not self._ready and not self._harm:
                self._harm = f"no pod of {REVISION_NAME} was Ready once {facts.name} was none"

    def _beat(self) -> None:
        now = time.time()
        if now < self._beaten_at + _BEATS_EACH_S:
            return
        self._beaten_at = now
        for name in NODES:
            body = beat_object(name)
            self.api.put_object({**body, "spec": {**body["spec"], "renewTime": micro_time_text(now)}})

    def _scale(self) -> None:
        """Autoscaler and ReplicaSet: as many as the floor or the demand wants, the cheapest one goes first."""
        live = self.pods
        if self.rises_when_marked and any(each.deletion_cost == GOES_FIRST for each in live):
            self.demand = 2
        wanted = max(self.demand, int(self.floor or 0))
        (body,) = self.api.objects(REVISION)
        self.api.put_object({**body, "status": {**body["status"], "desiredReplicas": wanted}})
        for _ in range(wanted - len(live)):
            self._made += 1
            self._put_pod(f"llm-{self._made}", MOVES_PROFILE, revision=REVISION_NAME)
        cheapest = sorted(live, key=lambda each: (each.ready, each.deletion_cost or 0, -each.created))
        for each in cheapest[: max(0, len(live) - wanted)]:
            self.api.store.delete(Id("pods", each.namespace, each.name))

    def _drain(self, pod: PodFacts) -> None:
        began = self._ending.setdefault(pod.uid, time.monotonic())
        if time.monotonic() >= began + DRAINS_S:
            self.agents.end(pod)

    def _of_function(self) -> list[PodFacts]:
        return [each for each in self.objects.pods.values() if each.revision == REVISION_NAME]

    def _put_revision(self) -> None:
        about = {
            "namespace": "team",
            "name": REVISION_NAME,
            "uid": f"uid-{REVISION_NAME}",
            "labels": {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": "1"},
            "annotations": {f"{PREFIX}target-burst-capacity": "-1", MIN_SCALE: OF_TEMPLATE},
        }
        status = {"conditions": [{"type": "Ready", "status": "True"}], "desiredReplicas": 1}
        self.api.put_object(
            {"apiVersion": REVISION.group, "kind": "Revision", "metadata": about, "spec": {}, "status": status}
        )

    def _put_pod(self, name: str, profile: str, *, revision: str = "", on: str = "") -> None:
        """As our webhook lets it in; `on`: it runs there already."""
        limits = {f"nvidia.com/mig-{profile}": "1"}
        about = {
            "namespace": "team",
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"serving.knative.dev/revision": revision or f"{name}-00001"},
            "annotations": {"knative-mig.dev/movable": "true"} if revision else {},
            "creationTimestamp": time_text(round(time.time())),
        }
        spec = {"containers": [{"name": "user", "resources": {"requests": limits, "limits": limits}}]}
        where = {"nodeName": on} if on else {"schedulingGates": [{"name": GATE}]}
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        status = ready if on else {"phase": "Pending"}
        self.api.put_object(
            {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec | where, "status": status}
        )
