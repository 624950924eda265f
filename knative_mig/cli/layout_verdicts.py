"""Says of each layout of a mig-parted file whether the GPUs it is for can hold it: a witness, or why not.

Called by `layouts check`. Which models a layout must be legal on is the subtle thing. `--model` names one. Else the
device filter does: every id in it must be satisfied, by one model at least where boards of several models share the id.
Without either the file does not say, and a layout is legal if it is on any model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from knative_mig.cli.mig_parted import Config, Entry
from knative_mig.core.errors import UnknownProfile
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.layout import Legal, place_all
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    model: GpuModel
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why it is not legal: on this model, or (None) on any."""

    model: GpuModel | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Legal unless there are obstacles. `applies`: it is for the model that was asked about."""

    entry: Entry
    applies: bool = True
    witnesses: tuple[Witness, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def legal(self) -> bool:
        return not self.obstacles


def verdicts(config: Config, model: GpuModel | None) -> tuple[Verdict, ...]:
    return tuple(_verdict(entry, model) for entry in config.entries)


def _verdict(entry: Entry, model: GpuModel | None) -> Verdict:
    if not entry.mig_enabled:
        return Verdict(entry=entry, notes=("MIG is off: no slices",))
    if model is not None:
        if entry.filter and not any(model in device.models for device in entry.filter):
            return Verdict(entry=entry, applies=False, notes=(f"its device filter does not name {model}",))
        return _told(entry, [(model,)], ())
    if entry.filter:
        return _told(entry, list(dict.fromkeys(_models_named(entry))), tuple(_notes_of_unknown(entry)))
    return _anywhere(entry)


def _models_named(entry: Entry) -> Iterator[tuple[GpuModel, ...]]:
    """Of each device id that is known, the models it may be."""
    known = [device.models for device in entry.filter if device.models]
    if not known:
        legal = ", ".join(f"{device}10DE ({each})" for each in GPU_MODELS for device in each.pci_device_ids)
        ids = ", ".join(device.text for device in entry.filter)
        raise entry.at.mapping()["device-filter"].bad(f"{ids} is no GPU whose geometry is known: legal are {legal}")
    yield from known


def _notes_of_unknown(entry: Entry) -> Iterator[str]:
    for device in entry.filter:
        if not device.models:
            yield f"{device.text} is no GPU whose geometry is known: not checked for it"


def _told(entry: Entry, groups: list[tuple[GpuModel, ...]], notes: tuple[str, ...]) -> Verdict:
    """Legal if each group (the models one id may be) has a model that it is legal on."""
    witnesses: dict[GpuModel, Witness] = {}
    obstacles: dict[GpuModel, Obstacle] = {}
    for group in groups:
        tried = [_try(entry, model) for model in group]
        found = [each for each in tried if isinstance(each, Witness)]
        witnesses |= {each.model: each for each in found}
        failed = {model: each for model, each in zip(group, tried, strict=True) if isinstance(each, Obstacle)}
        if found:
            notes += tuple(f"{each} shares a device id and is not meant: {failed[each].why}" for each in failed)
        else:
            obstacles |= failed
    return Verdict(entry=entry, witnesses=tuple(witnesses.values()), obstacles=tuple(obstacles.values()), notes=notes)


def _anywhere(entry: Entry) -> Verdict:
    tried = [_try(entry, model) for model in GPU_MODELS]
    witnesses = tuple(each for each in tried if isinstance(each, Witness))
    if witnesses:
        return Verdict(entry=entry, witnesses=witnesses)
    # Of fourteen reasons those count that come from models which have all of the profiles.
    near = [model for model in GPU_MODELS if all(model.has(name) for name in entry.counts)]
    obstacles = tuple(each for each in tried if isinstance(each, Obstacle) and each.model in near)
    return Verdict(entry=entry, obstacles=obstacles or (Obstacle(model=None, why=_no_common_model(entry)),))


def _try(entry: Entry, model: GpuModel) -> Witness | Obstacle:
    try:
        counts = {model.profile(name): count for name, count in entry.counts.items()}
    except UnknownProfile as unknown:
        return Obstacle(model=model, why=str(unknown))
    found = place_all(model, counts)
    if isinstance(found, Legal):
        return Witness(model=model, places=found.places)
    return Obstacle(model=model, why=found.why)


def _no_common_model(entry: Entry) -> str:
    return "no model has all of these profiles: " + "; ".join(_who_has(name) for name in entry.counts)


def _who_has(name: ProfileName) -> str:
    has = [model.name for model in GPU_MODELS if model.has(name)]
    if has:
        return f"{name} is of {', '.join(has)}"
    near = [f"{profile} on {model}" for model in GPU_MODELS if (profile := model.resolve(name))]
    return f"{name} is of none" + (f" (another driver's name of {', '.join(near)})" if near else "")
