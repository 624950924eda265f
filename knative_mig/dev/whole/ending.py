"""Whom the end waits for: the functions that have requests, in a line. Asked by `cluster` while it drains."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.dev.gateway.hall import Load
from knative_mig.ports.kube import Key

_NAMED: Final = 3


def waits_for(loads: Mapping[Key, Load], function_of: Callable[[Key], str]) -> str:
    """`loads`: by revision. Empty: for nobody."""
    counts: Counter[str] = Counter()
    for revision, load in loads.items():
        counts[f"{revision.namespace}/{function_of(revision)}"] += load.held + load.running
    asked = sorted((name, count) for name, count in counts.items() if count)
    told = [f"{_requests(count)} to {name}" for name, count in asked[:_NAMED]]
    if others := sum(count for _, count in asked[_NAMED:]):
        told.append(f"{_requests(others)} to others")
    *before, last = told or [""]
    return f"{', '.join(before)} and {last}" if before else last


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"
