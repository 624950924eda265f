"""`python -m bench.dev [--quick] [--json]`: `knative-mig dev`, from its start to the last held request.

Four parts, each on a `dev` or on processes of its own: from the command to the banner; from the request of a function
at zero to its first token, by phase, the slice made for it; what the gateway adds and how it releases what it held,
which is `bench.gateway`; and the API with a thousand objects and two hundred watches.
"""

import time
from collections.abc import Sequence
from statistics import median
from typing import Final

import click

from bench import dev_api, dev_starts
from bench.gateway import ADDS_AT_MOST_MS, HELD, Costs, Released, costs, released
from bench.report import Goal, flags, print_goals, print_json, print_table
from tests.cluster.api import Api
from tests.rigs.running_dev import RunningDev

KEYS: Final = ("ready_s", "invoke_from_zero_s", "gateway_ms_p50", "held_1000_release_p99_s", "list_1000_ms")
READY_AT_MOST_S: Final = 2.0
OBJECTS: Final = 1000
WATCHES: Final = 200


def ready_s(starts: int) -> list[float]:
    """From the command until it has said that it is ready."""
    found = []
    for _ in range(starts):
        began = time.monotonic()
        with RunningDev("--gpus", "2xA100-40GB"):
            found.append(time.monotonic() - began)
    return sorted(found)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:  # noqa: ARG001  nothing is drawn
    if quick:
        click.echo("--quick: few starts and short series; take the figures of a full run")
    ready = ready_s(2 if quick else 5)
    print_table(
        f"From the command until all is ready, {len(ready)} starts, s",
        ("", "median", "worst"),
        ("ready", f"{median(ready):.2f}", f"{ready[-1]:.2f}"),
    )
    starts = dev_starts.from_zero(3 if quick else dev_starts.MOST)
    _print_starts(starts)
    gateway = costs(*((1, 500, 200) if quick else (5, 1000, 400)))
    held = released()
    _print_gateway(gateway, held)
    with RunningDev("--gpus", "1xA100-40GB") as dev:
        api = dev_api.measured(
            Api.of_kubeconfig(dev.folder / "kubeconfig"), OBJECTS, WATCHES, rounds=5 if quick else 20
        )
    print_table(
        f"The API with {OBJECTS} objects, ms",
        ("", "median", "worst"),
        *((what, f"{median(each):.1f}", f"{max(each):.1f}") for what, each in api.rows()),
    )
    print_goals(
        [
            Goal(what="from the command until all is ready, s, median", value=median(ready), at_most=READY_AT_MOST_S),
            Goal(what="the gateway's part of a token, ms, median", value=gateway.token, at_most=ADDS_AT_MOST_MS),
            Goal(what="the gateway's part of a request, ms, median", value=gateway.request, at_most=ADDS_AT_MOST_MS),
        ]
    )
    if as_json:
        first = median(each.first_token_s for each in starts)
        figures = (median(ready), first, gateway.token, held.p99_s, median(api.list_ms))
        print_json(dict(zip(KEYS, figures, strict=True)))


def _print_starts(starts: Sequence[dev_starts.Start]) -> None:
    rows = []
    for phase in dev_starts.PHASES:
        found = sorted(each.reached[phase] for each in starts if phase in each.reached)
        if found:
            rows.append((phase, f"{median(found):.3f}", f"{found[-1]:.3f}"))
    print_table(
        f"Since the request of a function at zero, whose slice has to be made, {len(starts)} starts, s",
        ("", "median", "worst"),
        *rows,
    )


def _print_gateway(found: Costs, held: Released) -> None:
    print_table(
        "By the gateway and without it, in turns, medians, ms",
        ("", "direct", "through the gateway", "the gateway's part"),
        ("a request", f"{found.request_direct:.3f}", f"{found.request_through:.3f}", f"{found.request:.3f}"),
        ("a token", f"{found.token_direct:.3f}", f"{found.token_through:.3f}", f"{found.token:.3f}"),
    )
    print_table(
        f"{HELD} requests held for a function at zero, from its pod's being ready to their answers",
        ("", "median", "p99", "KiB each while held"),
        ("s", f"{held.p50_s:.3f}", f"{held.p99_s:.3f}", f"{held.kib_each:.0f}"),
    )


if __name__ == "__main__":
    main()
