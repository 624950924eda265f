"""GPUs that fail: lost ones, critical events, and calls made to go wrong; run for each implementation of the port."""

from contextlib import suppress

import pytest

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, When
from knative_mig.core.errors import (
    GpuError,
    GpuLost,
    GpuNotFound,
    GpuTimeout,
    InsufficientResources,
    ResetRequired,
    SliceInUse,
)
from knative_mig.ports.gpu import GpuUuid, HealthEvent, OneGpu, create_slice, destroy_slice
from tests.contract.gpu_rigs import Rig, first, mig_uuid, name


class TestLost:
    def test_a_lost_gpu_is_listed_as_such_and_hides_no_other(self, gpus: Rig) -> None:
        driver = gpus.open()
        lost, kept, other = (gpu.uuid for gpu in driver.inventory().gpus)
        gpus.controls.lose(lost)

        inventory = driver.inventory()

        assert [gpu.uuid for gpu in inventory.gpus] == [kept, other]
        (unusable,) = inventory.unusable
        assert (unusable.index, unusable.uuid, type(unusable.error)) == (0, lost, GpuLost)

    def test_every_call_to_it_says_so(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        gpus.controls.lose(made.gpu)
        with pytest.raises(GpuLost):
            driver.gpu(made.gpu)
        with pytest.raises(GpuLost):
            driver.create_gpu_instance(made.gpu, name("1g.5gb"), 0)
        with pytest.raises(GpuLost):
            driver.destroy_compute_instance(made)
        with pytest.raises(GpuLost):
            driver.set_mig_mode(made.gpu, enabled=False)

    def test_a_gpu_that_wants_a_reset_says_so_until_it_has_been_reset(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        assert driver.gpu(gpu).wants_reset is False
        gpus.controls.want_reset(gpu)
        assert driver.gpu(gpu).wants_reset is True
        gpus.controls.reset(gpu)
        assert gpus.reopen().gpu(gpu).wants_reset is False

    def test_a_driver_opened_while_a_gpu_is_lost_finds_it_again_after_its_reset(self, gpus: Rig) -> None:
        lost = first(gpus.open())
        gpus.controls.lose(lost)
        driver = gpus.reopen()
        assert [type(each.error) for each in driver.inventory().unusable] == [GpuLost]

        gpus.controls.reset(lost)

        assert driver.inventory().gpus[0].uuid == lost
        assert driver.inventory().unusable == ()


class TestEvents:
    def test_nothing_happens_within_the_time_given(self, gpus: Rig) -> None:
        assert gpus.open().wait_for_event(0.01) is None

    def test_events_come_in_order_with_the_slice_that_they_concern(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        gpus.controls.raise_xid(made.gpu, 43, gi_id=made.gi_id)
        gpus.controls.raise_xid(made.gpu, 79)

        assert driver.wait_for_event(5) == HealthEvent(gpu=made.gpu, xid=43, gi_id=made.gi_id)
        assert driver.wait_for_event(5) == HealthEvent(gpu=made.gpu, xid=79, gi_id=None)
        assert driver.wait_for_event(0) is None

    def test_events_from_before_a_driver_was_opened_are_not_repeated(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpus.controls.raise_xid(first(driver), 79)
        assert gpus.reopen().wait_for_event(0) is None


class TestOpenedForOneGpu:
    """The worker of one GPU; the three of a rig are counted 0, 1, 2."""

    def test_another_that_hangs_or_is_lost_is_not_asked(self, gpus: Rig) -> None:
        hanging, lost, own = (gpu.uuid for gpu in gpus.store.read().gpus)
        gpus.controls.hang(hanging)
        gpus.controls.lose(lost)

        driver = gpus.open(OneGpu(index=2, uuid=own))

        assert driver.gpu(own).uuid == own
        assert [gpu.uuid for gpu in driver.inventory().gpus] == [own]
        assert driver.inventory().unusable == ()

    def test_it_hears_of_its_gpu_alone_also_once_another_is_lost(self, gpus: Rig) -> None:
        other, own, _ = (gpu.uuid for gpu in gpus.store.read().gpus)
        driver = gpus.open(OneGpu(index=1, uuid=own))
        assert driver.wait_for_event(0) is None
        gpus.controls.raise_xid(other, 79)
        gpus.controls.lose(other)
        gpus.controls.raise_xid(own, 48)

        assert driver.wait_for_event(0) == HealthEvent(gpu=own, xid=48, gi_id=None)
        assert driver.wait_for_event(0) is None

    def test_it_hears_again_after_its_own_gpu_was_lost_and_reset(self, gpus: Rig) -> None:
        own = gpus.store.read().gpus[0].uuid
        driver = gpus.open(OneGpu(index=0, uuid=own))
        driver.gpu(own)
        gpus.controls.lose(own)
        with suppress(GpuLost):  # one that has no events of a lost GPU may say so
            assert driver.wait_for_event(0) is None
        with pytest.raises(GpuLost):
            driver.gpu(own)
        with pytest.raises(GpuLost):
            driver.gpu(own)
        assert driver.wait_for_event(0) is None
        gpus.controls.reset(own)
        assert driver.gpu(own).uuid == own
        gpus.controls.raise_xid(own, 48)

        assert driver.wait_for_event(0) == HealthEvent(gpu=own, xid=48, gi_id=None)

    def test_the_one_at_an_index_says_who_it_is_and_a_lost_one_once_it_was_reset(self, gpus: Rig) -> None:
        _, own, _ = (gpu.uuid for gpu in gpus.store.read().gpus)
        gpus.controls.lose(own)
        driver = gpus.open(OneGpu(index=1))
        (unusable,) = driver.inventory().unusable
        assert (unusable.index, unusable.uuid, type(unusable.error)) == (1, None, GpuLost)

        gpus.controls.reset(own)

        assert [gpu.uuid for gpu in driver.inventory().gpus] == [own]

    def test_one_that_is_lost_is_still_who_it_was_known_to_be(self, gpus: Rig) -> None:
        _, own, _ = (gpu.uuid for gpu in gpus.store.read().gpus)
        gpus.controls.lose(own)
        driver = gpus.open(OneGpu(index=1, uuid=own))
        with pytest.raises(GpuLost):
            driver.gpu(own)
        gpus.controls.reset(own)
        assert driver.gpu(own).uuid == own

    def test_the_others_are_looked_through_where_the_gpus_were_counted_anew(self, gpus: Rig) -> None:
        first, _, own = (gpu.uuid for gpu in gpus.store.read().gpus)
        driver = gpus.open(OneGpu(index=0, uuid=own))
        assert driver.gpu(own).uuid == own
        with pytest.raises(GpuNotFound):
            driver.gpu(GpuUuid("GPU-of-another-machine"))
        assert [gpu.uuid for gpu in driver.inventory().gpus] == [own]
        assert first != own


class TestInjected:
    @pytest.mark.parametrize(
        "error", [SliceInUse, InsufficientResources, GpuTimeout, GpuLost, ResetRequired], ids=lambda e: e.reason
    )
    def test_a_call_fails_with_the_error_named_and_does_nothing(self, gpus: Rig, error: type[GpuError]) -> None:
        driver = gpus.open()
        gpus.controls.inject(Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.FAIL, error=error))

        with pytest.raises(error):
            create_slice(driver, first(driver), name("3g.20gb"), 4)
        assert driver.gpu(first(driver)).instances == ()
        create_slice(driver, first(driver), name("3g.20gb"), 4)

    def test_a_call_can_fail_after_it_took_effect(self, gpus: Rig) -> None:
        driver = gpus.open()
        fault = Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.FAIL, when=When.AFTER, error=GpuTimeout)
        gpus.controls.inject(fault)

        with pytest.raises(GpuTimeout):
            driver.create_gpu_instance(first(driver), name("3g.20gb"), 4)
        assert [str(i.place) for i in driver.gpu(first(driver)).instances] == ["3g.20gb@4"]

    def test_the_nth_call_is_the_one_that_fails(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpus.controls.inject(Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.FAIL, nth=3, error=GpuTimeout))
        for start in (0, 1):
            create_slice(driver, first(driver), name("1g.5gb"), start)
        with pytest.raises(GpuTimeout):
            create_slice(driver, first(driver), name("1g.5gb"), 2)
        create_slice(driver, first(driver), name("1g.5gb"), 3)

    def test_a_hanging_call_is_done_when_it_comes_back(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpus.controls.inject(Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.HANG, hang_s=0.01))
        create_slice(driver, first(driver), name("3g.20gb"), 4)
        assert len(driver.gpu(first(driver)).instances) == 1

    def test_a_slice_held_by_nobody_listed_is_in_use_all_the_same(self, gpus: Rig) -> None:
        """Monitors hold slices without being listed as processes."""
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        gpus.controls.inject(Fault(call=Call.DESTROY_COMPUTE_INSTANCE, harm=Harm.FAIL, error=SliceInUse))

        with pytest.raises(SliceInUse):
            destroy_slice(driver, made)
        assert driver.processes(made) == ()
        assert driver.gpu(made.gpu).instances == (made,)

    def test_faults_can_be_called_off(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpus.controls.inject(Fault(call=Call.CREATE_GPU_INSTANCE, harm=Harm.FAIL, nth=None))
        gpus.controls.clear_faults()
        create_slice(driver, first(driver), name("3g.20gb"), 4)


class TestSliceOrNothing:
    def test_a_failed_compute_instance_takes_its_gpu_instance_back(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpus.controls.inject(Fault(call=Call.CREATE_COMPUTE_INSTANCE, harm=Harm.FAIL, error=GpuTimeout))

        with pytest.raises(GpuTimeout):
            create_slice(driver, first(driver), name("3g.20gb"), 4)
        assert driver.gpu(first(driver)).instances == ()

    def test_what_cannot_be_taken_back_either_is_named_and_the_first_error_counts(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        gpus.controls.inject(Fault(call=Call.CREATE_COMPUTE_INSTANCE, harm=Harm.FAIL, error=GpuTimeout))
        gpus.controls.inject(Fault(call=Call.DESTROY_GPU_INSTANCE, harm=Harm.FAIL, error=SliceInUse))

        with pytest.raises(GpuTimeout) as raised:
            create_slice(driver, gpu, name("3g.20gb"), 4)
        assert f"{gpu}/3g.20gb/4 is left behind without a compute instance" in raised.value.__notes__[0]
        assert [i.compute_instance for i in driver.gpu(gpu).instances] == [None]

    def test_a_slice_in_use_stays_whole(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)
        gpus.controls.attach(mig_uuid(made))
        with pytest.raises(SliceInUse):
            destroy_slice(driver, made)
        assert driver.gpu(made.gpu).instances == (made,)
