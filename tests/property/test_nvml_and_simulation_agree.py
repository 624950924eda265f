"""The same calls, in any order, have the same outcome over NVML's ABI as on the simulated GPUs themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knative_mig.adapters.sim_gpu import SimulationControls
from knative_mig.core.errors import KnativeMigError
from knative_mig.core.mig_tables import gpu_model
from knative_mig.ports.gpu import GpuDriver, GpuInstance, GpuUuid, create_slice, destroy_slice
from tests.contract.gpu_rigs import Rig, mig_uuid, rig

MODELS = ("A100-40GB", "RTX-PRO-6000-BLACKWELL-96GB")


def cuts(at: int) -> st.SearchStrategy[tuple[object, ...]]:
    """Mostly profiles of that GPU at starts of theirs, now and then neither."""
    own = st.sampled_from(gpu_model(MODELS[at]).places).map(lambda place: (place.profile.name, place.start))
    anywhere = st.sampled_from(gpu_model(MODELS[at]).profiles).map(lambda profile: (profile.name, None))
    odd = st.sampled_from(gpu_model(MODELS[0]).profiles).flatmap(
        lambda profile: st.tuples(st.just(profile.name), st.integers(0, 12))
    )
    verb = st.sampled_from(["create", "create", "half"])
    return st.tuples(verb, st.just(at), own | own | anywhere | odd).map(lambda cut: (cut[0], cut[1], *cut[2]))


gpus = st.integers(0, len(MODELS) - 1)
acts = st.tuples(
    st.sampled_from(["finish", "destroy", "destroy", "halve", "attach", "detach", "list"]), st.integers(0, 30)
)
capacities = st.tuples(st.just("capacity"), gpus, st.sampled_from(gpu_model(MODELS[0]).profiles).map(lambda p: p.name))
modes = st.tuples(st.just("mode"), gpus, st.booleans())
# A mode turned off makes the rest of a play dull, so most plays have none.
plays = st.lists(gpus.flatmap(cuts) | acts | capacities, min_size=15, max_size=50) | st.lists(
    gpus.flatmap(cuts) | acts | modes, min_size=5, max_size=20
)


class Player:
    """Plays steps on one driver and writes down what each came to, without what may differ: texts and UUIDs."""

    def __init__(self, rig: Rig) -> None:
        self.driver: GpuDriver = rig.open()
        self.controls: SimulationControls = rig.controls
        self.uuids: list[GpuUuid] = [gpu.uuid for gpu in rig.store.read().gpus]
        self.seen: list[GpuInstance] = []

    def play(self, step: tuple[object, ...]) -> object:
        try:
            verb, *arguments = step
            return self.outcome(str(verb), *arguments)
        except KnativeMigError as error:
            return error.reason

    def outcome(self, verb: str, *arguments: object) -> object:
        match verb, arguments:
            case "create", (int(at), name, start):
                return self.saw(create_slice(self.driver, self.uuids[at], name, start))  # type: ignore[arg-type]
            case "half", (int(at), name, start):
                return self.saw(self.driver.create_gpu_instance(self.uuids[at], name, start))  # type: ignore[arg-type]
            case "mode", (int(at), bool(enabled)):
                return self.driver.set_mig_mode(self.uuids[at], enabled=enabled)
            case "capacity", (int(at), name):
                return self.driver.remaining_capacity(self.uuids[at], name)  # type: ignore[arg-type]
            case _, (int(at),) if self.seen:
                return self.act(verb, self.seen[at % len(self.seen)])
        return None

    def act(self, verb: str, instance: GpuInstance) -> object:
        match verb:
            case "finish":
                return self.saw(self.driver.create_compute_instance(instance))
            case "halve":
                return self.saw(self.driver.destroy_compute_instance(instance))
            case "destroy":
                destroy_slice(self.driver, instance)
                return "destroyed"
            case "attach" if instance.compute_instance:
                self.controls.attach(mig_uuid(instance), memory_mib=7)
            case "detach" if instance.compute_instance:
                self.controls.detach(mig_uuid(instance))
            case "list":
                return self.driver.processes(instance)
        return None

    def saw(self, instance: GpuInstance) -> object:
        self.seen.append(instance)
        return instance.gi_id, instance.place, instance.compute_instance is not None

    def state(self) -> object:
        return [
            (gpu.mode, [(each.gi_id, each.place, each.compute_instance is None) for each in gpu.instances])
            for gpu in (self.driver.gpu(uuid) for uuid in self.uuids)
        ]

    def start_over(self) -> None:
        self.seen.clear()
        for uuid in self.uuids:
            self.controls.reset(uuid)
            self.driver.set_mig_mode(uuid, enabled=False)
            self.driver.set_mig_mode(uuid, enabled=True)


@contextmanager
def both(folder: Path) -> Iterator[tuple[Player, Player]]:
    spec = ",".join(f"1x{model}" for model in MODELS)
    with rig("sim-memory", spec, folder) as sim, rig("nvml", spec, folder) as nvml:
        yield Player(sim), Player(nvml)


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Player, Player]]:
    with both(tmp_path_factory.mktemp("agree")) as made:
        yield made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(played=plays)
def test_any_order_of_calls_comes_to_the_same(players: tuple[Player, Player], played: list[tuple[object, ...]]) -> None:
    sim, nvml = players
    for player in players:
        player.start_over()
    for step in played:
        assert (step, sim.play(step)) == (step, nvml.play(step))
    assert sim.state() == nvml.state()
