"""GPUs outlive and outnumber the processes that use them; run for each implementation that several can open."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, When
from knative_mig.core.errors import GpuLost, GpuTimeout, SliceInUse, SliceNotFound
from knative_mig.core.layout import overlap
from knative_mig.ports.gpu import MigUuid, SliceProcess, create_slice, destroy_slice
from tests.contract.gpu_rigs import Rig, first, mig_uuid, name
from tests.nvml_abi import library

ROOT = Path(__file__).parents[2]


@contextmanager
def started(gpus: Rig, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.contract.gpu_client", gpus.kind, str(gpus.path), *words]
    environment = {**os.environ, **library.environment(gpus.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def client(gpus: Rig, *words: str) -> tuple[int, str]:
    with started(gpus, *words) as process:
        out, _ = process.communicate(timeout=60)
        return process.returncode, out.strip()


def places(gpus: Rig) -> list[str]:
    return [str(instance.place) for instance in gpus.store.read().gpus[0].instances]


class TestSharing:
    def test_what_one_process_makes_another_sees_and_takes_back(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        create_slice(driver, first(driver), name("3g.20gb"), 4)

        assert client(shared_gpus, "make", "2g.10gb", "0") == (0, "2g.10gb@0 3g.20gb@4")
        assert [str(i.place) for i in driver.gpu(first(driver)).instances] == ["2g.10gb@0", "3g.20gb@4"]
        assert client(shared_gpus, "destroy") == (0, "3g.20gb@4")
        assert [str(i.place) for i in driver.gpu(first(driver)).instances] == ["3g.20gb@4"]

    def test_what_one_process_took_is_refused_to_another(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        create_slice(driver, first(driver), name("3g.20gb"), 4)

        code, said = client(shared_gpus, "make", "1g.5gb", "6")
        assert (code, said.partition(":")[0]) == (1, "InsufficientResources")

    def test_a_slice_taken_back_elsewhere_is_gone_here(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        seen = create_slice(driver, first(driver), name("3g.20gb"), 4)
        client(shared_gpus, "destroy")
        with pytest.raises(SliceNotFound):
            driver.processes(seen)

    def test_a_restart_finds_the_slices_with_their_uuids(self, shared_gpus: Rig) -> None:
        made = create_slice(driver := shared_gpus.open(), first(driver), name("3g.20gb"), 4)
        assert shared_gpus.reopen().gpu(made.gpu).instances == (made,)

    def test_a_reboot_leaves_the_gpus_and_no_slice(self, shared_gpus: Rig) -> None:
        made = create_slice(driver := shared_gpus.open(), first(driver), name("3g.20gb"), 4)
        shared_gpus.controls.reboot()
        assert shared_gpus.reopen().gpu(made.gpu).instances == ()

    def test_processes_that_cut_at_the_same_time_never_overlap_and_waste_nothing(self, shared_gpus: Rig) -> None:
        with started(shared_gpus, "any", "1g.5gb") as one, started(shared_gpus, "any", "1g.5gb") as two:
            made = [int((process.communicate(timeout=60)[0]).split()[1]) for process in (one, two)]

        assert sum(made) == 7
        assert overlap([instance.place for instance in shared_gpus.store.read().gpus[0].instances]) is None


class TestProcessesOnASlice:
    def test_a_slice_with_a_process_is_in_use_until_the_process_ends(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        assert driver.processes(made) == ()

        with started(shared_gpus, "hold") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert driver.processes(made) == (SliceProcess(pid=process.pid, memory_mib=0),)
            with pytest.raises(SliceInUse):
                destroy_slice(driver, made)
            assert driver.gpu(made.gpu).instances == (made,)

        assert driver.processes(made) == ()
        destroy_slice(driver, made)

    def test_a_reading_of_all_at_once_says_what_each_question_says(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        idle = create_slice(driver, first(driver), name("1g.5gb"), 0)
        held = create_slice(driver, first(driver), name("3g.20gb"), 4)
        half_made = driver.create_gpu_instance(first(driver), name("1g.5gb"), 1)
        shared_gpus.controls.attach(mig_uuid(held), memory_mib=5)

        read = driver.occupancy(first(driver))

        assert read.gpu == driver.gpu(first(driver))
        assert read.gpu.instances == (idle, half_made, held)
        assert read.processes == {idle.gi_id: (), held.gi_id: driver.processes(held)}

    def test_a_slice_whose_processes_are_not_told_hides_no_others(self, shared_gpus: Rig) -> None:
        if shared_gpus.kind == "nvml":
            pytest.skip("the ABI library lists processes by a call of its own")
        driver = shared_gpus.open()
        first_one = create_slice(driver, first(driver), name("1g.5gb"), 0)
        other = create_slice(driver, first(driver), name("1g.5gb"), 1)
        shared_gpus.controls.inject(Fault(call=Call.PROCESSES, harm=Harm.FAIL, error=GpuLost))
        read = driver.occupancy(first(driver))
        assert isinstance(read.processes[first_one.gi_id], GpuLost)
        assert read.processes[other.gi_id] == ()

    def test_a_driver_that_gives_up_on_a_slice_has_not_read_the_gpu(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        create_slice(driver, first(driver), name("1g.5gb"), 0)
        shared_gpus.controls.inject(Fault(call=Call.PROCESSES, harm=Harm.FAIL, error=GpuTimeout))
        with pytest.raises(GpuTimeout):
            driver.occupancy(first(driver))
        assert driver.occupancy(first(driver)).gpu.instances

    def test_memory_is_told_and_a_process_can_let_go(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        shared_gpus.controls.attach(mig_uuid(made), memory_mib=1234)
        assert driver.processes(made) == (SliceProcess(pid=os.getpid(), memory_mib=1234),)

        shared_gpus.controls.detach(mig_uuid(made))
        destroy_slice(driver, made)

    def test_nobody_attaches_to_a_uuid_of_the_past(self, shared_gpus: Rig) -> None:
        driver = shared_gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        destroy_slice(driver, made)
        with pytest.raises(SliceNotFound, match=mig_uuid(made)):
            shared_gpus.controls.attach(MigUuid(mig_uuid(made)))


class TestKilled:
    @pytest.mark.parametrize(
        ("call", "when", "left"),
        [
            (Call.CREATE_GPU_INSTANCE, When.BEFORE, []),
            (Call.CREATE_GPU_INSTANCE, When.AFTER, ["2g.10gb@0"]),
            (Call.CREATE_COMPUTE_INSTANCE, When.BEFORE, ["2g.10gb@0"]),
            (Call.CREATE_COMPUTE_INSTANCE, When.AFTER, ["2g.10gb@0"]),
        ],
        ids=lambda value: getattr(value, "value", None),
    )
    def test_a_process_killed_in_a_call_has_done_it_or_not_and_its_successor_lives(
        self, shared_gpus: Rig, call: Call, when: When, left: list[str]
    ) -> None:
        shared_gpus.controls.inject(Fault(call=call, harm=Harm.KILL, when=when))

        code, _ = client(shared_gpus, "make", "2g.10gb", "0")

        assert code == -signal.SIGKILL
        assert places(shared_gpus) == left
        half_made = call is Call.CREATE_COMPUTE_INSTANCE and when is When.BEFORE
        assert all(
            (i.mig_uuid is None) is (half_made or call is not Call.CREATE_COMPUTE_INSTANCE)
            for i in shared_gpus.store.read().gpus[0].instances
        )
        assert client(shared_gpus, "make", "3g.20gb", "4")[0] == 0

    @pytest.mark.parametrize("lines", [1, 4, 7, 12])
    def test_a_kill_at_any_instant_leaves_gpus_that_can_be_read_and_used(self, shared_gpus: Rig, lines: int) -> None:
        with started(shared_gpus, "churn") as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)

        assert set(places(shared_gpus)) <= {"1g.5gb@0", "2g.10gb@2", "3g.20gb@4"}
        driver = shared_gpus.open()
        for instance in driver.gpu(first(driver)).instances:
            destroy_slice(driver, instance)
        create_slice(driver, first(driver), name("7g.40gb"), 0)
