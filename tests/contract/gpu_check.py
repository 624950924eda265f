"""`make gpu-check`: the read-only half of the GPU contract on this machine's GPUs, and a capture of what was read.

It changes nothing and creates nothing. A capture names no machine and no UUID; committed under tests/data/captures it
becomes a fixture that the ABI library is compared with (`test_gpu_captures.py`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from knative_mig.adapters.nvml import NvmlGpus
from knative_mig.core.errors import GpuError, GpuNotFound, UnknownModel
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.layout import overlap
from knative_mig.core.mig_tables import gpu_model
from knative_mig.ports.gpu import Gpu, GpuUuid

Capture = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    capture: Capture
    problems: tuple[str, ...]


def check(open_driver: Callable[[], NvmlGpus]) -> Checked:
    driver = open_driver()
    try:
        inventory = driver.inventory()
        capture: Capture = {
            "driver": driver.driver_version,
            "binding": version("nvidia-ml-py"),
            "gpus": [_captured(driver, gpu) for gpu in inventory.gpus],
            "unusable": [each.error.reason for each in inventory.unusable],
        }
        problems = [f"GPU {at}: {what}" for at, gpu in enumerate(inventory.gpus) for what in _problems(driver, gpu)]
        if driver.inventory().gpus != inventory.gpus:
            problems.append("two readings differ, though nothing was changed here")
        try:
            driver.gpu(GpuUuid("GPU-00000000-0000-0000-0000-000000000000"))
            problems.append("a UUID that no GPU has was found")
        except GpuNotFound:
            pass
        driver.wait_for_event(0)
    finally:
        driver.close()
    return Checked(capture, tuple(problems))


def _captured(driver: NvmlGpus, gpu: Gpu) -> Capture:
    return {
        "product": gpu.product,
        "model": gpu.model.name,
        "mode": {"current": gpu.mode.current, "pending": gpu.mode.pending},
        "memory_units": gpu.model.memory_units,
        "compute_slices": gpu.model.compute_slices,
        "profiles": [
            {
                "name": str(profile),
                **_shape(profile),
                "memory_mib": profile.memory_mib,
                "multiprocessors": profile.multiprocessors,
                "remaining": driver.remaining_capacity(gpu.uuid, profile.name) if gpu.mode.current else None,
            }
            for profile in gpu.model.profiles
        ],
        "skipped": [{"name": each.name, "why": each.why} for each in gpu.skipped],
        "slices": [
            {"profile": str(each.place.profile), "start": each.place.start, "gi_id": each.gi_id}
            for each in gpu.instances
        ],
        "foreign": [{"start": each.start, "size": each.size, "why": each.why} for each in gpu.foreign],
    }


def _shape(profile: Profile) -> Capture:
    return {
        "memory_units": profile.memory_units,
        "starts": list(profile.starts),
        "max_instances": profile.max_instances,
        "nvml_enum": profile.nvml_enum,
        "nvml_id": profile.nvml_id,
    }


def _problems(driver: NvmlGpus, gpu: Gpu) -> Iterator[str]:
    if clash := overlap([each.place for each in gpu.instances]):
        yield f"{clash[0]} and {clash[1]} overlap by these tables"
    if gpu.mode.current and not gpu.foreign:
        yield from _miscounted(driver, gpu)
    try:
        yield from _unlike_its_table(gpu.model, gpu_model(gpu.product))
    except UnknownModel:
        yield f"{gpu.product} is in no table: its capture is news"


def _miscounted(driver: NvmlGpus, gpu: Gpu) -> Iterator[str]:
    for profile in gpu.model.profiles:
        taken, free = 0, 0
        for each in gpu.instances:
            taken |= each.place.mask
        for place in gpu.model.places_of(profile):
            if not place.mask & taken:
                taken, free = taken | place.mask, free + 1
        said = driver.remaining_capacity(gpu.uuid, profile.name)
        if said != free:
            yield f"{profile}: the driver says {said} more, the places say {free}"


def _unlike_its_table(live: GpuModel, table: GpuModel) -> Iterator[str]:
    for profile in live.profiles:
        known = table.resolve(profile.name)
        if known is None:
            yield f"{profile} is not in the table of {table}"
        elif _shape(known) != _shape(profile):
            yield f"{profile} is {_shape(profile)}, in the table of {table} it is {_shape(known)}"
    for profile in table.profiles:
        if live.resolve(profile.name) is None:
            yield f"{profile} of the table of {table} is not offered"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("build/gpu-capture.json"), help="where the capture goes")
    out: Path = options.parse_args().out
    try:
        checked = check(NvmlGpus)
    except GpuError as error:
        return say(1, f"gpu-check needs a GPU and its driver: {error}")
    if not checked.capture["gpus"]:
        return say(1, f"gpu-check found no GPU that can be cut: {checked.capture['unusable'] or 'none at all'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(checked.capture, indent=1) + "\n", encoding="utf-8")
    say(0, f"{len(checked.capture['gpus'])} GPUs read; the capture is in {out}")
    if checked.problems:
        return say(1, *checked.problems)
    return say(0, "the read-only half of the contract holds")


def say(code: int, *lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
