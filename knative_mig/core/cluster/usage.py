"""What each namespace, or each of its services, has used: from stored meters, or from a page of metrics.

Called by `knative-mig usage`. Busy shares are what a namespace pays for; idle ones are nobody's and stand on a line of
their own, so that the sum is what the GPUs were cut into.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from knative_mig.core.cluster.meters import Whose
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceState

METRIC: Final = "knative_mig_slice_share_seconds"
_LINE = re.compile(METRIC + r"_total\{(?P<labels>.*)\} (?P<seconds>\S+)(?: \S+)?", re.ASCII)
_LABEL = re.compile(r'(?P<name>[a-z]+)="(?P<value>(?:[^"\\]|\\.)*)"', re.ASCII)
_NAMES: Final = frozenset({"namespace", "service", "profile", "state"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Seconds of a whole GPU; `other_s`: slices released, draining or broken."""

    namespace: str
    service: str = ""
    busy_s: float = 0.0
    idle_s: float = 0.0
    other_s: float = 0.0

    @property
    def whole_s(self) -> float:
        return self.busy_s + self.idle_s + self.other_s


def used(shares: Mapping[Whose, float], *, by_service: bool = False) -> list[Used]:
    """In the order of their names; what nobody held comes last."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for whose, seconds in shares.items():
        kind = {SliceState.BUSY: "busy_s", SliceState.IDLE: "idle_s"}.get(SliceState(whose.state), "other_s")
        mine = sums.setdefault((whose.namespace, whose.service if by_service else ""), {})
        mine[kind] = mine.get(kind, 0.0) + seconds
    ordered = sorted(sums.items(), key=lambda item: (not item[0][0], item[0]))
    return [Used(namespace=namespace, service=service, **seconds) for (namespace, service), seconds in ordered]


def shares_on(page: str) -> dict[Whose, float]:
    """BadInput for a page that is not the leading planner's, or that cannot be read."""
    if METRIC not in page:
        raise BadInput(f"no {METRIC}_total on that page: legal is what the leading planner's /metrics answers")
    return dict(_read(page))


def _read(page: str) -> Iterator[tuple[Whose, float]]:
    for number, line in enumerate(page.splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if not match:
            if line.startswith(f"{METRIC}_total"):
                raise BadInput(f"line {number} is no sample of {METRIC}_total: {line[:100]!r}")
            continue
        labels = {each["name"]: _plain(each["value"]) for each in _LABEL.finditer(match["labels"])}
        try:
            seconds = float(match["seconds"])
            state = SliceState(labels.get("state", ""))
        except ValueError:
            seconds, state = -1.0, SliceState.BROKEN
        if not (labels.keys() >= _NAMES and isfinite(seconds) and seconds >= 0):
            raise BadInput(f"line {number} is no sample of {METRIC}_total: {line[:100]!r}")
        yield Whose(labels["namespace"], labels["service"], labels["profile"], str(state)), seconds


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)
