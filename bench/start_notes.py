"""What watches and logs told during a start, and when each of its moments was.

`Notes` keeps what the watches of `bench.start_cluster` bring, `moments` reads one start out of it. Kubernetes writes
its times in whole seconds, so a moment is when its change arrived at a watch, some milliseconds after it was written.
Lines of logs have the container runtime's time. All nodes and this process share one clock.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tests.cluster.api import Object
from tests.cluster.slices import GATE, slices_of
from tests.cluster.waits import is_true

_SENT: Final = re.compile(r"Sent: '(\S+) \S+'$")
_CUT: Final = re.compile(r"reconfigurer\.agent\.gpu_loop: (?:Created|Finished) \S+/(\S+)/\d+: ")


@dataclass(frozen=True, slots=True)
class Note:
    at: float  # monotonic
    plural: str
    event: str
    item: Object


@dataclass(slots=True)
class Notes:
    """Any thread adds, an append being one step."""

    all: list[Note] = field(default_factory=list)

    def taker(self, plural: str) -> "Taker":
        return Taker(self, plural)


@dataclass(frozen=True, slots=True)
class Taker:
    notes: Notes
    plural: str

    def __call__(self, arrived: float, event: str, item: Object) -> None:
        self.notes.all.append(Note(arrived, self.plural, event, item))


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was there when the request was made, so that only what is new counts."""

    namespace: str
    service: str
    revision: str
    profile: str  # empty: it wants no slice
    pods: frozenset[str]  # UIDs
    slices: frozenset[str]  # MIG UUIDs
    specs: Mapping[str, object]  # of GpuNodes, their GPUs
    offered: Mapping[str, int]  # by node, of this profile


def moments(notes: Iterable[Note], before: Before, asked: float) -> dict[str, float]:
    """Seconds from the request, by phase, each the first time that it was seen."""
    reached: dict[str, float] = {}
    for note in notes:
        for phase in _phases(note, before):
            reached.setdefault(phase, note.at - asked)
    return reached


def _phases(note: Note, before: Before) -> Iterator[str]:
    item, about = note.item, note.item["metadata"]
    match note.plural:
        case "podautoscalers":
            mine = (about["namespace"], about["name"]) == (before.namespace, before.revision)
            if mine and item.get("status", {}).get("desiredScale", 0) > 0:
                yield "wanted"
        case "pods":
            if note.event != "DELETED" and _is_new(about, before):
                yield from _phases_of_pod(item)
        case "gpunodes" if before.profile:
            if item["spec"].get("gpus") != before.specs.get(about["name"]):
                yield "plan"
            if any(each.profile == before.profile and each.uuid not in before.slices for each in slices_of(item)):
                yield "slice"
        case "nodes" if before.profile:
            if offered(item, before.profile) > before.offered.get(about["name"], 0):
                yield "offered"


def _is_new(about: Object, before: Before) -> bool:
    return (
        about["namespace"] == before.namespace
        and about.get("labels", {}).get("serving.knative.dev/service") == before.service
        and about["uid"] not in before.pods
        and "deletionTimestamp" not in about
    )


def _phases_of_pod(pod: Object) -> Iterator[str]:
    yield "pod created"
    if not any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates", [])):
        yield "schedulable"
    if pod["spec"].get("nodeName"):
        yield "scheduled"
    containers = pod["status"].get("containerStatuses", [])
    if containers and all("running" in each["state"] for each in containers):
        yield "started"
    if is_true(pod):
        yield "ready"


def offered(node: Object, profile: str) -> int:
    return int(node["status"].get("allocatable", {}).get(f"nvidia.com/mig-{profile}", 0))


# ---------------------------------------------------------------- logs


def told_in_logs(lines: Iterable[str], before: Before, asked_wall: float) -> dict[str, float]:
    """Of the pending source and the agents, with the runtime's time before each line."""
    reached: dict[str, float] = {}
    for line in lines:
        stamp, _, text = line.partition(" ")
        after = seconds(stamp) - asked_wall if stamp else -1.0
        if after < 0:
            continue
        sent, cut = _SENT.search(text), _CUT.search(text)
        if sent and sent[1] == f"{before.namespace}/{before.revision}":
            reached.setdefault("pending event", after)
        if cut and cut[1] == before.profile:
            reached["cut"] = after  # the last one: what was made before it did not do
    return reached


def seconds(stamp: str) -> float:
    """Of a time with nanoseconds, which are more digits than Python reads."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def wall_of(monotonic: float) -> float:
    return time.time() - time.monotonic() + monotonic
