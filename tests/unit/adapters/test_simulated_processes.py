"""On simulated GPUs, a slice that a pod holds is really in use, as long as the pod has a process."""

import subprocess
from collections.abc import Iterator

import pytest

from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, open_store
from knative_mig.adapters.simulated_processes import SimulatedProcesses
from knative_mig.core.errors import SliceInUse
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuInstance, MigUuid, create_slice, destroy_slice
from tests.rigs.agent_worlds import FakeProcesses


class Rig:
    def __init__(self, pids: list[int]) -> None:
        store = open_store("1xA100-40GB")
        self.gpus = SimulatedGpus(store)
        self.relay, self.engine, self.queue_proxy = pids
        uuid = self.gpus.inventory().gpus[0].uuid
        self.slice: GpuInstance = create_slice(self.gpus, uuid, ProfileName.parse("3g.20gb"), 4)
        assert self.slice.compute_instance is not None
        self.uuid: MigUuid = self.slice.compute_instance.mig_uuid
        self.processes = FakeProcesses(pods={"uid": set(pids)}, parents={self.engine: self.relay})
        self.controls = SimulationControls(store)
        self.sim = SimulatedProcesses(self.controls, self.processes)

    def held(self) -> None:
        self.sim.step({self.uuid: frozenset({"uid"})})

    @property
    def on_it(self) -> set[int]:
        return {process.pid for process in self.gpus.processes(self.slice)}


@pytest.fixture
def rig() -> Iterator[Rig]:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    try:
        yield Rig([each.pid for each in sleepers])
    finally:
        for each in sleepers:
            each.kill()
            each.wait()


def test_a_pod_that_holds_a_slice_keeps_it_from_being_destroyed(rig: Rig) -> None:
    rig.held()
    assert rig.on_it == {rig.relay, rig.engine, rig.queue_proxy}
    with pytest.raises(SliceInUse):
        destroy_slice(rig.gpus, rig.slice)


def test_when_its_processes_have_gone_or_the_pod_has_the_slice_is_free(rig: Rig) -> None:
    rig.held()
    rig.processes.pods["uid"] = {rig.engine}
    rig.held()
    assert rig.on_it == {rig.engine}
    rig.sim.step({})
    assert rig.on_it == set()
    destroy_slice(rig.gpus, rig.slice)


def test_a_process_that_ended_while_it_was_looked_at_is_on_nothing(rig: Rig) -> None:
    rig.processes.pods["uid"] = {2**22 + 1}
    rig.held()
    assert rig.on_it == set()


def test_after_a_relay_has_left_only_what_it_started_is_on_the_slice_until_another_pod_has_it(rig: Rig) -> None:
    rig.held()
    rig.sim.leaves(rig.uuid, rig.relay)
    rig.held()
    assert rig.on_it == {rig.engine}
    rig.processes.pods = {"uid": {rig.relay, rig.queue_proxy}, "next": {rig.engine}}
    rig.held()
    assert rig.on_it == set()
    rig.sim.step({rig.uuid: frozenset({"next"})})
    assert rig.on_it == {rig.engine}


def test_after_a_restart_nobody_who_was_there_is_on_a_released_slice_and_what_they_start_is(rig: Rig) -> None:
    rig.processes.pods["uid"] = {rig.relay, rig.queue_proxy}
    rig.sim = SimulatedProcesses(rig.controls, rig.processes, released=frozenset({rig.uuid}))
    rig.held()
    assert rig.on_it == set()
    rig.processes.pods["uid"] |= {rig.engine}
    rig.held()
    assert rig.on_it == {rig.engine}


def test_a_slice_that_was_destroyed_meanwhile_is_no_error(rig: Rig) -> None:
    destroy_slice(rig.gpus, rig.slice)
    rig.held()
    rig.sim.step({})
