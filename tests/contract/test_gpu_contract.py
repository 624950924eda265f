"""What every GPU driver promises, and what it refuses as hardware does; run for each implementation of the port."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knative_mig.core.errors import (
    GpuError,
    GpuNotFound,
    IllegalPlacement,
    InsufficientResources,
    NotSupported,
    PermissionDenied,
    ResetRequired,
    SliceInUse,
    SliceNotFound,
    UnknownProfile,
)
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.ports.gpu import Activation, GpuInstance, GpuUuid, MigMode, create_slice, destroy_slice
from tests.contract.gpu_rigs import Rig, first, mig_uuid, name

CAPTURES = json.loads((Path(__file__).parents[1] / "data" / "mig_tables.json").read_text())["hardware_captures"]
RigMaker = Callable[[str], Rig]


class TestWhatIsRead:
    def test_each_gpu_is_listed_with_the_model_that_its_driver_describes(self, gpus: Rig) -> None:
        inventory = gpus.open().inventory()

        assert [gpu.model.name for gpu in inventory.gpus] == ["A100-40GB", "A100-40GB", "H100-80GB"]
        assert inventory.gpus[0].product == "NVIDIA A100-SXM4-40GB"
        assert len({gpu.uuid for gpu in inventory.gpus}) == 3
        assert all(gpu.mode == MigMode(current=True, pending=True) for gpu in inventory.gpus)
        assert not any(gpu.instances or gpu.foreign or gpu.skipped for gpu in inventory.gpus)
        assert inventory.unusable == ()

    def test_gpus_that_read_the_same_share_one_model(self, gpus: Rig) -> None:
        first_a100, second_a100, h100 = gpus.open().inventory().gpus

        assert first_a100.model is second_a100.model
        assert h100.model is not first_a100.model

    def test_every_known_model_reads_as_its_table_says(self, gpus_of: RigMaker) -> None:
        inventory = gpus_of(",".join(f"1x{model.name}" for model in GPU_MODELS)).open().inventory()

        for gpu, model in zip(inventory.gpus, GPU_MODELS, strict=True):
            assert gpu.model.profiles == model.profiles
            assert (gpu.model.memory_units, gpu.model.compute_slices) == (model.memory_units, model.compute_slices)

    def test_a_slice_reads_as_it_was_made(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)

        (seen,) = driver.gpu(made.gpu).instances
        assert seen == made
        assert str(seen.slice_id) == f"{made.gpu}/3g.20gb/4"

    def test_possible_places_stay_those_of_an_empty_gpu(self, gpus: Rig) -> None:
        driver = gpus.open()
        create_slice(driver, first(driver), name("7g.40gb"), 0)

        model = driver.gpu(first(driver)).model
        assert model.profile(name("1g.5gb")).starts == (0, 1, 2, 3, 4, 5, 6)

    def test_an_unknown_gpu_is_told(self, gpus: Rig) -> None:
        with pytest.raises(GpuNotFound, match="GPU-nowhere"):
            gpus.open().gpu(GpuUuid("GPU-nowhere"))


class TestCutting:
    @pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: f"{c['model']}-{'-'.join(c['create_sequence'])}")
    def test_without_a_start_slices_go_where_hardware_was_seen_to_put_them(
        self, gpus_of: RigMaker, capture: dict[str, Any]
    ) -> None:
        driver = gpus_of(f"1x{capture['model']}").open()
        seen: list[int | None] = []
        for profile in capture["create_sequence"]:
            try:
                seen.append(create_slice(driver, first(driver), name(profile)).place.start)
            except InsufficientResources:
                seen.append(None)

        assert seen == capture["observed_starts"]

    def test_the_order_that_fails_without_starts_succeeds_with_them(self, gpus: Rig) -> None:
        driver = gpus.open()
        without, given, _ = (gpu.uuid for gpu in driver.inventory().gpus)
        for profile in ("1g.5gb", "1g.5gb", "2g.10gb"):
            create_slice(driver, without, name(profile))
        with pytest.raises(InsufficientResources):
            create_slice(driver, without, name("3g.20gb"))

        for profile, start in (("1g.5gb", 2), ("1g.5gb", 3), ("2g.10gb", 0), ("3g.20gb", 4)):
            create_slice(driver, given, name(profile), start)

        assert [i.place.start for i in driver.gpu(given).instances] == [0, 2, 3, 4]

    @pytest.mark.parametrize(
        ("there", "wanted"),
        [
            (("3g.20gb", 0), ("1g.5gb", 3)),
            (("1g.5gb", 6), ("3g.20gb", 4)),
            (("4g.20gb", 0), ("7g.40gb", 0)),
            (("2g.10gb", 2), ("2g.10gb", 2)),
            (("1g.5gb+me", 0), ("1g.5gb+me", 6)),
            (("3g.20gb", 4), ("1g.10gb", 6)),
        ],
        ids=lambda pair: f"{pair[0]}@{pair[1]}",
    )
    def test_two_slices_never_overlap(self, gpus: Rig, there: tuple[str, int], wanted: tuple[str, int]) -> None:
        driver = gpus.open()
        create_slice(driver, first(driver), name(there[0]), there[1])

        with pytest.raises(InsufficientResources):
            driver.create_gpu_instance(first(driver), name(wanted[0]), wanted[1])
        assert len(driver.gpu(first(driver)).instances) == 1

    @pytest.mark.parametrize(
        ("profile", "start"),
        [("3g.20gb", 2), ("2g.10gb", 6), ("4g.20gb", 4), ("1g.5gb", 7), ("7g.40gb", 1), ("1g.5gb", 99)],
        ids=str,
    )
    def test_an_illegal_start_is_refused(self, gpus: Rig, profile: str, start: int) -> None:
        driver = gpus.open()
        with pytest.raises(IllegalPlacement):
            driver.create_gpu_instance(first(driver), name(profile), start)

    def test_a_profile_of_another_model_is_refused_with_those_that_it_has(self, gpus: Rig) -> None:
        driver = gpus.open()
        with pytest.raises(UnknownProfile, match=r"3g\.40gb is not a profile of A100-40GB: it has 1g\.5gb, "):
            driver.create_gpu_instance(first(driver), name("3g.40gb"), 0)

    def test_remaining_capacity_counts_what_still_fits(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        assert [driver.remaining_capacity(gpu, name(p)) for p in ("1g.5gb", "2g.10gb", "3g.20gb")] == [7, 3, 2]

        create_slice(driver, gpu, name("1g.5gb"), 6)

        assert [driver.remaining_capacity(gpu, name(p)) for p in ("1g.5gb", "2g.10gb", "3g.20gb")] == [6, 3, 1]

    def test_every_profile_of_every_geometry_can_be_made_and_taken_back(self, gpus_of: RigMaker) -> None:
        models = ("A30-24GB", "A100-40GB", "RTX-PRO-6000-BLACKWELL-96GB")
        driver = gpus_of(",".join(f"1x{model}" for model in models)).open()
        for gpu, model in zip(driver.inventory().gpus, models, strict=True):
            for place in gpu_model(model).places:
                made = create_slice(driver, gpu.uuid, place.profile.name, place.start)
                assert made.place == place
                destroy_slice(driver, made)
        assert not any(gpu.instances for gpu in driver.inventory().gpus)


class TestTakingBack:
    def test_a_gpu_instance_with_its_compute_instance_is_in_use(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)

        with pytest.raises(SliceInUse):
            driver.destroy_gpu_instance(made)
        assert driver.gpu(made.gpu).instances == (made,)

    def test_a_half_made_slice_is_seen_as_such_and_can_be_finished_or_taken_back(self, gpus: Rig) -> None:
        driver = gpus.open()
        half = driver.create_gpu_instance(first(driver), name("3g.20gb"), 4)
        assert driver.gpu(half.gpu).instances == (half,)
        assert half.compute_instance is None

        whole = driver.create_compute_instance(half)
        with pytest.raises(InsufficientResources):
            driver.create_compute_instance(half)

        assert driver.destroy_compute_instance(whole) == half
        driver.destroy_gpu_instance(half)
        assert driver.gpu(half.gpu).instances == ()

    def test_a_compute_instance_that_is_not_there_cannot_be_destroyed(self, gpus: Rig) -> None:
        driver = gpus.open()
        half = driver.create_gpu_instance(first(driver), name("3g.20gb"), 4)
        with pytest.raises(SliceNotFound):
            driver.destroy_compute_instance(half)
        with pytest.raises(SliceNotFound):
            driver.processes(half)

    def test_a_mig_uuid_is_new_at_each_re_creation_and_its_place_is_the_same_slice(self, gpus: Rig) -> None:
        driver = gpus.open()
        uuids, ids = set(), set()
        for _ in range(3):
            made = create_slice(driver, first(driver), name("2g.10gb"), 2)
            uuids.add(mig_uuid(made))
            ids.add(made.slice_id)
            destroy_slice(driver, made)
        assert (len(uuids), len(ids)) == (3, 1)

    def test_what_was_destroyed_and_made_anew_is_not_touched_by_who_saw_it_before(self, gpus: Rig) -> None:
        driver = gpus.open()
        before = create_slice(driver, first(driver), name("2g.10gb"), 2)
        destroy_slice(driver, before)
        with pytest.raises(SliceNotFound):
            driver.destroy_compute_instance(before)
        with pytest.raises(SliceNotFound):
            driver.processes(before)
        after = create_slice(driver, first(driver), name("2g.10gb"), 2)
        assert after.gi_id == before.gi_id

        acts: list[Callable[[GpuInstance], object]] = [driver.destroy_gpu_instance, driver.destroy_compute_instance]
        for act in (*acts, driver.processes):
            with pytest.raises(SliceNotFound):
                act(before)
        assert driver.gpu(after.gpu).instances == (after,)

    def test_an_id_reused_by_another_place_is_another_slice(self, gpus: Rig) -> None:
        driver = gpus.open()
        before = driver.create_gpu_instance(first(driver), name("2g.10gb"), 2)
        driver.destroy_gpu_instance(before)
        after = driver.create_gpu_instance(first(driver), name("1g.5gb"), 0)
        assert after.gi_id == before.gi_id

        with pytest.raises(SliceNotFound):
            driver.destroy_gpu_instance(before)

    def test_neighbours_stay_as_they_are(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        left, middle, right = (
            create_slice(driver, gpu, name(profile), start)
            for profile, start in (("1g.5gb", 0), ("2g.10gb", 2), ("3g.20gb", 4))
        )
        destroy_slice(driver, middle)
        assert driver.gpu(gpu).instances == (left, right)


class TestMode:
    def test_mig_is_off_until_it_is_asked_for(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        assert driver.set_mig_mode(gpu, enabled=False) is Activation.DONE
        assert driver.gpu(gpu).mode == MigMode(current=False, pending=False)
        with pytest.raises(NotSupported):
            driver.create_gpu_instance(gpu, name("1g.5gb"), 0)
        with pytest.raises(NotSupported):
            driver.remaining_capacity(gpu, name("1g.5gb"))

        assert driver.set_mig_mode(gpu, enabled=True) is Activation.DONE
        assert create_slice(driver, gpu, name("1g.5gb"), 0).place.start == 0

    def test_a_model_can_be_read_while_mig_is_off(self, gpus: Rig) -> None:
        driver = gpus.open()
        driver.set_mig_mode(first(driver), enabled=False)
        assert gpus.reopen().inventory().gpus[0].model.profiles == gpu_model("A100-40GB").profiles

    def test_a_change_takes_the_slices_with_it(self, gpus: Rig) -> None:
        driver = gpus.open()
        create_slice(driver, first(driver), name("3g.20gb"), 4)
        driver.set_mig_mode(first(driver), enabled=False)
        driver.set_mig_mode(first(driver), enabled=True)
        assert driver.gpu(first(driver)).instances == ()

    def test_a_pending_change_is_returned_and_nothing_is_cut_until_the_reset(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        there = create_slice(driver, gpu, name("3g.20gb"), 4)
        gpus.controls.need_reset_for_mode(gpu)

        assert driver.set_mig_mode(gpu, enabled=False) is Activation.RESET_REQUIRED

        assert driver.gpu(gpu).mode == MigMode(current=True, pending=False)
        with pytest.raises(ResetRequired):
            driver.create_gpu_instance(gpu, name("1g.5gb"), 0)
        with pytest.raises(ResetRequired):
            driver.destroy_compute_instance(there)
        gpus.controls.reset(gpu)
        assert driver.gpu(gpu).mode == MigMode(current=False, pending=False)

    def test_a_change_asked_for_and_withdrawn_leaves_everything(self, gpus: Rig) -> None:
        driver = gpus.open()
        gpu = first(driver)
        there = create_slice(driver, gpu, name("3g.20gb"), 4)
        gpus.controls.need_reset_for_mode(gpu)
        driver.set_mig_mode(gpu, enabled=False)

        assert driver.set_mig_mode(gpu, enabled=True) is Activation.DONE
        assert driver.gpu(gpu).instances == (there,)

    def test_clients_hold_up_a_change(self, gpus: Rig) -> None:
        driver = gpus.open()
        there = create_slice(driver, first(driver), name("3g.20gb"), 4)
        gpus.controls.attach(mig_uuid(there))

        assert driver.set_mig_mode(there.gpu, enabled=False) is Activation.CLIENTS_HOLD_THE_GPU
        assert driver.gpu(there.gpu).instances == (there,)


class TestPermission:
    def test_who_may_not_configure_can_still_read(self, gpus: Rig) -> None:
        driver = gpus.open()
        made = create_slice(driver, first(driver), name("3g.20gb"), 4)

        driver = gpus.reopen(may_configure=False)
        assert driver.gpu(made.gpu).instances == (made,)
        with pytest.raises(PermissionDenied):
            driver.create_gpu_instance(made.gpu, name("1g.5gb"), 0)
        with pytest.raises(PermissionDenied):
            driver.destroy_compute_instance(made)
        with pytest.raises(PermissionDenied):
            driver.set_mig_mode(made.gpu, enabled=False)


def test_errors_carry_a_stable_reason(gpus: Rig) -> None:
    driver = gpus.open()
    with pytest.raises(GpuError) as raised:
        driver.create_gpu_instance(first(driver), name("3g.20gb"), 2)
    assert raised.value.reason == "IllegalPlacement"
