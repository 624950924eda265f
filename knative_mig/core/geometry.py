"""What a GPU model can be cut into: profiles, their legal places, and when two slices may stand side by side.

Everything is one bit mask a place. Two slices may coexist exactly when their masks are disjoint: the low bits are the
memory units a slice covers, the bits above them say which media engines it takes. No sum over compute slices is
needed (over every state of every known model it never exceeds what the part has), so `3g + 3g + 1g` on an A100 is
refused by its ninth memory unit, not by a count.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

from knative_mig.core.errors import BadInput, UnknownProfile
from knative_mig.core.profile import Attribute, ProfileName

# Drivers and boards round differently (3g.39gb and 3g.40gb, 1g.23gb and 1g.24gb are the same profile): at most 4.5 %.
# The nearest pair that must stay apart is 1g.5gb and 1g.6gb, 20 %.
_ROUNDING: Final = 0.045


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to cut a slice of one GPU model. Equal names on two models are two profiles."""

    name: ProfileName
    memory_units: int
    starts: tuple[int, ...]
    max_instances: int
    memory_mib: int | None = None  # None: no public reading of it
    multiprocessors: int | None = None
    nvml_enum: int  # NVML's index of the profile, what its ProfileInfo call takes
    nvml_id: int  # NVML's id of the profile, what every other call takes

    @property
    def compute(self) -> int:
        return self.name.compute

    def __str__(self) -> str:
        return str(self.name)


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """A profile at a legal start. With the GPU's UUID it is the identity of a slice."""

    profile: Profile
    start: int
    mask: int = field(compare=False)
    index: int = field(compare=False)  # position in GpuModel.places

    @property
    def end(self) -> int:
        return self.start + self.profile.memory_units

    def __str__(self) -> str:
        return f"{self.profile.name}@{self.start}"

    __repr__ = __str__


@dataclass(frozen=True, kw_only=True, eq=False)
class GpuModel:
    """A model's geometry; compared by identity, for the tables and each NVML reading make one object a model."""

    name: str
    memory_units: int
    compute_slices: int
    profiles: tuple[Profile, ...]
    aliases: tuple[str, ...] = ()
    pci_device_ids: tuple[str, ...] = ()

    @cached_property
    def places(self) -> tuple[Place, ...]:
        found: list[Place] = []
        for profile in self.profiles:
            for start in profile.starts:
                found.append(Place(profile, start, self._mask(profile, start), len(found)))
        return tuple(found)

    @cached_property
    def memory_mask(self) -> int:
        return (1 << self.memory_units) - 1

    @cached_property
    def _by_name(self) -> dict[ProfileName, Profile]:
        return {profile.name: profile for profile in self.profiles}

    @cached_property
    def _places_of(self) -> dict[ProfileName, tuple[Place, ...]]:
        return {
            profile.name: tuple(place for place in self.places if place.profile is profile) for profile in self.profiles
        }

    def places_of(self, profile: Profile) -> tuple[Place, ...]:
        return self._places_of[profile.name]

    def places_named(self, name: ProfileName) -> tuple[Place, ...]:
        """The places of the profile of exactly that name; none when the model has no such profile."""
        return self._places_of.get(name, ())

    def place(self, profile: Profile, start: int) -> Place:
        for place in self.places_of(profile):
            if place.start == start:
                return place
        legal = ", ".join(str(each) for each in profile.starts)
        raise BadInput(f"{profile} cannot start at {start} on {self.name}: legal starts are {legal}")

    def profile(self, name: ProfileName) -> Profile:
        """The profile of exactly that name."""
        try:
            return self._by_name[name]
        except KeyError:
            near = self.resolve(name)
            legal = ", ".join(str(each) for each in self.profiles)
            hint = f" (another driver's name of {near})" if near else ""
            raise UnknownProfile(f"{name} is not a profile of {self.name}{hint}: it has {legal}") from None

    def has(self, name: ProfileName) -> bool:
        return name in self._by_name

    def resolve(self, name: ProfileName) -> Profile | None:
        """The profile that another driver or board may have called so: same compute, same attribute, and nearly the
        same memory. `3g.39gb` is an A100-80GB's `3g.40gb`; `1g.10gb` is never its `1g.20gb`.
        """
        if name in self._by_name:
            return self._by_name[name]
        near = [
            profile
            for profile in self.profiles
            if (profile.compute, profile.name.attribute) == (name.compute, name.attribute)
            and abs(profile.name.memory_gb - name.memory_gb) <= _ROUNDING * profile.name.memory_gb
        ]
        return near[0] if len(near) == 1 else None

    def _mask(self, profile: Profile, start: int) -> int:
        """Memory units, then (where the model can give all media engines to one slice) as many bits again for the
        media engines beside them, then one bit for the media extension, which a GPU has once.

        A `+me.all` takes every media bit and so excludes all but `-me`, which takes none; plain slices take the media
        bits beside their own memory and so exclude nothing more than their memory does.
        """
        units = self.memory_units
        memory = ((1 << profile.memory_units) - 1) << start
        attribute = profile.name.attribute
        mask = memory
        if self._media_is_divided and attribute is not Attribute.NO_MEDIA:
            mask |= (self.memory_mask if attribute is Attribute.ALL_MEDIA else memory) << units
        if attribute in (Attribute.MEDIA, Attribute.ALL_MEDIA):
            mask |= 1 << 2 * units
        return mask

    @cached_property
    def _media_is_divided(self) -> bool:
        return any(profile.name.attribute is Attribute.ALL_MEDIA for profile in self.profiles)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_rows(
        cls, name: str, compute_slices: int, memory_units: int, *rows: "ProfileRow", **about: tuple[str, ...]
    ) -> Self:
        """A model as `mig_tables` writes it: one row a profile."""
        return cls(
            name=name,
            memory_units=memory_units,
            compute_slices=compute_slices,
            profiles=tuple(_profile(row) for row in rows),
            **about,
        )


# (name, memory units, starts, most at once, MiB, multiprocessors, NVML enum, NVML id)
ProfileRow = tuple[str, int, tuple[int, ...], int, int | None, int | None, int, int]


def _profile(row: ProfileRow) -> Profile:
    name, units, starts, most, mib, multiprocessors, enum, profile_id = row
    return Profile(
        name=ProfileName.parse(name),
        memory_units=units,
        starts=starts,
        max_instances=most,
        memory_mib=mib,
        multiprocessors=multiprocessors,
        nvml_enum=enum,
        nvml_id=profile_id,
    )
