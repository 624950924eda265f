"""The NVML adapter on drivers that are odd: older, foreign, absent. The contract suite has the rest."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pynvml
import pytest

from knative_mig.adapters.nvml import NvmlGpus
from knative_mig.adapters.nvml_calls import ERRORS
from knative_mig.adapters.sim_gpu import (
    Call,
    Fault,
    Harm,
    SimulatedGpus,
    SimulationControls,
    StateStore,
    open_store,
)
from knative_mig.core.errors import DriverNotLoaded, GpuError, NotSupported
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice, destroy_slice
from tests.nvml_abi import library

Opener = Callable[..., NvmlGpus]


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return open_store("1xA100-40GB", tmp_path / "gpus.json")


@pytest.fixture
def opened(store: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """NVML on those GPUs, with a driver as odd as the words say."""
    library.load()
    with ExitStack() as stack:

        def make(**oddities: object) -> NvmlGpus:
            for key, value in library.own_environment(tmp_path / "gpus.json", **oddities).items():
                monkeypatch.setenv(key, value)
            driver = library.open_nvml()
            stack.callback(driver.close)
            return driver

        yield make


def test_a_machine_without_a_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library.load()
    monkeypatch.delenv("NVML_ABI_RULES", raising=False)
    with pytest.raises(DriverNotLoaded, match=r"NVML could not start NVML: Driver Not Loaded \(9\)"):
        NvmlGpus()


def test_a_driver_that_does_not_tell_whether_a_gpu_wants_a_reset_is_believed_to_be_well(opened: Opener) -> None:
    (gpu,) = opened(tells_recovery=False).inventory().gpus
    assert gpu.wants_reset is None


def test_a_part_without_mig_is_unusable_and_says_so(opened: Opener) -> None:
    inventory = opened(without_mig=True).inventory()
    assert inventory.gpus == ()
    assert [type(each.error) for each in inventory.unusable] == [NotSupported]


def test_an_older_driver_that_knows_fewer_profiles_is_read_to_its_end(opened: Opener) -> None:
    gpu = opened(enums=8).inventory().gpus[0]
    assert [str(each) for each in gpu.model.profiles] == [
        "1g.5gb", "1g.5gb+me", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb",
    ]  # fmt: skip


def test_a_driver_with_other_names_is_taken_by_its_word(opened: Opener) -> None:
    model = opened(renamed="3g.20gb=3g.19gb 7g.40gb=7g.39gb").inventory().gpus[0].model
    assert model.has(ProfileName.parse("3g.19gb"))
    assert not model.has(ProfileName.parse("3g.20gb"))
    resolved = model.resolve(ProfileName.parse("7g.40gb"))
    assert str(resolved) == "7g.39gb"


def test_a_profile_of_the_future_is_skipped_with_its_reason_and_its_slices_are_foreign(
    opened: Opener, store: StateStore
) -> None:
    somebody = SimulatedGpus(store)
    uuid = somebody.inventory().gpus[0].uuid
    create_slice(somebody, uuid, ProfileName.parse("1g.5gb+me"), 3)

    gpu = opened(renamed="1g.5gb+me=1g.5gb+quantum").inventory().gpus[0]

    assert [(each.name, "is not a MIG profile" in each.why) for each in gpu.skipped] == [("1g.5gb+quantum", True)]
    assert gpu.instances == ()
    assert [(each.start, each.size, each.why) for each in gpu.foreign] == [
        (3, 1, "profile 20 at 3 is no place of a A100-40GB")
    ]


def test_two_profiles_of_one_name_are_not_confused(opened: Opener) -> None:
    gpu = opened(renamed="1g.10gb=1g.5gb").inventory().gpus[0]
    assert [(each.name, each.why) for each in gpu.skipped] == [
        ("1g.5gb", "another profile, of id 15, has the name already")
    ]


def test_an_instance_that_somebody_cut_in_two_is_foreign(opened: Opener, store: StateStore) -> None:
    somebody = SimulatedGpus(store)
    uuid = somebody.inventory().gpus[0].uuid
    create_slice(somebody, uuid, ProfileName.parse("2g.10gb"), 2)
    create_slice(somebody, uuid, ProfileName.parse("1g.5gb"), 0)

    gpu = opened(split="2g.10gb").inventory().gpus[0]

    assert [str(each.place) for each in gpu.instances] == ["1g.5gb@0"]
    assert [each.why for each in gpu.foreign] == ["2g.10gb@2 is cut into several compute instances"]


def test_an_unknown_error_in_reading_is_cured_by_a_new_session(opened: Opener, store: StateStore) -> None:
    driver = opened()
    SimulationControls(store).raise_xid(store.read().gpus[0].uuid, 79)
    SimulationControls(store).inject(Fault(call=Call.INVENTORY, harm=Harm.FAIL))
    assert len(driver.inventory().gpus) == 1
    assert driver.wait_for_event(0) is None  # the new session has not heard of it


def test_an_unknown_error_that_lasts_is_told_with_its_number(opened: Opener, store: StateStore) -> None:
    driver = opened()
    SimulationControls(store).inject(Fault(call=Call.INVENTORY, harm=Harm.FAIL, nth=None))
    with pytest.raises(GpuError, match=r"Unknown Error \(999\)"):
        driver.gpu(store.read().gpus[0].uuid)


def test_a_handle_that_died_is_refused_by_the_library(opened: Opener, store: StateStore) -> None:
    opened()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    instance = pynvml.nvmlDeviceCreateGpuInstance(device, 19)
    pynvml.nvmlGpuInstanceDestroy(instance)
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlGpuInstanceGetInfo(instance)


def test_the_compute_profiles_that_only_look_right_do_fail(opened: Opener, store: StateStore) -> None:
    """Why the adapter skips them: they have the slice count that it looks for."""
    opened()
    whole = pynvml.nvmlDeviceCreateGpuInstance(pynvml.nvmlDeviceGetHandleByIndex(0), 0)
    doubled = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(whole, 8, 0)
    assert doubled.sliceCount == 7
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlGpuInstanceCreateComputeInstance(whole, doubled.id)


def test_the_adapter_never_makes_one_of_them(opened: Opener, store: StateStore) -> None:
    driver = opened(only_doubled=True)
    uuid = driver.inventory().gpus[0].uuid
    with pytest.raises(NotSupported, match=r"no compute instance profile has the 7 slices of 7g\.40gb"):
        create_slice(driver, uuid, ProfileName.parse("7g.40gb"), 0)
    assert store.read().gpus[0].instances == ()


def test_the_library_has_exactly_the_calls_that_the_adapter_makes(opened: Opener, store: StateStore) -> None:
    """Fewer would fail somewhere; more would be code that nothing runs."""
    driver = opened()
    uuid = driver.inventory().gpus[0].uuid
    driver.set_mig_mode(uuid, enabled=True)
    create_slice(driver, uuid, ProfileName.parse("1g.5gb"))
    made = create_slice(driver, uuid, ProfileName.parse("3g.20gb"), 0)
    driver.remaining_capacity(uuid, made.place.profile.name)
    driver.processes(made)
    SimulationControls(store).raise_xid(uuid, 79)
    driver.wait_for_event(1)
    destroy_slice(driver, made)
    str(pynvml.NVMLError(pynvml.NVML_ERROR_NOT_READY))  # has no text in the binding, so the library is asked

    called = {*pynvml._nvmlGetFunctionPointer_cache, "nvmlShutdown", "nvmlEventSetFree"}
    exported = set(re.findall(r"^(?:int|const char \*) ?(nvml\w+)\(", library.SOURCE.read_text(), re.MULTILINE))
    assert called == exported


def test_every_error_number_that_matters_has_its_class() -> None:
    by_name = {
        name.removeprefix("NVML_ERROR_"): ERRORS[value].reason
        for name, value in vars(pynvml).items()
        if name.startswith("NVML_ERROR_") and value in ERRORS
    }
    assert by_name == {
        "UNINITIALIZED": "DriverNotLoaded",
        "INVALID_ARGUMENT": "SliceNotFound",
        "NOT_SUPPORTED": "NotSupported",
        "NO_PERMISSION": "PermissionDenied",
        "NOT_FOUND": "SliceNotFound",
        "DRIVER_NOT_LOADED": "DriverNotLoaded",
        "TIMEOUT": "GpuTimeout",
        "LIBRARY_NOT_FOUND": "DriverNotLoaded",
        "FUNCTION_NOT_FOUND": "DriverNotLoaded",
        "GPU_IS_LOST": "GpuLost",
        "RESET_REQUIRED": "ResetRequired",
        "LIB_RM_VERSION_MISMATCH": "DriverNotLoaded",
        "IN_USE": "SliceInUse",
        "ARGUMENT_VERSION_MISMATCH": "DriverNotLoaded",
        "INSUFFICIENT_RESOURCES": "InsufficientResources",
        "GPU_NOT_FOUND": "GpuNotFound",
    }
