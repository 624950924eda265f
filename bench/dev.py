"""`python -m bench.dev [--quick] [--json]`: what a newcomer waits for in `knative-mig dev`, and what it can bear.

Each start is a process of its own, asked for ready; each invocation is of a function that never had a replica, as the
`invoke` verb tells its phases, so that a slice is made for each. Then the API of the last start is asked for a thousand
objects, and watched. The gateway's figures are those of `bench.gateway`, taken in the same run.
"""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import click

from bench.gateway import HELD, costs, released
from bench.report import Goal, flags, print_goals, print_json, print_table
from knative_mig.adapters.kube.kinds import CONFIG_MAP
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import SERVICE
from knative_mig.ports.kube import Key
from tests.rigs.running_dev import RunningDev, until

KEYS: Final = (
    "ready_s",
    "invoke_from_zero_s",
    "gateway_ms_p50",
    "held_1000_release_p99_s",
    "list_1000_ms",
    "watch_200_p99_ms",
)
READY_WITHIN_S: Final = 2.0
FIRST_TOKEN_WITHIN_S: Final = 3.0
OBJECTS: Final = 1000
WATCHES: Final = 200
_PATIENCE_S: Final = 60.0
_SETTLES_S: Final = 4.0  # the autoscaler has looked at each twice
_PHASE: Final = re.compile(r"^([a-z ]+?) +([0-9.]+) s", re.MULTILINE)
_NAMESPACE: Final = "default"


def started(times: int) -> list[float]:
    """From the command to the banner, as a person sees it."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        with RunningDev():
            took.append(time.monotonic() - began)
    return took


def invoked(dev: RunningDev, times: int) -> list[dict[str, float]]:
    """Seconds from the request to each phase. All are made first, and have been at zero for a while."""
    names = [f"zero-{number}" for number in range(times)]
    for name in names:
        dev.client.create(SERVICE, _NAMESPACE, _at_zero(name))
    until(lambda: all(objects.is_ready(dev.client.get(SERVICE, Key(_NAMESPACE, name))) for name in names))
    time.sleep(_SETTLES_S)
    found = []
    for name in names:
        command = [sys.executable, "-m", "knative_mig.cli.main", "invoke", name, "Once upon a time"]
        environment = ["--max-tokens", "16", "--kubeconfig", str(dev.folder / "kubeconfig")]
        done = subprocess.run([*command, *environment], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise click.ClickException(f"{name} did not answer: {done.stderr}")
        found.append({phase: float(seconds) for phase, seconds in _PHASE.findall(done.stderr)})
    return found


def _at_zero(name: str) -> dict[str, Any]:
    container = {"image": "dev.local/tiny-llm", "resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}
    at_zero = {"metadata": {"annotations": {"autoscaling.knative.dev/initial-scale": "0"}}}
    return {
        "apiVersion": SERVICE.group,
        "kind": SERVICE.kind,
        "metadata": {"name": name},
        "spec": {"template": {**at_zero, "spec": {"containers": [container]}}},
    }


def listed_ms(dev: RunningDev, times: int) -> list[float]:
    """One list of all of them, whole objects."""
    for number in range(OBJECTS):
        body = {"metadata": {"name": f"one-{number:04}"}, "data": {"text": "x" * 400}}
        dev.client.create(CONFIG_MAP, _NAMESPACE, body)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        page = dev.client.page(CONFIG_MAP, _NAMESPACE, {})
        took.append((time.perf_counter() - began) * 1000)
        if len(page.items) < OBJECTS:
            raise click.ClickException(f"only {len(page.items)} of {OBJECTS} objects were listed")
    return took


def watched_ms(dev: RunningDev, times: int) -> list[float]:
    """From a write's being sent to each watch's hearing of it."""
    version = dev.client.page(CONFIG_MAP, _NAMESPACE, {"limit": "1"}).resource_version
    port = int(dev.api.rpartition(":")[2])
    path = f"{CONFIG_MAP.path(Key(_NAMESPACE, ''))}?watch=1&resourceVersion={version}"
    watches = [socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) for _ in range(WATCHES)]
    took: list[float] = []
    try:
        for each in watches:
            each.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        for each in watches:
            while not each.recv(65536).startswith(b"HTTP/1.1 200"):
                raise click.ClickException("a watch was refused")
        for number in range(times):
            mark = f"mark-{number}-".encode()
            began = time.perf_counter()
            dev.client.merge(CONFIG_MAP, Key(_NAMESPACE, "one-0000"), {"data": {"mark": f"{mark.decode()}."}})
            for each in watches:
                heard = b""
                while mark not in heard:
                    heard += each.recv(65536)
                took.append((time.perf_counter() - began) * 1000)
    finally:
        for each in watches:
            each.close()
    return took


def _p99(took: Sequence[float]) -> float:
    return sorted(took)[max(0, len(took) * 99 // 100 - 1)]


def _phases(runs: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str]]:
    names = dict.fromkeys(name for run in runs for name in run)
    rows = []
    for name in names:
        seconds = [run[name] for run in runs if name in run]
        rows.append((name, f"{median(seconds):.2f}", f"{max(seconds):.2f}"))
    return rows


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:  # noqa: ARG001  nothing is drawn
    ready = started(1 if quick else 5)
    with RunningDev() as dev:
        runs = invoked(dev, 2 if quick else 8)
        listed = listed_ms(dev, 5 if quick else 30)
        watched = watched_ms(dev, 2 if quick else 10)
    gateway = costs(*((1, 300, 100) if quick else (5, 1000, 400)))
    release = released(HELD)
    first = [run["first token"] for run in runs]
    print_table("Starts, s", ("", "median", "slowest"), ("ready", f"{median(ready):.2f}", f"{max(ready):.2f}"))
    print_table("From zero, seconds from the request", ("phase", "median", "slowest"), *_phases(runs))
    print_table(
        "The API, ms",
        ("", "median", "p99"),
        (f"{OBJECTS:,} objects listed", f"{median(listed):.1f}", f"{_p99(listed):.1f}"),
        (f"a write heard by {WATCHES} watches", f"{median(watched):.1f}", f"{_p99(watched):.1f}"),
    )
    print_goals(
        [
            Goal(what="ready, s, median", value=median(ready), at_most=READY_WITHIN_S),
            Goal(what="first token from zero, s, median", value=median(first), at_most=FIRST_TOKEN_WITHIN_S),
            Goal(what="the gateway's part of a token, ms, median", value=gateway.token, at_most=0.3),
        ]
    )
    if as_json:
        figures = (median(ready), median(first), gateway.token, release.p99_s, median(listed), _p99(watched))
        print_json(dict(zip(KEYS, figures, strict=True)))


if __name__ == "__main__":
    main()
