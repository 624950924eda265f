"""The simulated GPUs' own clock: a slice counts from its making to its end, a process while it is on it."""

import os
import subprocess
import sys

import pytest

from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, open_store
from knative_mig.adapters.sim_gpu.share_clock import ShareClock, ShareSeconds
from knative_mig.core.errors import SliceInUse
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuInstance, MigUuid, create_slice, destroy_slice


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.store = ShareClock(open_store("1xA100-40GB"), lambda: self.now)
        self.driver, self.controls = SimulatedGpus(self.store), SimulationControls(self.store)
        self.gpu = self.store.read().gpus[0].uuid

    def make(self, profile: str) -> GpuInstance:
        return create_slice(self.driver, self.gpu, ProfileName.parse(profile))

    def seconds(self) -> dict[str, ShareSeconds]:
        return {str(profile): seconds for (_, profile), seconds in self.store.seconds().items()}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def mig_uuid(instance: GpuInstance) -> MigUuid:
    assert instance.compute_instance is not None
    return instance.compute_instance.mig_uuid


def test_a_slice_counts_while_it_exists_and_in_use_while_a_process_is_on_it(rig: Rig) -> None:
    rig.now += 50
    half, eighth = rig.make("3g.20gb"), rig.make("1g.5gb")
    rig.now += 10
    rig.controls.attach(mig_uuid(half), pid=os.getpid())
    rig.now += 10
    with pytest.raises(SliceInUse):
        destroy_slice(rig.driver, half)
    rig.controls.detach(mig_uuid(half), pid=os.getpid())
    destroy_slice(rig.driver, eighth)
    rig.now += 10
    assert rig.seconds() == {
        "3g.20gb": ShareSeconds(cut=15.0, in_use=5.0),
        "1g.5gb": ShareSeconds(cut=2.5, in_use=0.0),
    }


def test_a_reset_ends_what_it_takes_with_it(rig: Rig) -> None:
    rig.make("7g.40gb")
    rig.now += 4
    rig.controls.reset(rig.gpu)
    rig.now += 4
    assert rig.seconds() == {"7g.40gb": ShareSeconds(cut=4.0)}


def test_a_process_that_has_ended_counts_until_somebody_looks(rig: Rig) -> None:
    whole = rig.make("7g.40gb")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        rig.controls.attach(mig_uuid(whole), pid=process.pid)
        rig.now += 2
        process.communicate()
    rig.seconds()
    rig.now += 3
    assert rig.seconds() == {"7g.40gb": ShareSeconds(cut=5.0, in_use=2.0)}
