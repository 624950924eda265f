"""Whatever happens to functions, Serving's stand-ins come to rest, and make all well once nothing is wrong any more."""

from random import Random

import pytest

from knative_mig.adapters.kube.kinds import POD, REVISION
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import DEPLOYMENT, REPLICA_SET, ROUTE, SERVICE
from knative_mig.dev.serving.pods import is_active
from knative_mig.dev.serving.settings import Settings
from tests.rigs.serving_world import ServingWorld

NAMES = ("a", "b")
STEPS = 30


class Fate:
    """What happens next, drawn."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = ServingWorld(Settings(always_schedulable=bool(seed % 2)))
        self.world.autoscaler.wants = {}

    def step(self) -> None:
        happenings = [
            self.apply,
            self.scale,
            self.run,
            self.crash,
            self.lose,
            self.refuse,
            self.shut,
            self.note,
            self.wait,
        ]
        self.random.choice(happenings)()
        self.world.settle()

    def apply(self) -> None:
        name = self.random.choice(NAMES)
        whose = self.random.choice(NAMES)  # somebody else's are no good, and are named all the same
        known = [each for each in self.world.names(REVISION) if each.startswith(f"{whose}-")]
        known = self.random.sample(known, min(len(known), self.random.randrange(3)))
        targets = [{"revisionName": each, "percent": 50, "latestRevision": False} for each in known]
        rest = 100 - 50 * len(targets)
        if rest or self.random.random() < 0.5:
            targets.append({"latestRevision": True, "percent": rest, "tag": "newest"})
        image = f"dev.local/llm:v{self.random.randrange(4)}"
        named = {"revision": f"{name}-{image[-2:]}"} if self.random.random() < 0.2 else {}
        self.world.apply(name, image=image, traffic=targets, settle=False, **named)

    def scale(self) -> None:
        for each in self.world.names(REVISION):
            self.world.autoscaler.wants[each] = self.random.randrange(4)

    def run(self) -> None:
        for each in self.world.pods():
            if self.random.random() < 0.7:
                self.world.run(each)

    def crash(self) -> None:
        ended = {"name": "user-container", "lastState": {"terminated": {"exitCode": 1, "message": "boom"}}}
        for each in self.world.pods():
            if self.random.random() < 0.3:
                self.world.run(each, conditions=[], containerStatuses=[ended])

    def lose(self) -> None:
        for each in self.world.pods():
            if self.random.random() < 0.3:
                self.world.delete(POD, each["metadata"]["name"])

    def refuse(self) -> None:
        kind = self.random.choice([POD, REVISION, None])
        self.world.refuses = lambda asked, _body: "exceeded quota" if asked is kind else ""

    def shut(self) -> None:
        self.world.gateway.shut = {each for each in NAMES if self.random.random() < 0.3}

    def note(self) -> None:
        for each in self.world.names(REVISION):
            if self.random.random() < 0.3:
                text = {"team": str(self.random.randrange(3)), "autoscaling.knative.dev/min-scale": "1"}
                self.world.patch(REVISION, self.world.get(REVISION, each), {"metadata": {"annotations": text}})

    def wait(self) -> None:
        self.world.after(self.random.choice([1, 30, 700]))


def make_well(world: ServingWorld) -> None:
    world.refuses = lambda _kind, _body: ""
    world.gateway.shut = set()
    world.autoscaler.wants = {}
    for name in world.names(SERVICE):
        world.apply(name, image="dev.local/well")
    world.after(60)
    for _ in range(12):
        world.run_pods()


@pytest.mark.parametrize("seed", range(12))
def test_all_comes_to_rest_and_gets_well(seed: int) -> None:
    fate = Fate(seed)
    world = fate.world
    for _ in range(STEPS):
        fate.step()
        for name in world.names(ROUTE):
            if objects.is_ready(world.get(ROUTE, name)):
                traffic = world.get(ROUTE, name)["status"]["traffic"]
                assert all(objects.is_ready(world.get(REVISION, each["revisionName"])) for each in traffic)
                assert sum(each["percent"] for each in traffic) == 100
    make_well(world)
    for name in world.names(SERVICE):
        assert objects.is_ready(world.get(SERVICE, name)), world.get(SERVICE, name)["status"]
        (target,) = world.get(SERVICE, name)["status"]["traffic"]
        assert target["revisionName"] == world.get(SERVICE, name)["status"]["latestCreatedRevisionName"]
    assert len(world.names(REPLICA_SET)) == len(world.names(DEPLOYMENT))
    for name in world.names(REPLICA_SET):
        body = world.get(REPLICA_SET, name)
        assert len([each for each in world.seen().owned(POD, body) if is_active(each)]) == body["spec"]["replicas"]
    for name in list(world.names(SERVICE)):
        world.delete(SERVICE, name)
    world.settle()
    assert world.names(REVISION) == world.names(POD) == []
