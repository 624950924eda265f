"""A node of which one GPU hangs or is lost: the others are served, and it is told and served when it answers again."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from knative_mig.adapters.gpu_worker import Deadlines
from knative_mig.core.errors import GpuLost
from knative_mig.core.gpu_node import ConditionType, GpuHealth
from knative_mig.ports.gpu import GpuDriver, Inventory
from knative_mig.ports.journal import Journal
from reconfigurer.agent import process
from reconfigurer.agent.process import DEADLINES, Around
from tests.contract.agent_rig import AgentRig
from tests.nvml_abi import library

TWO = "2xA100-40GB"
QUICK = Deadlines(open_s=6.0)  # a worker starts in less, also on a busy machine


Maker = Callable[..., AgentRig]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a short name, as a socket's path has 107 characters at most."""
    with TemporaryDirectory(prefix="agent-") as name:
        yield Path(name)


@pytest.fixture(params=["simulated", "nvml"])
def two_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Maker:
    """A node with two, of either kind."""

    def made(deadlines: Deadlines = DEADLINES) -> AgentRig:
        rig = AgentRig(folder, gpus=TWO, over_nvml=request.param == "nvml", deadlines=deadlines)
        for key, value in library.environment(rig.settings.gpu_state_file).items():
            monkeypatch.setenv(key, value)
        return rig

    return made


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
        rig.want("2g.10gb@0", gpu=0)
        rig.wait_for(lambda: rig.offers("2g.10gb") == 1)
        rig.run_pod("chat", "2g.10gb")
        rig.end_agent()
        lost = rig.store.read().gpus[0].uuid
        rig.controls.lose(lost)

        rig.start_agent()

        rig.wait_for(lambda: healths(rig) == [GpuHealth.LOST, GpuHealth.HEALTHY] and told(rig).startswith("GpuLost"))
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.wait_for(lambda: rig.pods() == [])  # evicted, as nothing runs there
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


@pytest.mark.parametrize("two_gpus", ["nvml"], indirect=True)  # simulated GPUs stay as many as there are
def test_one_that_is_taken_off_the_bus_and_found_again_is_not_taken_for_the_next_one(
    two_gpus: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an administrator brings back one that is lost. Meanwhile the driver counts the others anew."""
    monkeypatch.setattr(process, "TRY_GPUS_EACH_S", 0.1)
    with two_gpus() as rig:
        settled(rig)
        rig.end_agent()
        lost = rig.store.read().gpus[0]
        rig.controls.lose(lost.uuid)
        rig.start_agent()
        rig.wait_for(lambda: told(rig).startswith("GpuLost") and healths(rig) == [GpuHealth.LOST, GpuHealth.HEALTHY])

        rig.store.update(lambda state: (replace(state, gpus=state.gpus[1:]), None))
        rig.wait_for(lambda: "GPU 0 is gone" in told(rig))
        rig.store.update(lambda state: (replace(state, gpus=(lost, *state.gpus)), None))

        rig.wait_for(lambda: told(rig) == "AllHealthy: ")
        assert healths(rig) == [GpuHealth.HEALTHY, GpuHealth.HEALTHY]


class OneAfterTheOther:
    """Put around the GPUs and the journal of a node of two: one is lost when it is asked who it is, and answers the
    next time; the other answers, and the disk, when they are let.
    """

    def __init__(self) -> None:
        self.at_the_disk, self.disk_answers, self.other_answers = (threading.Event() for _ in range(3))
        self._found = itertools.count()

    def driver(self, driver: GpuDriver) -> GpuDriver:
        return cast(GpuDriver, _LostOnce(driver) if next(self._found) == 0 else _Late(driver, self.other_answers))

    def journal(self, journal: Journal) -> Journal:
        return cast(Journal, _Slow(self, journal))


class _LostOnce:
    def __init__(self, driver: GpuDriver) -> None:
        self._driver, self._lost = driver, True

    def inventory(self) -> Inventory:
        if self._lost:
            self._lost = False
            raise GpuLost("it is being reset")
        return self._driver.inventory()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class _Late:
    def __init__(self, driver: GpuDriver, answers: threading.Event) -> None:
        self._driver, self._answers = driver, answers

    def inventory(self) -> Inventory:
        assert self._answers.wait(60.0)
        return self._driver.inventory()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class _Slow:
    def __init__(self, order: OneAfterTheOther, journal: Journal) -> None:
        self._order, self._journal = order, journal

    def open_intents(self) -> int:
        self._order.at_the_disk.set()
        assert self._order.disk_answers.wait(60.0)
        return self._journal.open_intents()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_nothing_is_served_while_one_is_still_to_be_read_though_another_has_come_back_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer than there are, the devices of running pods would vanish."""
    monkeypatch.setattr(process, "TRY_GPUS_EACH_S", 0.05)
    order = OneAfterTheOther()
    with AgentRig(folder, gpus=TWO, around=Around(driver=order.driver, journal=order.journal)) as rig:
        assert order.at_the_disk.wait(60.0)  # one has been read
        time.sleep(2 * process.NOTICE_STOP_WITHIN_S)
        assert not rig.kubelet.plugins
        order.other_answers.set()
        order.disk_answers.set()
        rig.wait_for(lambda: healths(rig) == [GpuHealth.HEALTHY, GpuHealth.HEALTHY])
        rig.wait_for(lambda: rig.kubelet.plugins)
