"""A seeded part of `make campaign-crash`, and that the campaign sees who does harm."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus
from knative_mig.core.mover.values import GOES_FIRST
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice, destroy_slice
from tests.crash_campaign.agents import agent_host
from tests.crash_campaign.campaign import run, summary
from tests.crash_campaign.moves import PLANNER
from tests.crash_campaign.moves import STEPS as PLANNERS_STEPS
from tests.crash_campaign.moves import problems as problems_of_planner
from tests.crash_campaign.moving import MovingWorld
from tests.crash_campaign.play import FIRST_TIME_S
from tests.crash_campaign.scenario import AGENT, STEPS, problems
from tests.crash_campaign.world import World

POINTS = 10
PLANNERS_POINTS = 6
PATIENCE_S = 60.0  # the campaign holds an agent to ten seconds; beside other tests it may have no core for so long


@pytest.fixture
def world() -> Iterator[World]:
    with agent_host() as host, TemporaryDirectory(prefix="crash-") as folder, World(Path(folder), host) as world:
        yield world


@pytest.mark.timeout(600)
def test_an_agent_killed_at_ten_of_its_calls_is_followed_by_one_that_puts_all_right() -> None:
    result = run(AGENT, points=POINTS, seed=1, jobs=3, workers=True, recovers_within_s=PATIENCE_S)
    assert result.passed, "\n".join([*summary(result), *(kill.words for kill in result.kills)])
    assert len(result.kills) == POINTS


@pytest.mark.timeout(300)
def test_what_an_agent_must_not_leave_behind_is_seen(world: World) -> None:
    start, create, take = STEPS[:3]
    for step in (start, create, take):
        world.agent.begin(step.name, None)
        step.act(world)
        assert not AGENT.wait_until_done(world, step, recovers_within_s=FIRST_TIME_S).wrong
    assert world.held is not None
    world.agent.end()
    gpus = SimulatedGpus(FileStore(world.order.settings.gpu_state_file))
    (gpu,) = gpus.inventory().gpus

    gpus.create_gpu_instance(gpu.uuid, ProfileName.parse("1g.5gb"), 3)
    assert {"1g.5gb@3 is half made", "1g.5gb@3 is left over"} <= set(problems(world, take))

    assert world.harm() == ""
    # The pod's slice is made anew: the same profile at the same place, and yet another one.
    world.held.process.kill()
    world.held.process.wait()
    (busy,) = [each for each in gpu.instances if str(each.place) == world.held.place]
    destroy_slice(gpus, busy)
    create_slice(gpus, gpu.uuid, ProfileName.parse("3g.20gb"), 4)
    assert world.harm().endswith("which chat-1 holds, is gone")


@pytest.mark.timeout(600)
def test_a_planner_killed_at_six_of_its_writes_is_followed_by_one_that_puts_all_right() -> None:
    result = run(PLANNER, points=PLANNERS_POINTS, seed=1, jobs=3, recovers_within_s=PATIENCE_S)
    assert result.passed, "\n".join([*summary(result), *(kill.words for kill in result.kills)])
    assert len(result.kills) == PLANNERS_POINTS


def test_what_a_planner_must_not_leave_behind_is_seen() -> None:
    with (
        PLANNER.host() as host,
        TemporaryDirectory(prefix="crash-") as folder,
        MovingWorld(Path(folder), host) as world,
    ):
        lead = PLANNERS_STEPS[0]
        lead.act(world)
        assert not PLANNER.wait_until_done(world, lead, recovers_within_s=FIRST_TIME_S).wrong
        world.planner.end()

        world.ask_floor("move", {"team.llm-00001": "{}"})
        world.mark("old", GOES_FIRST)
        assert problems_of_planner(world, lead) == [
            "request team.llm-00001 is left over",
            "mark of old is left over",
        ]
        assert world.harm() == ""
        world.end("old")
        assert world.harm() == "no pod of llm-00001 was Ready once old was none"
