"""A state of simulated GPUs as JSON, and back: what is read is checked to the last field, and against a digest.

Called by `state_file` alone. A file is written by this code or it is damaged; a slice that overlaps another, a key too
many, a flipped bit in a pid are all told, with the place where they stand.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from knative_mig.adapters.sim_gpu.faults import ERRORS, Call, Fault, Harm, When
from knative_mig.adapters.sim_gpu.state import MOST_GPUS, Holder, Instance, NumberedEvent, SimulatedGpu, State
from knative_mig.core.errors import BadInput
from knative_mig.core.layout import overlap
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuUuid, HealthEvent, MigMode, MigUuid

VERSION: Final = 1
_BEFORE_STATE: Final = ', "state": '
_AFTER_STATE: Final = "}\n"


class Damage(Exception):
    """What is wrong with the bytes; who read them adds the name of the file."""


def encode(state: State) -> bytes:
    body = {
        "serial": state.serial,
        "event_number": state.event_number,
        "gpus": [_gpu_out(gpu) for gpu in state.gpus],
        "events": [
            {"number": each.number, "gpu": each.event.gpu, "xid": each.event.xid, "gi_id": each.event.gi_id}
            for each in state.events
        ],
        "faults": [
            {
                "call": fault.call.value,
                "harm": fault.harm.value,
                "when": fault.when.value,
                "nth": fault.nth,
                "probability": fault.probability,
                "seed": fault.seed,
                "error": fault.error.reason,
                "hang_s": fault.hang_s,
                "seen": fault.seen,
            }
            for fault in state.faults
        ],
    }
    text = _canonical(body)
    return f'{{"version": {VERSION}, "sha256": "{_sha256(text)}"{_BEFORE_STATE}{text}{_AFTER_STATE}'.encode()


def _gpu_out(gpu: SimulatedGpu) -> dict[str, Any]:
    return {
        "uuid": gpu.uuid,
        "model": gpu.model.name,
        "mode": {"current": gpu.mode.current, "pending": gpu.mode.pending},
        "lost": gpu.lost,
        "hangs": gpu.hangs,
        "wants_reset": gpu.wants_reset,
        "mode_needs_reset": gpu.mode_needs_reset,
        "instances": [
            {
                "serial": each.serial,
                "gi_id": each.gi_id,
                "profile": str(each.place.profile),
                "start": each.place.start,
                "mig_uuid": each.mig_uuid,
                "holders": [{"pid": h.pid, "started": h.started, "memory_mib": h.memory_mib} for h in each.holders],
            }
            for each in gpu.instances
        ],
    }


def digest(body: object) -> str:
    return _sha256(_canonical(body))


def _canonical(body: object) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def decode(data: bytes, known: "Known | None" = None) -> State:
    """Raises Damage for anything but what `encode` wrote. `known`: remembers GPUs from one time to the next."""
    if not data:
        raise Damage("is empty")
    try:
        text = data.decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damage(f"is not JSON: {error}") from error
    top = _Reader(document, "the file")
    version = top.integer("version")
    if version != VERSION:
        raise Damage(f"has version {version}: this knative-mig reads version {VERSION}")
    as_it_stands = text.partition(_BEFORE_STATE)[2].removesuffix(_AFTER_STATE)
    told = top.text("sha256")
    if told != _sha256(as_it_stands) and told != digest(top.fields.get("state")):  # a file of before was indented
        raise Damage("does not match its digest: it was torn or edited")
    top.only("version", "sha256", "state")
    body = top.child("state")
    body.only("serial", "event_number", "gpus", "events", "faults")
    gpus = tuple((known or Known()).gpu(reader) for reader in body.children("gpus", most=MOST_GPUS))
    _no_two("gpus", [gpu.uuid for gpu in gpus])
    return State(
        gpus=gpus,
        serial=body.integer("serial"),
        event_number=body.integer("event_number"),
        events=tuple(_event_in(reader) for reader in body.children("events")),
        faults=tuple(_fault_in(reader) for reader in body.children("faults")),
    )


class Known:
    """GPUs that were read before and say the same now, each the same object: a file of many GPUs changes by one of them
    at a time, and each of its readers reads it anew each time.
    """

    def __init__(self) -> None:
        self._by_uuid: dict[object, tuple[dict[str, object], SimulatedGpu]] = {}

    def gpu(self, reader: "_Reader") -> SimulatedGpu:
        uuid = reader.fields.get("uuid")
        said, gpu = self._by_uuid.get(uuid, (None, None)) if isinstance(uuid, str) else (None, None)
        if gpu is None or said != reader.fields:
            gpu = _gpu_in(reader)
            self._by_uuid[gpu.uuid] = reader.fields, gpu
        return gpu


def _gpu_in(gpu: "_Reader") -> SimulatedGpu:
    gpu.fields.setdefault("wants_reset", False)  # a file that is older than the question
    gpu.fields.setdefault("hangs", False)
    gpu.only("uuid", "model", "mode", "lost", "hangs", "mode_needs_reset", "instances", "wants_reset")
    try:
        model = gpu_model(gpu.text("model"))
    except BadInput as error:
        raise Damage(f"{gpu.where}: {error}") from error
    mode = gpu.child("mode")
    mode.only("current", "pending")
    instances: list[Instance] = []
    for each in gpu.children("instances"):
        each.only("serial", "gi_id", "profile", "start", "mig_uuid", "holders")
        try:
            place = model.place(model.profile(ProfileName.parse(each.text("profile"))), each.integer("start"))
        except BadInput as error:
            raise Damage(f"{each.where}: {error}") from error
        mig_uuid = None if each.fields.get("mig_uuid") is None else MigUuid(each.text("mig_uuid"))
        instances.append(
            Instance(
                serial=each.integer("serial"),
                gi_id=each.integer("gi_id"),
                place=place,
                mig_uuid=mig_uuid,
                holders=tuple(_holder_in(reader) for reader in each.children("holders")),
            )
        )
    if clash := overlap([each.place for each in instances]):
        raise Damage(f"{gpu.where}: {clash[0]} and {clash[1]} overlap")
    _no_two(f"{gpu.where}.instances", [each.gi_id for each in instances])
    _no_two(f"{gpu.where}.instances", [each.serial for each in instances])
    return SimulatedGpu(
        uuid=GpuUuid(gpu.text("uuid")),
        model=model,
        mode=MigMode(current=mode.boolean("current"), pending=mode.boolean("pending")),
        instances=tuple(sorted(instances, key=lambda each: each.place.start)),
        lost=gpu.boolean("lost"),
        hangs=gpu.boolean("hangs"),
        wants_reset=gpu.boolean("wants_reset"),
        mode_needs_reset=gpu.boolean("mode_needs_reset"),
    )


def _holder_in(holder: "_Reader") -> Holder:
    holder.only("pid", "started", "memory_mib")
    return Holder(pid=holder.integer("pid"), started=holder.integer("started"), memory_mib=holder.integer("memory_mib"))


def _event_in(event: "_Reader") -> NumberedEvent:
    event.only("number", "gpu", "xid", "gi_id")
    gi_id = None if event.fields.get("gi_id") is None else event.integer("gi_id")
    return NumberedEvent(
        number=event.integer("number"),
        event=HealthEvent(gpu=GpuUuid(event.text("gpu")), xid=event.integer("xid"), gi_id=gi_id),
    )


def _fault_in(fault: "_Reader") -> Fault:
    fault.only("call", "harm", "when", "nth", "probability", "seed", "error", "hang_s", "seen")
    try:
        return Fault(
            call=Call(fault.text("call")),
            harm=Harm(fault.text("harm")),
            when=When(fault.text("when")),
            nth=None if fault.fields.get("nth") is None else fault.integer("nth"),
            probability=fault.number("probability"),
            seed=fault.integer("seed"),
            error=ERRORS[fault.text("error")],
            hang_s=fault.number("hang_s"),
            seen=fault.integer("seen"),
        )
    except (ValueError, KeyError, BadInput) as error:
        raise Damage(f"{fault.where}: {error}") from error


def _no_two(where: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise Damage(f"{where}: one of {list(values)} stands there twice")


class _Reader:
    """An object of the file, and where it stands in it."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise Damage(f"{where} is not an object")
        self.fields: dict[str, object] = value
        self.where = where

    def only(self, *known: str) -> None:
        if odd := sorted(set(self.fields) ^ set(known)):
            raise Damage(f"{self.where}: {', '.join(odd)} is missing or unknown")

    def integer(self, key: str) -> int:
        value = self.fields.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Damage(f"{self.where}.{key} is not a whole number from 0")
        return value

    def number(self, key: str) -> float:
        value = self.fields.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Damage(f"{self.where}.{key} is not a number")
        return float(value)

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        if not isinstance(value, str) or not value:
            raise Damage(f"{self.where}.{key} is not a text")
        return value

    def boolean(self, key: str) -> bool:
        value = self.fields.get(key)
        if not isinstance(value, bool):
            raise Damage(f"{self.where}.{key} is not true or false")
        return value

    def child(self, key: str) -> "_Reader":
        return _Reader(self.fields.get(key), f"{self.where}.{key}")

    def children(self, key: str, most: int = 100_000) -> "list[_Reader]":
        value = self.fields.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise Damage(f"{self.where}.{key} is not a list of at most {most}")
        return [_Reader(each, f"{self.where}.{key}[{at}]") for at, each in enumerate(value)]
