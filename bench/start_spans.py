"""A cold start taken apart: which of its time is ours, which another's, and what nobody explains.

Pure; called by `bench.coldstart` with the moments that `bench.start_notes` found. Times are seconds from the request.
A span of ours begins when the last thing that it needs was there and ends with what it wrote, so whatever we wait for
in between, the kubelet that has to let go of a slice say, counts as ours. Spans may lie beside what Knative does at the
same time: their sum is what the start would take less without us at the most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, nan
from statistics import median
from typing import Final


class Kind(StrEnum):
    UNINSTALLED = "nothing of ours installed"
    PLAIN = "plain"
    IDLE_SLICE = "idle slice"
    MERGE = "merge"


# As on the walk. "wanted": the autoscaler has written that it wants a pod; "offered": the Node has the new slice.
PHASES: Final = (
    "wanted", "pending event", "pod created", "plan", "cut", "offered", "slice", "schedulable", "scheduled", "started",
    "ready", "first byte",
)  # fmt: skip
OWN: Final = (
    "event sent",
    "plan, spec written",
    "taken back, NVML",
    "plugin push, node patch",
    "status told",
    "gate lifted",
)
OTHERS: Final = ("a pod is wanted", "it is created", "it is scheduled", "its containers start", "the first byte comes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    kind: Kind
    reached: Mapping[str, float]

    @property
    def total(self) -> float:
        return self.reached["first byte"]

    @property
    def own(self) -> dict[str, float]:
        """Of the spans in `OWN` those that this start has."""
        at = self.reached
        if "pending event" not in at or "schedulable" not in at:
            return {}
        spans = {"event sent": _since(at, "pending event", "wanted")}
        if "plan" in at:
            # With the pod not there yet, the event was all that was known.
            known = ("pending event", "pod created") if at["pod created"] <= at["plan"] else ("pending event",)
            spans["plan, spec written"] = _since(at, "plan", *known)
            spans["taken back, NVML"] = _since(at, "cut", "plan")
            spans["plugin push, node patch"] = _since(at, "offered", "cut")
            spans["status told"] = _since(at, "slice", "offered")
            spans["gate lifted"] = _since(at, "schedulable", "offered", "slice", "pod created")
        else:
            spans["gate lifted"] = _since(at, "schedulable", "pending event", "pod created")
        return spans

    @property
    def others(self) -> dict[str, float]:
        """Of Knative, scheduler and kubelet, one after another."""
        at = self.reached
        found = {"a pod is wanted": at.get("wanted", 0.0), "it is created": _since(at, "pod created", "wanted")}
        found["it is scheduled"] = _since(at, "scheduled", "schedulable", "pod created")
        found["its containers start"] = _since(at, "started", "scheduled")
        found["the first byte comes"] = _since(at, "first byte", "started")
        return found

    @property
    def own_s(self) -> float:
        return sum(self.own.values())

    @property
    def rest(self) -> float:
        """What neither ours nor others' spans explain; less than nothing where these go on side by side."""
        return self.total - self.own_s - sum(self.others.values())


def _since(at: Mapping[str, float], end: str, *begins: str) -> float:
    """Never less than nothing: two watches may tell the two moments of one write in either order."""
    return max(0.0, at[end] - max(at[begin] for begin in begins))


def quantile(values: Sequence[float], share: float) -> float:
    """The median, or the smallest value that so many are not above; no value, no number."""
    if not values:
        return nan
    if share == 0.5:
        return median(values)
    return sorted(values)[ceil(share * len(values)) - 1]


def two(values: Sequence[float]) -> str:
    """p50 / p95 in milliseconds."""
    return f"{1000 * quantile(values, 0.5):.0f} / {1000 * quantile(values, 0.95):.0f}" if values else ""


def by_phase(starts: Mapping[Kind, Sequence[Start]]) -> list[tuple[str, ...]]:
    """The head, and a row for each phase that any of them has."""
    rows = [
        (phase, *(two([each.reached[phase] for each in some if phase in each.reached]) for some in starts.values()))
        for phase in PHASES
    ]
    return [_head("request to", starts), *(row for row in rows if any(row[1:]))]


def by_span(starts: Mapping[Kind, Sequence[Start]]) -> list[tuple[str, ...]]:
    def row(name: str, parts: Sequence[Sequence[float]]) -> tuple[str, ...]:
        return (name, *(two(part) for part in parts))

    kinds = list(starts.values())
    rows = [row(name, [[each.own[name] for each in some if name in each.own] for some in kinds]) for name in OWN]
    rows.append(row("our own time", [[each.own_s for each in some if each.own] for some in kinds]))
    rows += [row(name, [[each.others[name] for each in some] for some in kinds]) for name in OTHERS]
    rows.append(row("not explained", [[each.rest for each in some] for some in kinds]))
    rows.append(row("total", [[each.total for each in some] for some in kinds]))
    return [_head("span", starts), *rows]


def figures(starts: Mapping[Kind, Sequence[Start]]) -> dict[str, float]:
    """By the keys of the command's last line."""
    seconds = {kind: [each.total for each in starts.get(kind, ())] for kind in Kind}
    plain, merge = (quantile(seconds[kind], 0.5) for kind in (Kind.PLAIN, Kind.MERGE))
    return {
        "plain_p50_s": plain,
        "idle_slice_p50_s": quantile(seconds[Kind.IDLE_SLICE], 0.5),
        "merge_p50_s": merge,
        "merge_p95_s": quantile(seconds[Kind.MERGE], 0.95),
        "merge_over_plain": merge / plain,
        "own_p50_ms": 1000 * quantile([each.own_s for each in starts.get(Kind.MERGE, ())], 0.5),
        "plain_over_uninstalled": plain / quantile(seconds[Kind.UNINSTALLED], 0.5),
    }


def _head(first: str, starts: Mapping[Kind, Sequence[Start]]) -> tuple[str, ...]:
    return (first, *(f"{kind} ({len(some)})" for kind, some in starts.items()))
