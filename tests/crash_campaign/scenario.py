"""What the agent has to do while it is killed, and how its node must look then.

Called by `campaign`. The steps make slices, give one to a pod, and destroy, merge and refuse beside it; each step ends
in one state of the whole node, however often the agent died on the way. The subtle thing is what counts as the end: not
the GPU alone, but kubelet, Node, GpuNode and the files for the container runtime, all told by the agent that runs now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.adapters.cdi import cdi_device
from knative_mig.core.errors import KnativeMigError
from knative_mig.core.gpu_node import ConditionType, GpuHealth, GpuNodeStatus, JournalState, SliceId, SliceState
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import Gpu
from tests.crash_campaign.agents import agent_host
from tests.crash_campaign.play import FIRST_TIME_S, Play
from tests.crash_campaign.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    act: Callable[[World], None]
    slices: tuple[str, ...]  # on the GPU when it is done
    applied: str = "Applied"  # the reason of the condition SpecApplied

    def problems(self, world: World) -> list[str]:
        return problems(world, self)


STEPS: Final = (
    Step(name="start", act=lambda world: world.agent.start(), slices=(), applied="Applied"),
    Step(
        name="create",
        act=lambda world: world.want("1g.5gb@0", "1g.5gb@1", "1g.5gb@2", "3g.20gb@4"),
        slices=("1g.5gb@0", "1g.5gb@1", "1g.5gb@2", "3g.20gb@4"),
    ),
    Step(
        name="take",
        act=lambda world: world.run_pod(ProfileName.parse("3g.20gb"), FIRST_TIME_S),
        slices=("1g.5gb@0", "1g.5gb@1", "1g.5gb@2", "3g.20gb@4"),
    ),
    Step(
        name="destroy",
        act=lambda world: world.want("1g.5gb@0", "1g.5gb@1", "3g.20gb@4"),
        slices=("1g.5gb@0", "1g.5gb@1", "3g.20gb@4"),
    ),
    Step(name="merge", act=lambda world: world.want("3g.20gb@0", "3g.20gb@4"), slices=("3g.20gb@0", "3g.20gb@4")),
    # The pod is in the way of what is wanted now: what is idle goes, the pod's slice stays.
    Step(name="refuse", act=lambda world: world.want("7g.40gb@0"), slices=("3g.20gb@4",), applied="PlaceBusy"),
    Step(name="end", act=lambda world: world.end_pod(), slices=("7g.40gb@0",)),
)


def problems(world: World, step: Step) -> list[str]:
    """What is not yet as it should be at the step's end."""
    if not world.reported:
        return ["the agent has not reported"]
    try:
        gpu = world.gpu
        node = world.node
        offered = world.offered.allocatable
    except (KnativeMigError, OSError, ValueError) as error:
        return [f"cannot be asked: {error}"]
    found = [*_of_gpu(world, gpu, step), *_of_kubelet(world, gpu)]
    counts = {profile.name: 0 for profile in gpu.model.profiles}
    for instance in gpu.instances:
        counts[instance.place.profile.name] += 1
    wrong = {str(name): offered.get(name) for name, count in counts.items() if offered.get(name) != count}
    if wrong:
        found.append(f"the Node offers {wrong}")
    if node.status is None or node.status.observed_generation != node.generation:
        return [*found, "the spec is not observed yet"]
    return found + _of_status(world, node.status, step)


def _of_gpu(world: World, gpu: Gpu, step: Step) -> list[str]:
    there = {str(each.place) for each in gpu.instances}
    found = [f"{each.place} is half made" for each in gpu.instances if each.compute_instance is None]
    found += [f"{each} is left over" for each in sorted(there - set(step.slices))]
    found += [f"{each} is missing" for each in sorted(set(step.slices) - there)]
    uuids = {
        cdi_device(SliceId(gpu=gpu.uuid, profile=each.place.profile.name, start=each.place.start)): (
            each.compute_instance.mig_uuid if each.compute_instance else None
        )
        for each in gpu.instances
    }
    if world.published() != uuids:
        found.append(f"published is {world.published()}, there is {uuids}")
    return found


def _of_kubelet(world: World, gpu: Gpu) -> list[str]:
    healthy = {each for profile in gpu.model.profiles for each in world.kubelet.healthy(profile.name)}
    there = {f"{gpu.uuid}/{each.place.profile.name}/{each.place.start}" for each in gpu.instances}
    return [] if healthy == there else [f"the kubelet believes {sorted(healthy)}"]


def _of_status(world: World, status: GpuNodeStatus, step: Step) -> list[str]:
    found: list[str] = []
    (gpu,) = status.gpus
    if gpu.health is not GpuHealth.HEALTHY:
        found.append(f"the GPU is reported {gpu.health}")
    states = {str(each.key): each.state.value for each in gpu.slices}
    busy = world.held.place if world.held else None
    right = {each: (SliceState.BUSY if each == busy else SliceState.IDLE).value for each in step.slices}
    if states != right:
        found.append(f"reported is {states}")
    if (status.journal, status.open_intents) != (JournalState.CLEAN, 0):
        found.append(f"the journal is {status.journal} with {status.open_intents} open intents")
    for kind, reason in ((ConditionType.READY, "Ready"), (ConditionType.SPEC_APPLIED, step.applied)):
        condition = status.condition(kind)
        if condition is None or condition.reason != reason:
            found.append(f"{kind} is {condition.reason if condition else None}")
    if world.held is not None and world.on_the_busy() != (world.held.pid,):
        found.append(f"on the pod's slice are {world.on_the_busy()}")
    return found


AGENT: Final = Play(name="agent", steps=STEPS, host=agent_host, world=World, harm="busy slices destroyed")
