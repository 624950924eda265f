"""`GpuNode` as the API's JSON, and back.

Called by `gpu_nodes` and by whoever mirrors GpuNodes. Unknown fields are passed over, for planner and agents are
upgraded one after the other; what cannot be is BadInput with its place, and what is only long is cut to what the schema
(config/core/300-gpunode.yaml) takes: a status is never refused for a talkative driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

from knative_mig.adapters.kube import conditions, gpu_models
from knative_mig.adapters.kube.fields import Fields, time_text
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.core.cluster import planned
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import (
    Condition,
    ForeignStatus,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    JournalState,
    Layout,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.profile import ProfileName

E = TypeVar("E", bound=StrEnum)

MOST_PIDS: Final = 64
MOST_HOLDERS: Final = 64
_WHY: Final = 1024  # characters
_MESSAGE: Final = 32768
_PLANNED: Final = "planned"


def read(body: Mapping[str, Any]) -> GpuNode:
    top = Fields(body)
    about, status = top.child("metadata"), top.child("status")
    return GpuNode(
        name=NodeName(about.name("name")),
        uid=about.text("uid"),
        generation=about.optional_integer("generation") or 0,
        resource_version=about.text("resourceVersion"),
        labels=about.labels("labels"),
        spec=_spec(top.child("spec")),
        status=_status(status) if status.values.keys() - {_PLANNED} else None,
        planned=_planned(status.child(_PLANNED)) if status.has(_PLANNED) else None,
    )


def _spec(spec: Fields) -> GpuNodeSpec:
    gpus = tuple(_wanted_gpu(each) for each in spec.children("gpus"))
    _no_two(spec.where("gpus"), [gpu.uuid for gpu in gpus])
    return GpuNodeSpec(fencing_token=spec.optional_integer("fencingToken") or 0, gpus=gpus)


def _wanted_gpu(gpu: Fields) -> WantedGpu:
    slices = tuple(
        WantedSlice(profile=_profile(each), start=each.integer("start"), size=each.integer("size", 1))
        for each in gpu.children("slices")
    )
    end, last = 0, None
    for each in sorted(slices, key=lambda wanted: wanted.start):
        if last is not None and each.start < end:
            raise BadInput(f"{gpu.where('slices')}: {last.key} and {each.key} lie on the same memory units")
        end, last = each.start + each.size, each
    return WantedGpu(uuid=GpuUuid(gpu.name("uuid")), slices=slices)


def _status(status: Fields) -> GpuNodeStatus:
    models = tuple(gpu_models.read(each) for each in status.children("models"))
    names = [model.name for model in models]
    _no_two(status.where("models"), names)
    gpus = tuple(_gpu(each, names) for each in status.children("gpus"))
    _no_two(status.where("gpus"), [gpu.uuid for gpu in gpus])
    journal = status.child("journal")
    return GpuNodeStatus(
        observed_generation=status.optional_integer("observedGeneration") or 0,
        layout=_choice(status, "layout", Layout, Layout.DYNAMIC),
        agent_version=status.text("agentVersion"),
        boot_id=status.text("bootId"),
        models=models,
        gpus=gpus,
        journal=_choice(journal, "state", JournalState, JournalState.CLEAN),
        open_intents=journal.optional_integer("openIntents") or 0,
        conditions=tuple(_condition(each) for each in status.children("conditions")),
    )


def _gpu(gpu: Fields, models: Sequence[str]) -> GpuStatus:
    model = gpu.text("model")
    if model and model not in models:
        raise gpu.bad("model", "one of status.models")
    return GpuStatus(
        uuid=GpuUuid(gpu.name("uuid")),
        product=gpu.text("product"),
        model=model,
        health=_choice(gpu, "health", GpuHealth),
        slices=tuple(_slice(each) for each in gpu.children("slices")),
        foreign=tuple(
            ForeignStatus(start=each.integer("start"), size=each.integer("size", 1), why=each.text("why"))
            for each in gpu.children("foreign")
        ),
        why=gpu.text("why"),
    )


def _slice(fields: Fields) -> SliceStatus:
    return SliceStatus(
        key=_key(_profile(fields), fields.integer("start")),
        size=fields.integer("size", 1),
        state=_choice(fields, "state", SliceState),
        mig_uuid=fields.text("migUUID") or None,
        holders=tuple(_holder(each) for each in fields.children("holders")),
        pids=fields.integers("pids"),
        idle_since=fields.time("idleSince"),
        last_holder=_holder(fields.child("lastHolder")) if fields.has("lastHolder") else None,
        why=fields.text("why"),
    )


def _holder(fields: Fields) -> Holder:
    return Holder(namespace=fields.name("namespace"), pod=fields.name("pod"), container=fields.name("container"))


def _planned(fields: Fields) -> Condition:
    return conditions.read(planned.TYPE, fields)


def _condition(fields: Fields) -> Condition:
    return conditions.read(fields.name("type"), fields)


def _choice(fields: Fields, key: str, states: type[E], absent: E | None = None) -> E:
    if absent is not None and not fields.has(key):
        return absent
    try:
        return states(fields.text(key))
    except ValueError:
        raise fields.bad(key, f"one of {', '.join(states)}") from None


# A thousand nodes tell of the same few profiles and places: one object each.
_parse_profile = lru_cache(maxsize=1024)(ProfileName.parse)


def _profile(fields: Fields) -> ProfileName:
    return fields.parsed("profile", _parse_profile, "a profile")


@lru_cache(maxsize=4096)
def _key(profile: ProfileName, start: int) -> SliceKey:
    return SliceKey(profile=profile, start=start)


def _no_two(where: str, values: Sequence[str]) -> None:
    if twice := {each for each in values if values.count(each) > 1}:
        raise BadInput(f"{where}: {min(twice)} stands there twice")


def new(name: NodeName, node_uid: str) -> dict[str, Any]:
    """Empty; it goes when its Node goes."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
    return {
        "apiVersion": GPU_NODE.group,
        "kind": GPU_NODE.kind,
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": spec_out(GpuNodeSpec()),
    }


