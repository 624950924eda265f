"""What happened to GPUs is counted, and said where somebody should look."""

import pytest
from prometheus_client import CollectorRegistry

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, SimulatedGpus, SimulationControls, open_store
from knative_mig.core.errors import GpuLost, IllegalPlacement
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.gpu import create_slice, destroy_slice
from reconfigurer.agent.counted_gpus import CountedGpus
from reconfigurer.agent.gpu_loop import Happened, Kind
from reconfigurer.agent.happenings import Happenings
from reconfigurer.agent.metrics import AgentMetrics
from tests.rigs.agent_worlds import NODE, FakeEvents, profile


def test_calls_to_gpus_are_counted_by_what_came_of_them() -> None:
    registry = CollectorRegistry()
    gpus = CountedGpus(SimulatedGpus(open_store("1xA100-40GB")), AgentMetrics(registry))
    uuid = gpus.inventory().gpus[0].uuid
    destroy_slice(gpus, create_slice(gpus, uuid, profile("3g.20gb"), 4))
    with pytest.raises(IllegalPlacement):
        gpus.create_gpu_instance(uuid, profile("3g.20gb"), 3)

    def count(call: str, outcome: str) -> float | None:
        labels = {"call": call, "outcome": outcome}
        return registry.get_sample_value("knative_mig_agent_hardware_calls_total", labels)

    assert count("create_gpu_instance", "ok") == 1
    assert count("create_gpu_instance", "IllegalPlacement") == 1
    assert count("destroy_gpu_instance", "ok") == 1


def test_a_reading_is_counted_as_what_it_is_made_of() -> None:
    registry, store = CollectorRegistry(), open_store("1xA100-40GB")
    gpus = CountedGpus(SimulatedGpus(store), AgentMetrics(registry))
    uuid = gpus.inventory().gpus[0].uuid
    for start in (0, 1):
        create_slice(gpus, uuid, profile("1g.5gb"), start)
    SimulationControls(store).inject(Fault(call=Call.PROCESSES, harm=Harm.FAIL, error=GpuLost))
    gpus.occupancy(uuid)

    def count(call: str, outcome: str) -> float | None:
        labels = {"call": call, "outcome": outcome}
        return registry.get_sample_value("knative_mig_agent_hardware_calls_total", labels)

    assert (count("gpu", "ok"), count("processes", "ok"), count("processes", "GpuLost")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param(Kind.CREATED, [], id="what goes right is not said"),
        pytest.param(Kind.IN_USE, ["SliceInUse"], id="in use"),
        pytest.param(Kind.HANDLE_HELD, ["SliceHandleHeld"], id="held by a monitor"),
        pytest.param(Kind.TIMED_OUT, ["SliceTimedOut"], id="hung"),
        pytest.param(Kind.XID, ["SliceXid"], id="xid"),
        pytest.param(Kind.HEALED, ["SliceHealed"], id="healed"),
    ],
)
def test_what_an_operator_should_look_at_is_an_event(kind: Kind, said: list[str]) -> None:
    events, registry = FakeEvents(), CollectorRegistry()
    Happenings(NODE, events, AgentMetrics(registry)).happened(Happened(kind=kind, gpu=GpuUuid("A"), why="so"))
    assert [reason for _, reason, _ in events.said] == said
    aborts = registry.get_sample_value("knative_mig_agent_in_use_aborts_total")
    assert aborts == (1 if kind in {Kind.IN_USE, Kind.HANDLE_HELD} else 0)
