"""What a GPU's worker answers, through its pipe: a GPU model crosses once, and is named from then on.

Called by both ends of `gpu_worker`. A reading is a few places of a model of some ten profiles, and pickled whole the
model is nearly all of it, each time anew. The subtle thing is identity: models are compared by it, so whoever unpacks
has each of equal content as one object, also over a worker that was killed, whose successor begins to name anew.
"""

import io
import pickle
from typing import Any

from knative_mig.core.geometry import GpuModel, Place, Profile

Packed = tuple[tuple[GpuModel, ...], bytes]  # the models that are named in it for the first time
_Name = tuple[int, int]  # a model by its number, and a place of it by its index; -1: the model itself


class Packer:
    """The worker's end."""

    def __init__(self) -> None:
        self._models: list[GpuModel] = []  # kept, so that no other object has one's id
        self._names: dict[int, _Name] = {}

    def pack(self, answer: object) -> Packed:
        known, out = len(self._models), io.BytesIO()
        _Pickler(out, self).dump(answer)
        return tuple(self._models[known:]), out.getvalue()

    def name(self, thing: object) -> _Name | None:
        if isinstance(thing, GpuModel) and id(thing) not in self._names:
            number = len(self._models)
            self._models.append(thing)
            self._names[id(thing)] = number, -1
            self._names.update((id(place), (number, place.index)) for place in thing.places)
        return self._names.get(id(thing)) if isinstance(thing, GpuModel | Place) else None


class Unpacker:
    """The agent's end, of one GPU's workers one after another."""

    def __init__(self) -> None:
        self._one: dict[tuple[str, tuple[Profile, ...]], GpuModel] = {}
        self._models: list[GpuModel] = []

    def begin(self) -> None:
        """Another worker."""
        self._models = []

    def unpack(self, packed: Packed) -> Any:
        models, answer = packed
        self._models += (self._one.setdefault((model.name, model.profiles), model) for model in models)
        return _Unpickler(io.BytesIO(answer), self._models).load()


class _Pickler(pickle.Pickler):
    def __init__(self, out: io.BytesIO, packer: Packer) -> None:
        super().__init__(out, pickle.HIGHEST_PROTOCOL)
        self._packer = packer

    def persistent_id(self, thing: object) -> _Name | None:
        return self._packer.name(thing)


class _Unpickler(pickle.Unpickler):
    def __init__(self, answer: io.BytesIO, models: list[GpuModel]) -> None:
        super().__init__(answer)
        self._models = models

    def persistent_load(self, name: _Name) -> GpuModel | Place:
        number, index = name
        return self._models[number] if index < 0 else self._models[number].places[index]