def spec_out(spec: GpuNodeSpec) -> dict[str, Any]:
    return {
        "fencingToken": spec.fencing_token,
        "gpus": [
            {
                "uuid": gpu.uuid,
                "slices": [
                    {"profile": str(each.profile), "start": each.start, "size": each.size} for each in gpu.slices
                ],
            }
            for gpu in spec.gpus
        ],
    }


def status_out(status: GpuNodeStatus) -> dict[str, Any]:
    return {
        "observedGeneration": status.observed_generation,
        "layout": status.layout.value,
        "agentVersion": status.agent_version[:64],
        "bootId": status.boot_id[:64],
        "models": [gpu_models.written(model) for model in status.models],
        "gpus": [_gpu_out(gpu) for gpu in status.gpus],
        "summary": _summary(status),
        "journal": {"state": status.journal.value, "openIntents": status.open_intents},
        "conditions": [_condition_out(each, status.observed_generation) for each in status.conditions],
    }


def _gpu_out(gpu: GpuStatus) -> dict[str, Any]:
    out: dict[str, Any] = {
        "uuid": gpu.uuid,
        "product": gpu.product[:128],
        "health": gpu.health.value,
        "slices": [_slice_out(each) for each in gpu.slices],
        "foreign": [{"start": each.start, "size": each.size, "why": each.why[:_WHY]} for each in gpu.foreign],
    }
    if gpu.model:
        out["model"] = gpu.model
    if gpu.why:
        out["why"] = gpu.why[:_WHY]
    return out


def _slice_out(each: SliceStatus) -> dict[str, Any]:
    out: dict[str, Any] = {
        "profile": str(each.key.profile),
        "start": each.key.start,
        "size": each.size,
        "state": each.state.value,
    }
    if each.mig_uuid:
        out["migUUID"] = each.mig_uuid
    if each.holders:
        out["holders"] = [_holder_out(holder) for holder in each.holders[:MOST_HOLDERS]]
    if each.pids:
        out["pids"] = list(each.pids[:MOST_PIDS])
    if each.idle_since is not None:
        out["idleSince"] = time_text(each.idle_since)
    if each.last_holder is not None:
        out["lastHolder"] = _holder_out(each.last_holder)
    if each.why:
        out["why"] = each.why[:_WHY]
    return out


def _holder_out(holder: Holder) -> dict[str, str]:
    return {"namespace": holder.namespace, "pod": holder.pod, "container": holder.container}


def planned_out(condition: Condition) -> dict[str, Any]:
    return conditions.written(condition)


def _condition_out(condition: Condition, generation: int) -> dict[str, Any]:
    cut = replace(condition, message=condition.message[:_MESSAGE])
    return {"type": condition.type, **conditions.written(cut), "observedGeneration": generation}


def _summary(status: GpuNodeStatus) -> dict[str, Any]:
    """What kubectl shows. A unit is free where no slice and nothing foreign lies on it, of all that the node has: a GPU
    that is ill has none that is free. A broken slice is busy while somebody is on it.
    """
    units = {model.name: model.memory_units for model in status.models}
    known = [gpu for gpu in status.gpus if gpu.model in units]
    healthy = [gpu for gpu in known if gpu.health is GpuHealth.HEALTHY]
    slices = [each for gpu in status.gpus for each in gpu.slices]
    states = [each.state for each in slices]
    broken = sum(each.state is SliceState.BROKEN and bool(each.holders or each.pids) for each in slices)
    free = 0
    for gpu in healthy:
        taken = {unit for each in gpu.slices for unit in range(each.key.start, each.key.start + each.size)}
        taken |= {unit for each in gpu.foreign for unit in range(each.start, each.start + each.size)}
        free += len(set(range(units[gpu.model])) - taken)
    return {
        "gpus": f"{len(healthy)}/{len(status.gpus)}",
        "busy": states.count(SliceState.BUSY) + broken,
        "idle": states.count(SliceState.IDLE) + states.count(SliceState.RELEASED),
        "free": f"{free}/{sum(units[gpu.model] for gpu in known)}",
    }
