"""A node of which one GPU hangs or is lost: the others are served, and it is told and served when it answers again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.gpu_worker import Deadlines
from knative_mig.core.gpu_node import ConditionType, GpuHealth
from reconfigurer.agent.process import DEADLINES
from tests.contract.agent_rig import AgentRig
from tests.nvml_abi import library

TWO = "2xA100-40GB"
QUICK = Deadlines(open_s=6.0)  # a worker starts in less, also on a busy machine


Maker = Callable[..., AgentRig]


@pytest.fixture(params=["simulated", "nvml"])
def two_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """A node with two, of either kind; its folder has a short name, as a socket's path has 107 characters at most."""
    with TemporaryDirectory(prefix="agent-") as name:

        def made(deadlines: Deadlines = DEADLINES) -> AgentRig:
            rig = AgentRig(Path(name), gpus=TWO, over_nvml=request.param == "nvml", deadlines=deadlines)
            for key, value in library.environment(rig.settings.gpu_state_file).items():
                monkeypatch.setenv(key, value)
            return rig

        yield made


def healths(rig: AgentRig) -> list[GpuHealth]:
    """Of those reported, by the driver's index."""
    status = rig.node.status
    reported = {gpu.uuid: gpu.health for gpu in status.gpus} if status else {}
    return [reported[gpu.uuid] for gpu in rig.store.read().gpus if gpu.uuid in reported]


def told(rig: AgentRig) -> str:
    status = rig.node.status
    found = status.condition(ConditionType.GPUS_HEALTHY) if status else None
    return f"{found.reason}: {found.message}" if found else ""


def settled(rig: AgentRig) -> None:
    rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
    rig.want("3g.20gb@4", gpu=1)
    rig.wait_for(lambda: rig.offers("3g.20gb") == 1)


def test_one_that_hangs_as_the_agent_starts_keeps_no_other_from_being_served(two_gpus: Maker) -> None:
    with two_gpus(QUICK) as rig:
        settled(rig)
        rig.end_agent()
        rig.controls.hang(rig.store.read().gpus[0].uuid)

        rig.start_agent()

        rig.wait_for(lambda: healths(rig) == [GpuHealth.UNREADABLE, GpuHealth.HEALTHY] and "opening" in told(rig))
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.want("3g.20gb@0", "3g.20gb@4", gpu=1)
        rig.wait_for(lambda: rig.offers("3g.20gb") == 2)
        assert told(rig).startswith("GpuUnreadable: ")
        assert "GPU 0 is Unreadable: opening the driver on GPU 0 did not come back in 6 s" in told(rig)

        # It comes back by itself.
        rig.controls.hang(rig.store.read().gpus[0].uuid, hangs=False)
        rig.wait_for(lambda: told(rig) == "AllHealthy: ")
        assert healths(rig) == [GpuHealth.HEALTHY, GpuHealth.HEALTHY]


def test_one_that_is_lost_as_the_agent_starts_is_reported_and_back_after_its_reset(two_gpus: Maker) -> None:
    with two_gpus() as rig:
        settled(rig)
        rig.end_agent()
        lost = rig.store.read().gpus[0].uuid
        rig.controls.lose(lost)

        rig.start_agent()

        rig.wait_for(lambda: healths(rig) == [GpuHealth.LOST, GpuHealth.HEALTHY] and told(rig).startswith("GpuLost"))
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.controls.reset(lost)
        rig.wait_for(lambda: told(rig) == "AllHealthy: ")
        rig.want("3g.20gb@4", gpu=0)
        rig.wait_for(lambda: rig.offers("3g.20gb") == 2)


def test_of_a_node_that_was_never_reported_one_that_is_lost_is_told_by_its_number(two_gpus: Maker) -> None:
    with two_gpus() as rig:
        settled(rig)
        rig.end_agent()
        lost = rig.store.read().gpus[0].uuid
        rig.controls.lose(lost)
        rig.forget_node()

        rig.start_agent()

        rig.wait_for(lambda: "GPU 0 is Lost" in told(rig) and healths(rig) == [GpuHealth.HEALTHY])
        rig.controls.reset(lost)
        rig.wait_for(lambda: healths(rig) == [GpuHealth.HEALTHY, GpuHealth.HEALTHY])
