"""A seeded part of `make campaign-crash`, and that the campaign sees an agent that does harm."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice, destroy_slice
from tests.crash_campaign.agents import AgentHost
from tests.crash_campaign.campaign import run, summary
from tests.crash_campaign.scenario import FIRST_TIME_S, STEPS, problems, wait_until_done
from tests.crash_campaign.world import World

POINTS = 10
PATIENCE_S = 60.0  # the campaign holds an agent to ten seconds; beside other tests it may have no core for so long


@pytest.fixture
def world() -> Iterator[World]:
    with AgentHost() as host, TemporaryDirectory(prefix="crash-") as folder, World(Path(folder), host) as world:
        yield world


@pytest.mark.timeout(600)
def test_an_agent_killed_at_ten_of_its_calls_is_followed_by_one_that_puts_all_right() -> None:
    result = run(points=POINTS, seed=1, jobs=3, workers=True, recovers_within_s=PATIENCE_S)
    assert result.passed, "\n".join([*summary(result), *(kill.words for kill in result.kills)])
    assert len(result.kills) == POINTS


@pytest.mark.timeout(300)
def test_what_an_agent_must_not_leave_behind_is_seen(world: World) -> None:
    start, create, take = STEPS[:3]
    for step in (start, create, take):
        world.begin(step.name, None)
        step.act(world)
        assert not wait_until_done(world, step, recovers_within_s=FIRST_TIME_S).wrong
    assert world.held is not None
    world.end_agent()
    gpus = SimulatedGpus(FileStore(world.order.settings.gpu_state_file))
    (gpu,) = gpus.inventory().gpus

    gpus.create_gpu_instance(gpu.uuid, ProfileName.parse("1g.5gb"), 3)
    assert {"1g.5gb@3 is half made", "1g.5gb@3 is left over"} <= set(problems(world, take))

    assert world.harm_to_the_busy() == ""
    # The pod's slice is made anew: the same profile at the same place, and yet another one.
    world.held.process.kill()
    world.held.process.wait()
    (busy,) = [each for each in gpu.instances if str(each.place) == world.held.place]
    destroy_slice(gpus, busy)
    create_slice(gpus, gpu.uuid, ProfileName.parse("3g.20gb"), 4)
    assert world.harm_to_the_busy().endswith("which chat-1 holds, is gone")
