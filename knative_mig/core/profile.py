"""Names of MIG profiles: parsed once at the edge, so that nothing behind it sees a string.

`1g.5gb+me` is one compute slice, five (nominal) gigabytes and the media engines. Kubernetes does not allow `+` in a
resource name, so the same profile is asked for as `nvidia.com/mig-1g.5gb.me`. A name alone does not tell a size:
`1g.10gb` is one memory unit of an A100-80GB and two of an A100-40GB, so sizes are the GPU model's to say
(`geometry.GpuModel`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from knative_mig.core.errors import BadInput

RESOURCE_PREFIX: Final = "nvidia.com/mig-"


class Attribute(StrEnum):
    """What a profile has beside compute and memory; the value is its spelling in the profile's name."""

    PLAIN = ""
    MEDIA = "+me"
    ALL_MEDIA = "+me.all"
    GRAPHICS = "+gfx"
    NO_MEDIA = "-me"


# `-me` keeps its dash: only `+` is illegal in a resource name, and `.me` is taken by `+me`.
RESOURCE_SUFFIX: Final[dict[Attribute, str]] = {
    Attribute.PLAIN: "",
    Attribute.MEDIA: ".me",
    Attribute.ALL_MEDIA: ".me.all",
    Attribute.GRAPHICS: ".gfx",
    Attribute.NO_MEDIA: "-me",
}
_ATTRIBUTE_OF_SUFFIX: Final = {suffix: attribute for attribute, suffix in RESOURCE_SUFFIX.items()}

_NAME = re.compile(r"([1-9][0-9]?)g\.([1-9][0-9]{0,3})gb(.*)", re.ASCII | re.DOTALL)
_FORM: Final = "a profile is written like 3g.20gb, 1g.5gb+me, 1g.24gb+me.all, 1g.24gb+gfx or 1g.24gb-me"


@dataclass(frozen=True, slots=True, order=True)
class ProfileName:
    compute: int
    memory_gb: int
    attribute: Attribute = Attribute.PLAIN

    @classmethod
    def parse(cls, text: str) -> Self:
        """`3g.20gb` as NVIDIA's tools print it."""
        compute, memory_gb, suffix = _split(text, text)
        try:
            return cls(compute, memory_gb, Attribute(suffix))
        except ValueError:
            raise BadInput(f"{_shown(text)} is not a MIG profile: {_FORM}") from None

    @classmethod
    def from_resource(cls, resource: str) -> Self:
        """`nvidia.com/mig-3g.20gb` as a container asks for it."""
        if not resource.startswith(RESOURCE_PREFIX):
            raise BadInput(f"{_shown(resource)} is not a MIG resource: it is written like {RESOURCE_PREFIX}3g.20gb")
        compute, memory_gb, suffix = _split(resource.removeprefix(RESOURCE_PREFIX), resource)
        if suffix not in _ATTRIBUTE_OF_SUFFIX:
            known = sorted(_ATTRIBUTE_OF_SUFFIX)
            raise BadInput(f"{_shown(resource)} is not a MIG resource: {_shown(suffix)} is none of {known}")
        return cls(compute, memory_gb, _ATTRIBUTE_OF_SUFFIX[suffix])

    @property
    def resource(self) -> str:
        return f"{RESOURCE_PREFIX}{self.compute}g.{self.memory_gb}gb{RESOURCE_SUFFIX[self.attribute]}"

    def __str__(self) -> str:
        return f"{self.compute}g.{self.memory_gb}gb{self.attribute}"


def _split(text: str, whole: str) -> tuple[int, int, str]:
    match = _NAME.fullmatch(text)
    if not match:
        raise BadInput(f"{_shown(whole)} is not a MIG profile: {_FORM}")
    return int(match[1]), int(match[2]), match[3]


def _shown(text: str) -> str:
    """Anybody may have sent it, and it may be of any length."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
