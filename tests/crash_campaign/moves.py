"""What the planner has to do while it is killed, and how its cluster must look then.

Called by `campaign`. The steps raise a function's floor and restore it, move the function aside for a pod that needs
its whole GPU, and once more while its own demand keeps all its pods, so that one is evicted. Each ends in one state,
however often the planner died on the way: everybody has a slice, and of moves and requests nothing is left.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.adapters.kube.config_records import TOKEN
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.floor_objects import RECORDS, REQUESTS_PREFIX
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.core.errors import KnativeMigError
from reconfigurer.planner.mover import COMPONENT
from tests.crash_campaign.moving import OF_TEMPLATE, MovingWorld
from tests.crash_campaign.planners import TAKES_LEASE, planner_host
from tests.crash_campaign.play import Play

PREWARM: Final = "prewarm"
_AN_HOUR_S: Final = 3600.0
_RESTING: Final = "resting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    act: Callable[[MovingWorld], None]
    pods: int = 1  # of the function, all of them Ready
    floor: str = OF_TEMPLATE
    served: tuple[str, ...] = ()  # the pods that got a whole GPU

    def problems(self, world: MovingWorld) -> list[str]:
        return problems(world, self)


def _prewarm(world: MovingWorld) -> None:
    expires = time_text(time.time() + _AN_HOUR_S)
    entry = {"service": "team/llm", "minScale": 2, "expires": expires, "reason": "a rush at nine"}
    world.ask_floor(PREWARM, {"nine": json.dumps(entry)})


def _come_again(world: MovingWorld) -> None:
    """Whoever is beside the function leaves: it is alone on its GPU again, and somebody needs that one whole."""
    with world.api.store.changed:
        (pod,) = world.pods
    gpu, _, _ = world.slice_of(pod.name).partition("/")
    world.rises_when_marked = True
    world.end(f"fixed-{gpu.removeprefix('GPU-')}")
    world.come("whole-2", "7g.40gb")


STEPS: Final = (
    Step(name="lead", act=lambda world: world.planner.start()),
    Step(name="raise", act=_prewarm, pods=2, floor="2"),
    Step(name="restore", act=lambda world: world.ask_floor(PREWARM, {})),
    Step(name="move", act=lambda world: world.come("whole-1", "7g.40gb"), served=("whole-1",)),
    Step(name="evict", act=_come_again, pods=2, served=("whole-1", "whole-2")),
)


def problems(world: MovingWorld, step: Step) -> list[str]:
    """What is not yet as it should be at the step's end."""
    if world.broken:
        return [world.broken]
    if TAKES_LEASE not in world.planner.done:
        return ["the planner does not lead"]
    with world.api.store.changed:
        try:
            return [*_of_leadership(world), *_of_floor(world, step), *_of_pods(world, step)]
        except (KnativeMigError, ValueError) as error:
            return [f"cannot be read: {error}"]


def _of_leadership(world: MovingWorld) -> list[str]:
    token = world.token
    found = [f"the Lease's token is {token}"] if not token else []
    stands = {str(each.name): each.spec.fencing_token for each in world.objects.gpu_nodes.values()}
    stands |= {name: int(world.notes(name).get(TOKEN, 0)) for name in (MOVES, RECORDS)}
    return found + [f"{name} has token {there} of {token}" for name, there in stands.items() if there != token]


def _of_floor(world: MovingWorld, step: Step) -> list[str]:
    found = [] if world.floor == step.floor else [f"the floor is {world.floor}"]
    asked = [f"request {each} is left over" for each in sorted(world.notes(REQUESTS_PREFIX + COMPONENT))]
    moves = [f"move of {each} is left over" for each in sorted(world.notes(MOVES).keys() - {TOKEN, _RESTING})]
    records = world.notes(RECORDS).keys() - {TOKEN}
    if bool(records) != (step.floor != OF_TEMPLATE):
        found.append(f"record of {sorted(records)} is left over" if records else "the floor is not on record")
    return [*found, *asked, *moves]


def _of_pods(world: MovingWorld, step: Step) -> list[str]:
    pods = world.pods
    found = [f"mark of {each.name} is left over" for each in pods if each.deletion_cost is not None]
    ready = [each for each in pods if each.ready]
    if (len(pods), len(ready)) != (step.pods, step.pods):
        found.append(f"the function has {len(pods)} pods, {len(ready)} of them Ready")
    for name in step.served:
        pod = world.pod(name)
        if pod is None or not pod.ready:
            found.append(f"{name} waits")
        elif pod.told is not None and not pod.told.status:
            found.append(f"{name} says that it waits: {pod.told.reason}")
    return found + [
        f"the spec of {node.name} is not carried out"
        for node in world.objects.gpu_nodes.values()
        if node.status is None or node.status.observed_generation != node.generation
    ]


PLANNER: Final = Play(
    name="planner",
    steps=STEPS,
    host=planner_host,
    world=MovingWorld,
    harm="functions without a Ready pod",
    recovers_within_s=30.0,  # a whole move, with the patience of one that is not left to
    stays_s=0.5,  # longer than a resync
)
