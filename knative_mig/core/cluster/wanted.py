"""Turns a decision into specs: what each GPU that changes is to hold from now on.

Called by the planner's loop, which writes them. Everything that stands is named again, idle slices too (scale to zero
leaves the slice), so that only what a step destroys goes. Nothing is written for a node whose agent has not answered
the last spec, and a slice with a pod on it is in every spec. Where an administrator chose the layout, or did until a
moment ago, an old spec is emptied before anything else: what stands there is adopted by the next round.
"""

from collections.abc import Iterable, Mapping

from knative_mig.core.cluster.decide import key_of
from knative_mig.core.cluster.node_view import GpuView, NodeView
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec, SliceKey, WantedGpu, WantedSlice
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.planner.decisions import Step


def specs(
    steps: Iterable[Step],
    views: Mapping[NodeName, NodeView],
    gpu_nodes: Mapping[NodeName, GpuNode],
    token: int,
    looked_at: Iterable[NodeName],
) -> dict[NodeName, GpuNodeSpec]:
    """Only those that differ from what is there. `looked_at`: the nodes whose spec may have to be put right."""
    by_node: dict[NodeName, list[Step]] = {}
    for step in steps:
        if not step.target.reuses:
            by_node.setdefault(step.target.node, []).append(step)
    changed = {}
    for name in {*by_node, *looked_at}:
        if name in views and name in gpu_nodes:
            node = gpu_nodes[name]
            if node.status is not None and node.status.spec_set_aside:
                spec = GpuNodeSpec(fencing_token=token) if node.spec.gpus else None
            else:
                spec = _spec(views[name], node.spec, by_node.get(name, ()), token)
            if spec:
                changed[name] = spec
    return changed


def _spec(view: NodeView, now: GpuNodeSpec, here: Iterable[Step], token: int) -> GpuNodeSpec | None:
    steps: dict[GpuUuid, list[Step]] = {}
    for step in here:
        steps.setdefault(step.target.gpu, []).append(step)
    wanted = {gpu.uuid: gpu for gpu in now.gpus if gpu.uuid not in view.unlisted}
    for gpu in view.gpus:
        if gpu.writable and (gpu.differs or gpu.gpu.uuid in steps):
            anew = _wanted(gpu, _after(gpu, steps.get(gpu.gpu.uuid, ())))
            named = wanted.get(gpu.gpu.uuid)
            if named is None or {*named.slices} != {*anew.slices}:
                wanted[gpu.gpu.uuid] = anew
    gpus = tuple(wanted[uuid] for uuid in sorted(wanted))
    return None if set(gpus) == set(now.gpus) else GpuNodeSpec(fencing_token=token, gpus=gpus)


def _after(view: GpuView, steps: Iterable[Step]) -> set[SliceKey]:
    keys = set(view.keep)
    for step in steps:
        target = step.target
        keys -= {SliceKey(profile=place.profile.name, start=place.start) for place in target.destroys}
        keys -= {key for key in view.released if _place(view, key).mask & target.place.mask}
        clash = [key for key in keys if _place(view, key).mask & target.place.mask]
        if not clash:
            keys.add(key_of(step))
    return keys


def _wanted(view: GpuView, keys: Iterable[SliceKey]) -> WantedGpu:
    slices = (
        WantedSlice(profile=key.profile, start=key.start, size=_place(view, key).profile.memory_units) for key in keys
    )
    return WantedGpu(uuid=view.gpu.uuid, slices=tuple(sorted(slices, key=lambda each: (each.start, each.profile))))


def _place(view: GpuView, key: SliceKey) -> Place:
    model = view.gpu.model
    return model.place(model.profile(key.profile), key.start)
