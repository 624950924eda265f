"""Another process with the same GPUs: `python -m tests.contract.gpu_client KIND STATE VERB...`, for the contract tests.

VERBS are `show`, `make PROFILE START`, `destroy`, `any PROFILE` (at any place, as often as it fits), `churn` (make and
destroy for ever, a line each time) and `hold` (attach to the first slice and wait for the end of stdin).
"""

import sys
from pathlib import Path
from typing import NoReturn

from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus, SimulationControls
from knative_mig.core.errors import GpuError, InsufficientResources
from knative_mig.ports.gpu import GpuDriver, create_slice, destroy_slice
from tests.contract.gpu_rigs import first, mig_uuid, name
from tests.nvml_abi import library


def main(kind: str, state: str, verb: str, *words: str) -> None:
    store = FileStore(Path(state))
    driver: GpuDriver = library.open_nvml() if kind == "nvml" else SimulatedGpus(store)
    gpu = first(driver)
    match verb:
        case "show":
            pass
        case "make":
            create_slice(driver, gpu, name(words[0]), int(words[1]))
        case "destroy":
            destroy_slice(driver, driver.gpu(gpu).instances[0])
        case "any":
            fill(driver, *words)
        case "churn":
            churn(driver)
        case "hold":
            SimulationControls(store).attach(mig_uuid(driver.gpu(gpu).instances[0]))
            say("held")
            sys.stdin.read()
    say(" ".join(str(instance.place) for instance in driver.gpu(gpu).instances))


def fill(driver: GpuDriver, profile: str) -> None:
    made = 0
    try:
        while True:
            create_slice(driver, first(driver), name(profile))
            made += 1
    except InsufficientResources:
        say(f"made {made}")


def churn(driver: GpuDriver) -> NoReturn:
    gpu = first(driver)
    while True:
        for place in (("1g.5gb", 0), ("2g.10gb", 2), ("3g.20gb", 4)):
            create_slice(driver, gpu, name(place[0]), place[1])
            say("made")
        for instance in driver.gpu(gpu).instances:
            destroy_slice(driver, instance)
            say("destroyed")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except GpuError as error:
        say(f"{error.reason}: {error}")
        sys.exit(1)
