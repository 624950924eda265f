"""Reads mig-parted's `mig-configs` file: named layouts that NVIDIA's mig-manager applies to the GPUs of a node.

Called by `layouts check`. It accepts what mig-parted accepts, but for compute instances (`1c.3g.20gb`), which share one
slice between processes: knative-mig makes whole slices only, and says so rather than calling such a layout illegal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from knative_mig.cli.yaml_input import Field
from knative_mig.cli.yaml_tree import quoted
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.profile import ProfileName

NVIDIA: Final = "10DE"
# PCI device id and vendor id in one word, then perhaps the subsystem's, which tells boards of one model apart.
_DEVICE_ID = re.compile(r"0[xX]([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})(:0[xX][0-9A-Fa-f]{1,8})?", re.ASCII)
_DEVICE_ID_FORM: Final = 'a PCI device id and vendor id in one, written like "0x20B010DE"'
_COMPUTE_INSTANCE = re.compile(r"[1-9][0-9]?c\..*", re.ASCII | re.DOTALL)
_MOST_SLICES: Final = 1_000
_MOST_GPUS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceId:
    """As the file writes it. Boards that differ in memory alone can share an id, so it may name several models."""

    text: str
    models: tuple[GpuModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One layout and the GPUs it is for. No `devices`: all of them. No `filter`: whatever model they are."""

    at: Field
    filter: tuple[DeviceId, ...] = ()
    devices: tuple[int, ...] | None = None
    mig_enabled: bool = True
    counts: Mapping[ProfileName, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    name: str
    entries: tuple[Entry, ...]


def configs_of(root: Field) -> tuple[Config, ...]:
    if "kind" in root.mapping():
        raise root.bad(
            "is a Kubernetes object: legal is the mig-parted file in it "
            r"(kubectl get configmap NAME -o jsonpath='{.data.config\.yaml}')"
        )
    fields = root.keys(required=("version", "mig-configs"))
    version = fields["version"]
    if version.text(legal="v1") != "v1":
        raise version.bad(f"is {version.shown()}, legal is v1")
    named = fields["mig-configs"].mapping()
    if not named:
        raise fields["mig-configs"].bad("is empty: legal is one config at least")
    return tuple(Config(name=name, entries=_entries(field)) for name, field in named.items())


def _entries(field: Field) -> tuple[Entry, ...]:
    items = field.items()
    if not items:
        raise field.bad("is empty: legal is one entry at least")
    return tuple(_entry(item) for item in items)


def _entry(item: Field) -> Entry:
    fields = item.keys(required=("devices", "mig-enabled"), optional=("device-filter", "mig-devices"))
    enabled = fields["mig-enabled"].flag()
    counts = _counts(fields["mig-devices"]) if "mig-devices" in fields else {}
    if enabled and "mig-devices" not in fields:
        raise item.bad(
            "mig-devices is missing: legal is profile: count, or {} for no slices, where mig-enabled is true"
        )
    if not enabled and counts:
        raise fields["mig-devices"].bad("names slices where mig-enabled is false: legal is {}")
    return Entry(
        at=item,
        filter=_filter(fields["device-filter"]) if "device-filter" in fields else (),
        devices=_devices(fields["devices"]),
        mig_enabled=enabled,
        counts=counts,
    )


def _filter(field: Field) -> tuple[DeviceId, ...]:
    one_id = isinstance(field.node.content, str)
    if not one_id and not isinstance(field.node.content, tuple):
        raise field.bad(f"is {field.shown()}, legal is {_DEVICE_ID_FORM} (in quotes), or a list of such")
    return tuple(_device_id(each) for each in ([field] if one_id else field.items()))


def _device_id(field: Field) -> DeviceId:
    text = field.text(_DEVICE_ID, _DEVICE_ID_FORM)
    device, vendor = text[2:6].upper(), text[6:10].upper()
    if vendor != NVIDIA:
        raise field.bad(f"is {field.shown()}, legal is NVIDIA's vendor id {NVIDIA} at its end")
    return DeviceId(text=text, models=tuple(each for each in GPU_MODELS if f"0x{device}" in each.pci_device_ids))


def _devices(field: Field) -> tuple[int, ...] | None:
    if field.node.content == "all":
        return None
    if not isinstance(field.node.content, tuple):
        raise field.bad(f"is {field.shown()}, legal is all, or a list of GPU indices like [0, 1]")
    return tuple(each.integer(0, _MOST_GPUS) for each in field.items())


def _counts(field: Field) -> dict[ProfileName, int]:
    counts = {_profile(key, each): each.integer(0, _MOST_SLICES) for key, each in field.mapping().items()}
    if counts and not any(counts.values()):
        raise field.bad("has only counts of 0: legal is one slice at least, or {} for none")
    return {name: count for name, count in counts.items() if count}


def _profile(key: str, field: Field) -> ProfileName:
    if _COMPUTE_INSTANCE.fullmatch(key):
        raise field.bad(f"{quoted(key)} is a compute instance, a share of a slice: legal are whole slices like 3g.20gb")
    try:
        return ProfileName.parse(key)
    except BadInput as bad:
        raise field.bad(str(bad)) from None
