"""Builds the ABI library once for each content of its source, and makes the unmodified binding load it.

The binding opens `libnvidia-ml.so.1` by that name. The dynamic loader answers with a library of that name that is in
the process already, and looks for one along LD_LIBRARY_PATH else: `load` uses the first for this process,
`environment` the second for its children. A child is answered by a process of its own, which dies with it in the midst
of a call; this process by threads.
"""

import ctypes
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from knative_mig.adapters.nvml import NvmlGpus
from knative_mig.ports.gpu import OneGpu
from tests.nvml_abi import rules

HERE = Path(__file__).parent
SOURCE = HERE / "libnvidia-ml.c"
NAME = "libnvidia-ml.so.1"


@cache
def built() -> Path:
    """The library, under build/ in the repository, which git ignores."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = HERE.parents[1] / "build" / f"nvml-abi-{digest}" / NAME
    if not library.exists():
        compiler = os.environ.get("CC", "cc")
        if shutil.which(compiler) is None:
            raise RuntimeError(f"the NVML contract tests need a C compiler: {compiler!r} is not to be found (set CC)")
        library.parent.mkdir(parents=True, exist_ok=True)
        new = library.with_name(f"{NAME}.{os.getpid()}")
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{NAME}"]
        subprocess.run([compiler, *flags, "-o", str(new), str(SOURCE)], check=True)
        new.replace(library)
    return library


@cache
def load() -> ctypes.CDLL:
    """Into this process, before the binding looks for it; it stays as long as the process."""
    return ctypes.CDLL(str(built()), mode=ctypes.RTLD_GLOBAL)


def open_nvml(only: OneGpu | None = None) -> NvmlGpus:
    """The adapter on the ABI library, and never by mistake on this machine's GPUs: tests cut what they open."""
    driver = NvmlGpus(only)
    if not driver.driver_version.endswith("(simulated)"):
        driver.close()
        raise RuntimeError(f"the binding found a real driver, {driver.driver_version}: tests keep off its GPUs")
    return driver


@cache
def _door() -> str:
    listener = socket.socket(socket.AF_UNIX)
    name = f"nvml-abi-{os.getpid()}"
    listener.bind(f"\0{name}")
    listener.listen()

    def open_to_all() -> None:
        while True:
            asked, _ = listener.accept()
            threading.Thread(target=rules.serve, args=(asked,), daemon=True).start()

    threading.Thread(target=open_to_all, daemon=True).start()
    return name


def own_environment(state: Path, **oddities: object) -> dict[str, str]:
    """What NVML's users in this process need to see those GPUs."""
    return {**environment(state, **oddities), "NVML_ABI_DOOR": _door()}


def environment(state: Path, **oddities: object) -> dict[str, str]:
    """What NVML's users in a child of this process need to see those GPUs."""
    return {
        "NVML_ABI_DOOR": "",
        "LD_LIBRARY_PATH": str(built().parent),
        "NVML_ABI_PYTHON": sys.executable,
        "NVML_ABI_RULES": str(HERE / "rules.py"),
        "NVML_ABI_CONFIG": json.dumps({"state": str(state), **oddities}),
    }
