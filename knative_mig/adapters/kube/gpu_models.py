"""GPU models as GpuNodes carry them, each one object however many nodes tell of it.

Called by `gpu_node_codec`. `GpuModel` is compared by identity, and so is what the planner takes from it: two nodes with
the same A100 must give the same object, today's status the same as yesterday's. A model that is the public tables' to
the last figure is the tables' object.
"""

import threading
from typing import Any, Final
from weakref import WeakValueDictionary

from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.profile import ProfileName

_Content = tuple[str, int, int, tuple[Profile, ...]]

_lock: Final = threading.Lock()
# Weakly: what no node has any more is forgotten.
_known: Final[WeakValueDictionary[_Content, GpuModel]] = WeakValueDictionary()

_MOST_REMEMBERED: Final = 16
_read_last: tuple[tuple[dict[str, Any], GpuModel], ...] = ()


def _content(model: GpuModel) -> _Content:
    return model.name, model.memory_units, model.compute_slices, model.profiles


_known.update((_content(model), model) for model in GPU_MODELS)


def interned(model: GpuModel) -> GpuModel:
    """The one object of this content."""
    with _lock:
        return _known.setdefault(_content(model), model)


def read(fields: Fields) -> GpuModel:
    """Nearly each time one that was told of a moment ago."""
    global _read_last  # noqa: PLW0603 - replaced whole, so no thread sees half of it
    for said, model in _read_last:
        if said == fields.values:
            return model
    found = _read(fields)
    _read_last = ((dict(fields.values), found), *_read_last)[:_MOST_REMEMBERED]
    return found


def _read(fields: Fields) -> GpuModel:
    units = fields.integer("memoryUnits", 1)
    profiles = tuple(_profile(each, units) for each in fields.children("profiles"))
    if len({each.name for each in profiles}) != len(profiles):
        raise fields.bad("profiles", "each profile once")
    return interned(
        GpuModel(
            name=fields.name("name"),
            memory_units=units,
            compute_slices=fields.integer("computeSlices", 1),
            profiles=profiles,
        )
    )


def _profile(fields: Fields, units: int) -> Profile:
    size, starts = fields.integer("memoryUnits", 1), fields.integers("starts")
    if any(start < 0 or start + size > units for start in starts):
        raise fields.bad("starts", f"starts from which {size} units lie within the {units} there are")
    return Profile(
        name=fields.parsed("name", ProfileName.parse, "a profile"),
        memory_units=size,
        starts=starts,
        max_instances=fields.integer("maxInstances"),
        memory_mib=fields.optional_integer("memoryMiB"),
        multiprocessors=fields.optional_integer("multiprocessors"),
        nvml_enum=fields.integer("nvmlEnum"),
        nvml_id=fields.integer("nvmlId"),
    )


def written(model: GpuModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "memoryUnits": model.memory_units,
        "computeSlices": model.compute_slices,
        "profiles": [_profile_out(each) for each in model.profiles],
    }


def _profile_out(profile: Profile) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": str(profile.name),
        "memoryUnits": profile.memory_units,
        "starts": list(profile.starts),
        "maxInstances": profile.max_instances,
        "nvmlEnum": profile.nvml_enum,
        "nvmlId": profile.nvml_id,
    }
    if profile.memory_mib is not None:
        out["memoryMiB"] = profile.memory_mib
    if profile.multiprocessors is not None:
        out["multiprocessors"] = profile.multiprocessors
    return out
