"""Whatever is asked of the simulated GPUs, they hold a legal set of slices, and every legal set can be reached."""

from collections.abc import Sequence
from functools import cache, reduce
from operator import or_
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, open_store
from knative_mig.core.errors import InsufficientResources, SliceInUse, SliceNotFound
from knative_mig.core.geometry import GpuModel, Place, Profile
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.nvml_placement import default_place
from knative_mig.core.profile import Attribute
from knative_mig.ports.gpu import GpuInstance, create_slice, destroy_slice
from tests.contract.gpu_rigs import mig_uuid
from tests.rigs.every_layout import every_layout

# The layouts with every attribute, as tests/data/mig_tables.json counts them.
COUNTS = {"A100-40GB": 2319, "A30-24GB": 76, "RTX-PRO-6000-BLACKWELL-96GB": 717}
PLAIN_COUNTS = {"A100-40GB": 723, "A30-24GB": 26, "RTX-PRO-6000-BLACKWELL-96GB": 26}


@cache
def legal(model: GpuModel) -> frozenset[frozenset[Place]]:
    return frozenset(frozenset(layout) for layout in every_layout(model, model.profiles))


@pytest.mark.parametrize("name", COUNTS)
def test_every_legal_layout_can_be_made_and_nothing_more_fits_than_geometry_says(name: str) -> None:
    model = gpu_model(name)
    driver = SimulatedGpus(open_store(f"1x{name}"))
    uuid = driver.inventory().gpus[0].uuid
    seen = set[frozenset[Place]]()
    for layout in every_layout(model, model.profiles):
        made = [create_slice(driver, uuid, place.profile.name, place.start) for place in layout]
        assert {instance.place for instance in driver.gpu(uuid).instances} == set(layout)
        seen.add(frozenset(layout))
        for instance in made:
            destroy_slice(driver, instance)
    assert len(seen) == COUNTS[name]
    assert sum(all(p.profile.name.attribute is Attribute.PLAIN for p in each) for each in seen) == PLAIN_COUNTS[name]


class OneGpu(RuleBasedStateMachine):
    """Random operations beside a list of what should be there."""

    model = gpu_model("A100-40GB")

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store(f"1x{self.model.name}", new_uuid=lambda: UUID(int=1))
        self.driver = SimulatedGpus(self.store)
        self.uuid = self.store.read().gpus[0].uuid
        self.there: list[GpuInstance] = []
        self.held: set[GpuInstance] = set()
        self.gone: list[GpuInstance] = []

    def taken(self) -> int:
        return reduce(or_, (each.place.mask for each in self.there), 0)

    @rule(data=st.data())
    def create_at(self, data: st.DataObject) -> None:
        place: Place = data.draw(st.sampled_from(self.model.places))
        if place.mask & self.taken():
            with pytest.raises(InsufficientResources):
                create_slice(self.driver, self.uuid, place.profile.name, place.start)
        else:
            self.there.append(create_slice(self.driver, self.uuid, place.profile.name, place.start))

    @rule(data=st.data())
    def create_anywhere(self, data: st.DataObject) -> None:
        profile: Profile = data.draw(st.sampled_from(self.model.profiles))
        place = default_place(self.model, profile, self.taken())
        if place is None:
            with pytest.raises(InsufficientResources):
                create_slice(self.driver, self.uuid, profile.name)
        else:
            made = create_slice(self.driver, self.uuid, profile.name)
            assert made.place == place
            self.there.append(made)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        instance = self.draw(data, self.there)
        if instance in self.held:
            with pytest.raises(SliceInUse):
                destroy_slice(self.driver, instance)
        else:
            destroy_slice(self.driver, instance)
            self.there.remove(instance)
            self.gone.append(instance)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def destroy_what_is_gone(self, data: st.DataObject) -> None:
        with pytest.raises(SliceNotFound):
            destroy_slice(self.driver, self.draw(data, self.gone))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def hold_or_let_go(self, data: st.DataObject) -> None:
        instance, controls = self.draw(data, self.there), SimulationControls(self.store)
        if instance in self.held:
            controls.detach(mig_uuid(instance))
        else:
            controls.attach(mig_uuid(instance))
        self.held ^= {instance}

    @rule()
    def restart(self) -> None:
        self.driver = SimulatedGpus(self.store)

    @invariant()
    def holds_what_it_should_and_that_is_legal(self) -> None:
        seen = self.driver.gpu(self.uuid).instances
        assert set(seen) == set(self.there)
        assert frozenset(instance.place for instance in seen) in legal(self.model)
        uuids = [mig_uuid(each) for each in (*self.there, *self.gone)]
        assert len(set(uuids)) == len(uuids)

    @staticmethod
    def draw(data: st.DataObject, instances: Sequence[GpuInstance]) -> GpuInstance:
        return data.draw(st.sampled_from(instances))


class OneWorkstationGpu(OneGpu):
    model = gpu_model("RTX-PRO-6000-BLACKWELL-96GB")


OneGpu.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
OneWorkstationGpu.TestCase.settings = OneGpu.TestCase.settings
TestOneGpu = OneGpu.TestCase
TestOneWorkstationGpu = OneWorkstationGpu.TestCase
