"""Readings of GPUs, hardware's where one was committed, beside what the ABI library reads for the same slices."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from knative_mig.ports.gpu import create_slice
from tests.contract.gpu_check import Capture, Checked, check
from tests.contract.gpu_rigs import name, rig
from tests.nvml_abi import library

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "tests" / "data" / "captures"
# What varies between boards and drivers of one model, or is the driver's own business, and says nothing of the rules.
VARYING = frozenset({"driver", "binding", "product", "memory_mib", "multiprocessors", "gi_id"})


def simulated(capture: Capture, folder: Path) -> Checked:
    """The same GPUs with the same slices, over NVML's ABI."""
    spec = ",".join(f"1x{gpu['model']}" for gpu in capture["gpus"])
    with rig("nvml", spec, folder) as gpus:
        driver = gpus.open()
        for gpu, wanted in zip(driver.inventory().gpus, capture["gpus"], strict=True):
            for each in wanted["slices"]:
                create_slice(driver, gpu.uuid, name(each["profile"]), each["start"])
            if not wanted["mode"]["current"]:
                driver.set_mig_mode(gpu.uuid, enabled=False)
        return check(library.open_nvml)


def differences(seen: object, expected: object, where: str = "") -> Iterator[str]:
    match seen, expected:
        case dict(), dict():
            for key in sorted((seen.keys() | expected.keys()) - VARYING):
                yield from differences(seen.get(key), expected.get(key), f"{where}.{key}")
        case list(), list() if len(seen) == len(expected):
            for at, pair in enumerate(zip(seen, expected, strict=True)):
                yield from differences(*pair, f"{where}[{at}]")
        case _ if seen != expected:
            yield f"{where}: {seen}, simulated {expected}"


def wanted(*slices: tuple[str, int], model: str = "A100-40GB", on: bool = True) -> Capture:
    cut = [{"profile": profile, "start": start} for profile, start in slices]
    return {"gpus": [{"model": model, "mode": {"current": on}, "slices": cut}]}


def test_a_capture_of_the_library_has_no_problems_and_reads_the_same_again(tmp_path: Path) -> None:
    first = simulated(wanted(("1g.5gb+me", 6), ("2g.10gb", 0), ("1g.10gb", 2)), tmp_path / "1")
    assert first.problems == ()

    again = simulated(json.loads(json.dumps(first.capture)), tmp_path / "2")

    assert list(differences(first.capture, again.capture)) == []
    assert [each["start"] for each in again.capture["gpus"][0]["slices"]] == [0, 2, 6]


def test_a_gpu_with_mig_off_can_be_captured(tmp_path: Path) -> None:
    checked = simulated(wanted(model="H200-141GB", on=False), tmp_path)
    assert checked.problems == ()
    assert {each["remaining"] for each in checked.capture["gpus"][0]["profiles"]} == {None}


def test_a_capture_tells_no_uuid(tmp_path: Path) -> None:
    assert "GPU-" not in json.dumps(simulated(wanted(("3g.20gb", 4)), tmp_path).capture)


def test_a_gpu_that_differs_from_the_simulation_is_told_where(tmp_path: Path) -> None:
    capture = simulated(wanted(("3g.20gb", 4)), tmp_path / "1").capture
    odd = json.loads(json.dumps(capture))
    odd["gpus"][0]["profiles"][0]["starts"] = [0, 1]
    odd["gpus"][0]["profiles"][1]["memory_mib"] = 1

    assert list(differences(odd, capture)) == [".gpus[0].profiles[0].starts: [0, 1], simulated [0, 1, 2, 3, 4, 5, 6]"]


def test_hardware_reads_as_the_simulation_wherever_a_capture_was_committed(tmp_path: Path) -> None:
    for at, path in enumerate(sorted(COMMITTED.glob("*.json"))):
        capture = json.loads(path.read_text(encoding="utf-8"))
        found = list(differences(capture, simulated(capture, tmp_path / str(at)).capture))
        assert (path.name, found) == (path.name, [])


def gpu_check(out: Path, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "tests.contract.gpu_check", "--out", str(out)]
    without = {key: value for key, value in os.environ.items() if not key.startswith("NVML_ABI")}
    done = subprocess.run(
        command, cwd=ROOT, env={**without, **environment}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_writes_its_capture(tmp_path: Path) -> None:
    with rig("sim-file", "1xA30-24GB", tmp_path) as gpus:
        code, out, err = gpu_check(tmp_path / "new" / "capture.json", **library.environment(gpus.path))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"1 GPUs read; the capture is in {tmp_path / 'new' / 'capture.json'}",
        "the read-only half of the contract holds",
    ]
    assert json.loads((tmp_path / "new" / "capture.json").read_text())["gpus"][0]["model"] == "A30-24GB"


def test_the_command_names_what_is_odd(tmp_path: Path) -> None:
    with rig("sim-file", "1xA30-24GB", tmp_path) as gpus:
        odd = library.environment(gpus.path, renamed="2g.12gb=2g.16gb")
        code, _, err = gpu_check(tmp_path / "capture.json", **odd)
    assert code == 1
    assert err.splitlines() == [
        "GPU 0: 2g.16gb is not in the table of A30-24GB",
        "GPU 0: 2g.12gb of the table of A30-24GB is not offered",
    ]


def test_without_a_driver_the_command_says_so_in_a_line(tmp_path: Path) -> None:
    code, out, err = gpu_check(tmp_path / "capture.json", LD_LIBRARY_PATH=str(library.built().parent))
    assert (code, out) == (1, "")
    assert err == "gpu-check needs a GPU and its driver: NVML could not start NVML: Driver Not Loaded (9)\n"
    assert not (tmp_path / "capture.json").exists()
