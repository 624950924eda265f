"""What is the simulation's own: its spec, its clock, its faults by chance, the pids it trusts."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import NoReturn

import pytest

from knative_mig.adapters.sim_gpu import (
    HARDWARE_LIKE_LATENCY_S,
    Call,
    Fault,
    Harm,
    SimulatedGpus,
    SimulationControls,
    StateStore,
    When,
    open_store,
)
from knative_mig.adapters.sim_gpu.faults import count
from knative_mig.adapters.sim_gpu.pids import start_time
from knative_mig.adapters.sim_gpu.state import Holder, State, parse_spec
from knative_mig.core.errors import BadInput, GpuError, SliceNotFound, UnknownModel
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuUuid, MigUuid, create_slice, destroy_slice

HALF = ProfileName.parse("3g.20gb")


class Clock:
    """Time passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def store() -> StateStore:
    return open_store("2xA100-40GB")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def first(store: StateStore) -> GpuUuid:
    return store.read().gpus[0].uuid


class TestSpec:
    def test_models_by_short_name_or_product_in_the_order_given(self) -> None:
        models = parse_spec("2xA100-40GB, 1xNVIDIA H100 80GB HBM3")
        assert [model.name for model in models] == ["A100-40GB", "A100-40GB", "H100-80GB"]

    @pytest.mark.parametrize("spec", ["", "A100-40GB", "0xA100-40GB", "-1xA100-40GB", "1xA100-40GB,", "x", "9999xA30"])
    def test_what_is_not_a_count_of_models_is_refused(self, spec: str) -> None:
        with pytest.raises(BadInput):
            parse_spec(spec)

    @pytest.mark.parametrize("count", ["0", "1025", "999999999"])
    def test_a_count_that_is_none_is_told_with_those_that_are(self, count: str) -> None:
        with pytest.raises(
            BadInput, match=f"^'{count}xA30-24GB' asks for {count} simulated GPUs: legal are 1 to 1024 in each part$"
        ):
            parse_spec(f"{count}xA30-24GB")

    def test_an_unknown_model_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UnknownModel, match=r"'T4' is not a known GPU model: known are A30-24GB, A100-40GB"):
            parse_spec("1xT4")

    def test_absurdly_many_are_refused(self) -> None:
        with pytest.raises(BadInput, match="asks for 2048 simulated GPUs: at most 1024 are"):
            parse_spec("1024xA100-40GB,1024xH100-80GB")

    def test_two_nodes_do_not_share_uuids(self) -> None:
        assert first(open_store("1xA100-40GB")) != first(open_store("1xA100-40GB"))


class TestTime:
    def test_each_call_takes_its_latency(self, store: StateStore, clock: Clock) -> None:
        gpus = SimulatedGpus(store, latency_s=HARDWARE_LIKE_LATENCY_S, sleep=clock.sleep, clock=clock)
        destroy_slice(gpus, create_slice(gpus, first(store), HALF, 0))
        assert clock.slept == [0.2, 0.1, 0.3, 0.7]

    def test_without_latencies_nothing_sleeps(self, store: StateStore, clock: Clock) -> None:
        gpus = SimulatedGpus(store, sleep=clock.sleep, clock=clock)
        destroy_slice(gpus, create_slice(gpus, first(store), HALF, 0))
        assert clock.slept == []

    def test_waiting_for_an_event_ends_when_the_time_is_up(self, store: StateStore, clock: Clock) -> None:
        gpus = SimulatedGpus(store, sleep=clock.sleep, clock=clock)
        assert gpus.wait_for_event(1.0) is None
        assert clock.now == pytest.approx(1.0)

    def test_an_event_ends_the_waiting(self, store: StateStore) -> None:
        clock = Clock()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now > 0.5:
                SimulationControls(store).raise_xid(first(store), 79)

        event = SimulatedGpus(store, sleep=sleep, clock=clock).wait_for_event(60)
        assert event is not None
        assert event.xid == 79
        assert clock.now < 1

    def test_only_the_last_events_are_kept(self, store: StateStore) -> None:
        for xid in range(100):
            SimulationControls(store).raise_xid(first(store), xid)
        assert [each.event.xid for each in store.read().events] == list(range(36, 100))


class Killed(BaseException):
    pass


def die() -> NoReturn:
    raise Killed


