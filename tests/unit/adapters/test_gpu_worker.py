"""A worker that hangs, dies or is orphaned: its GPU's caller is told in time, and nobody else notices."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from knative_mig.adapters import gpu_worker
from knative_mig.adapters.gpu_worker import Deadlines, GpuWorker, Nvml, Simulated
from knative_mig.adapters.sim_gpu import Call, Fault, Harm, SimulationControls, StateStore, When, open_store
from knative_mig.core.errors import BadInput, DriverNotLoaded, GpuError, GpuTimeout
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import NO_GPU, GpuUuid, HealthEvent, OneGpu

SPEC = "2xA100-40GB"
HALF = ProfileName.parse("3g.20gb")
QUICK = Deadlines(open_s=60.0, read_s=60.0, change_s=1.0)  # where a change hangs; a healthy one takes milliseconds


class Rig:
    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.state = folder / "gpus.json"
        self.store: StateStore = open_store(SPEC, self.state)
        self.controls = SimulationControls(self.store)
        self.one, self.other = (gpu.uuid for gpu in self.store.read().gpus)
        self._opened = opened

    def worker(self, uuid: GpuUuid | None = None, deadlines: Deadlines | None = None) -> GpuWorker:
        """Of the GPU that is expected at the place where it is, or of all."""
        index = [gpu.uuid for gpu in self.store.read().gpus].index(uuid) if uuid else 0
        only = OneGpu(index=index, uuid=uuid) if uuid else None
        made = GpuWorker(Simulated(spec=SPEC, state=self.state), only, deadlines)
        self._opened.callback(made.close)
        return made


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as opened:
        yield Rig(tmp_path, opened)


def hang(call: Call, when: When = When.BEFORE) -> Fault:
    return Fault(call=call, harm=Harm.HANG, when=when)


def test_a_call_that_hangs_is_given_up_and_the_next_one_has_a_new_worker(rig: Rig) -> None:
    worker = rig.worker(rig.one, QUICK)
    worker.gpu(rig.one)
    rig.controls.inject(hang(Call.CREATE_GPU_INSTANCE))

    with pytest.raises(GpuTimeout, match=rf"create_gpu_instance on {rig.one} did not come back in 1 s"):
        worker.create_gpu_instance(rig.one, HALF, 4)

    assert worker.gpu(rig.one).instances == ()
    assert worker.started == 2


def test_one_that_is_to_begin_anew_is_another_for_the_next_question(rig: Rig) -> None:
    worker = rig.worker(rig.one)
    worker.begin_anew()  # none has been started
    worker.gpu(rig.one)
    worker.begin_anew()
    worker.gpu(rig.one)
    assert worker.started == 2


def test_a_call_that_was_given_up_may_have_been_carried_out(rig: Rig) -> None:
    worker = rig.worker(rig.one, QUICK)
    rig.controls.inject(hang(Call.CREATE_GPU_INSTANCE, When.AFTER))
    with pytest.raises(GpuTimeout, match="it may have been carried out"):
        worker.create_gpu_instance(rig.one, HALF, 4)
    assert [str(each.place) for each in worker.gpu(rig.one).instances] == ["3g.20gb@4"]


def test_another_gpus_worker_goes_on_while_one_hangs(rig: Rig) -> None:
    stuck, other = rig.worker(rig.one, QUICK), rig.worker(rig.other)
    other.gpu(rig.other)
    rig.controls.inject(hang(Call.DESTROY_GPU_INSTANCE))
    half = stuck.create_gpu_instance(rig.one, HALF, 4)
    with pytest.raises(GpuTimeout):
        stuck.destroy_gpu_instance(half)
    assert other.create_gpu_instance(rig.other, HALF, 4).gpu == rig.other
    assert (stuck.started, other.started) == (1, 1)


def test_a_worker_that_dies_in_a_call_is_told_and_replaced(rig: Rig) -> None:
    worker = rig.worker(rig.one)
    rig.controls.inject(Fault(call=Call.CREATE_COMPUTE_INSTANCE, harm=Harm.KILL))
    half = worker.create_gpu_instance(rig.one, HALF, 4)
    with pytest.raises(GpuError, match=rf"the worker of {rig.one} ended \(-9\) during create_compute_instance"):
        worker.create_compute_instance(half)
    assert worker.create_compute_instance(half).compute_instance is not None


def test_a_driver_that_cannot_be_opened_says_why_each_time(rig: Rig) -> None:
    worker = GpuWorker(Simulated(spec="1xH100-80GB", state=rig.state))
    for _ in range(2):
        with pytest.raises(BadInput, match="holds the simulated GPUs"):
            worker.inventory()
    worker.close()


def test_no_driver_is_told_as_on_this_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nonexistent")
    worker = GpuWorker(Nvml())
    try:
        gpus = worker.inventory().gpus
    except DriverNotLoaded:
        gpus = ()
    finally:
        worker.close()
    assert all(gpu.uuid for gpu in gpus)


def test_it_hears_of_its_own_gpu_alone(rig: Rig) -> None:
    worker = rig.worker(rig.one)
    worker.gpu(rig.one)
    rig.controls.raise_xid(rig.other, 79)
    rig.controls.raise_xid(rig.one, 48)
    assert worker.wait_for_event(0) == HealthEvent(gpu=rig.one, xid=48, gi_id=None)
    assert worker.wait_for_event(0) is None


def test_one_that_is_started_while_another_gpu_hangs_or_is_lost_serves_its_own(rig: Rig) -> None:
    rig.controls.hang(rig.one)
    worker = rig.worker(rig.other)
    assert worker.gpu(rig.other).uuid == rig.other
    assert [gpu.uuid for gpu in worker.inventory().gpus] == [rig.other]
    rig.controls.reset(rig.one)
    rig.controls.lose(rig.one)
    assert rig.worker(rig.other).inventory().unusable == ()


def test_one_whose_own_gpu_hangs_is_given_up_as_it_opens_it(rig: Rig) -> None:
    rig.controls.hang(rig.one)
    worker = rig.worker(rig.one, Deadlines(open_s=2.0))
    with pytest.raises(GpuTimeout, match=f"opening the driver on {rig.one}"):
        worker.gpu(rig.one)
    rig.controls.hang(rig.one, hangs=False)
    assert worker.gpu(rig.one).uuid == rig.one


def test_gpus_are_counted_while_one_hangs(rig: Rig) -> None:
    rig.controls.hang(rig.one)
    worker = GpuWorker(Simulated(spec=SPEC, state=rig.state), NO_GPU)
    assert worker.count() == 2
    worker.close()


def test_a_gpu_of_which_only_the_index_was_known_is_kept_to_by_its_uuid(rig: Rig) -> None:
    worker = GpuWorker(Simulated(spec=SPEC, state=rig.state), OneGpu(index=1), QUICK)
    (found,) = worker.inventory().gpus
    worker.keep_to(found.uuid)
    rig.controls.inject(hang(Call.CREATE_GPU_INSTANCE))
    with pytest.raises(GpuTimeout, match=f"create_gpu_instance on {rig.other}"):
        worker.create_gpu_instance(rig.other, HALF, 4)
    assert worker.gpu(rig.other).uuid == rig.other
    worker.close()


def test_readings_share_one_model_also_those_of_the_next_worker(rig: Rig) -> None:
    worker = rig.worker(rig.one, Deadlines(open_s=60.0, read_s=1.0, change_s=60.0))
    before = worker.gpu(rig.one).model
    rig.controls.inject(hang(Call.PROCESSES))
    made = worker.create_compute_instance(worker.create_gpu_instance(rig.one, HALF, 4))
    with pytest.raises(GpuTimeout):
        worker.processes(made)
    assert worker.gpu(rig.one).model is before
    assert worker.inventory().gpus[0].model is before


def test_a_gpu_and_who_runs_on_it_is_one_question_however_many_slices_it_has(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = rig.worker(rig.one)
    for start in range(3):
        worker.create_compute_instance(worker.create_gpu_instance(rig.one, ProfileName.parse("1g.5gb"), start))
    asked: list[str] = []
    ask = worker._ask

    def noted(to: gpu_worker._Worker, question: object, deadline_s: float, what: str) -> object:
        asked.append(what)
        return ask(to, question, deadline_s, what)

    monkeypatch.setattr(worker, "_ask", noted)
    read = worker.occupancy(rig.one)
    assert asked == ["occupancy"]
    assert len(read.processes) == len(read.gpu.instances) == 3
    assert read.gpu.model is worker.gpu(rig.one).model


ORPHAN = """
import sys
from pathlib import Path
from knative_mig.adapters.gpu_worker import GpuWorker, Simulated
worker = GpuWorker(Simulated(spec=sys.argv[1], state=Path(sys.argv[2])))
gpu = worker.gpu(worker.inventory().gpus[0].uuid)
print(worker._worker._process.pid, flush=True)
worker.create_gpu_instance(gpu.uuid, gpu.model.profiles[0].name)
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "in-a-call-that-hangs"])
def test_it_dies_with_its_parent(rig: Rig, *, hangs: bool) -> None:
    if hangs:
        rig.controls.inject(hang(Call.CREATE_GPU_INSTANCE))
    command = [sys.executable, "-c", ORPHAN, SPEC, str(rig.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        pid = os.pidfd_open(worker)
        parent.send_signal(signal.SIGKILL)
        _wait_for_end(pid)


def test_one_whose_parent_died_before_it_could_ask_to_die_with_it_ends_by_itself() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        nobody = os.getpid() + 1  # not the parent that it has
        command = [sys.executable, "-m", "knative_mig.adapters.gpu_worker", str(theirs.fileno()), str(nobody)]
        assert subprocess.run(command, pass_fds=(theirs.fileno(),), timeout=60, check=False).returncode == 0


def test_none_is_started_once_it_is_closed(rig: Rig) -> None:
    worker = rig.worker(rig.one)
    worker.close()
    with pytest.raises(GpuError, match="closed"):
        worker.gpu(rig.one)
    assert worker.started == 0


def test_one_that_is_being_started_as_it_is_closed_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = rig.worker(rig.one)
    ends: list[int] = []
    start = gpu_worker._Worker.__init__

    def closed_meanwhile(starting: gpu_worker._Worker) -> None:
        start(starting)
        ends.append(os.pidfd_open(starting._process.pid))
        worker.close()

    monkeypatch.setattr(gpu_worker._Worker, "__init__", closed_meanwhile)
    with pytest.raises(GpuError, match="closed while it started"):
        worker.gpu(rig.one)
    _wait_for_end(ends[0])


def _wait_for_end(pid: int) -> None:
    try:
        assert select.select([pid], [], [], 30)[0]
    finally:
        os.close(pid)


def test_closing_does_not_wait_for_a_call_that_hangs(rig: Rig) -> None:
    worker = rig.worker(rig.one)
    worker.gpu(rig.one)
    rig.controls.inject(hang(Call.CREATE_GPU_INSTANCE))
    said: list[str] = []

    def call() -> None:
        try:
            worker.create_gpu_instance(rig.one, HALF, 4)
        except GpuError as error:
            said.append(error.reason)

    caller = Thread(target=call)
    caller.start()
    while rig.store.read().faults:
        pass  # until the call has arrived: the fault is spent then
    worker.close()
    caller.join(30)
    assert said == ["GpuError"]