class TestFaults:
    @pytest.mark.parametrize(("when", "made"), [(When.BEFORE, 0), (When.AFTER, 1)], ids=["before", "after"])
    def test_a_kill_is_spent_before_it_strikes(self, store: StateStore, when: When, made: int) -> None:
        gpus = SimulatedGpus(store, die=die)
        SimulationControls(store).inject(Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.KILL, when=when))
        with pytest.raises(Killed):
            gpus.create_gpu_instance(first(store), HALF, 0)
        assert store.read().faults == ()
        assert len(store.read().gpus[0].instances) == made

    def test_a_hang_sleeps_as_long_as_it_says(self, store: StateStore, clock: Clock) -> None:
        SimulationControls(store).inject(Fault(call=Call.PROCESSES, harm=Harm.HANG, hang_s=7))
        gpus = SimulatedGpus(store, sleep=clock.sleep, clock=clock)
        gpus.processes(create_slice(gpus, first(store), HALF, 0))
        assert clock.slept == [7]

    def test_chance_follows_its_seed_and_its_odds(self) -> None:
        def struck(seed: int) -> list[bool]:
            faults: tuple[Fault, ...] = (
                Fault(call=Call.INVENTORY, harm=Harm.FAIL, nth=None, probability=0.25, seed=seed),
            )
            hits: list[bool] = []
            for _ in range(1000):
                faults, now = count(faults, Call.INVENTORY)
                hits.append(bool(now))
            return hits

        assert struck(1) == struck(1) != struck(2)
        assert 200 < sum(struck(1)) < 300

    def test_other_calls_do_not_count(self) -> None:
        fault = Fault(call=Call.INVENTORY, harm=Harm.FAIL)
        assert count((fault,), Call.PROCESSES) == ((fault,), ())

    @pytest.mark.parametrize(
        "wrong", [{"nth": 0}, {"probability": 1.5}, {"hang_s": -1.0}], ids=["zeroth", "odds", "negative-hang"]
    )
    def test_an_impossible_fault_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(BadInput):
            Fault(call=Call.INVENTORY, harm=Harm.FAIL, **wrong)  # type: ignore[arg-type]

    def test_without_a_name_it_is_a_plain_gpu_error(self, store: StateStore) -> None:
        SimulationControls(store).inject(Fault(call=Call.INVENTORY, harm=Harm.FAIL))
        with pytest.raises(GpuError, match="injected into inventory") as raised:
            SimulatedGpus(store).inventory()
        assert type(raised.value) is GpuError


class TestPids:
    def test_a_process_is_told_from_an_earlier_one_of_the_same_pid(self, store: StateStore) -> None:
        gpus = SimulatedGpus(store)
        made = create_slice(gpus, first(store), HALF, 0)
        earlier = Holder(pid=os.getpid(), started=(start_time(os.getpid()) or 0) - 1, memory_mib=0)

        def attach(state: State) -> tuple[State, None]:
            gpu = state.gpus[0]
            return state.with_gpu(gpu.with_instance(replace(gpu.instances[0], holders=(earlier,)))), None

        store.update(attach)
        assert gpus.processes(made) == ()
        destroy_slice(gpus, made)

    def test_a_process_holds_its_slice_until_it_ends(self, store: StateStore) -> None:
        gpus = SimulatedGpus(store)
        made = create_slice(gpus, first(store), HALF, 0)
        assert made.compute_instance is not None
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            SimulationControls(store).attach(made.compute_instance.mig_uuid, pid=process.pid)
            assert [each.pid for each in gpus.processes(made)] == [process.pid]
            process.communicate(b"\n")
        assert gpus.processes(made) == ()

    def test_a_zombie_holds_nothing(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "print(flush=True)"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read()  # to its end, but not waited for
            while start_time(process.pid) is not None:
                pass
            assert process.returncode is None

    def test_attaching_twice_is_one_process_and_the_dead_are_forgotten(self, store: StateStore) -> None:
        gpus, controls = SimulatedGpus(store), SimulationControls(store)
        made = create_slice(gpus, first(store), HALF, 0)
        assert made.compute_instance is not None
        for memory_mib in (1, 2):
            controls.attach(made.compute_instance.mig_uuid, memory_mib=memory_mib)
        assert [each.memory_mib for each in gpus.processes(made)] == [2]

    def test_nobody_attaches_who_is_not_there(self, store: StateStore) -> None:
        with pytest.raises(BadInput, match="there is no process 4194305"):
            SimulationControls(store).attach(MigUuid("MIG-1"), pid=4_194_305)
        with pytest.raises(SliceNotFound):
            SimulationControls(store).detach(MigUuid("MIG-1"))
