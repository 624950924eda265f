"""In which form a client takes its answer: what its Accept header names, best first. Called by `service` and
`discovery`.

Clients name several and mean the first that is served: kubectl a table and then JSON, kn and newer clients protobuf and
then JSON, which is what they get. Who takes protobuf alone is refused, by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from knative_mig.dev.api.refusals import not_acceptable
from knative_mig.dev.api.tables import META, Form, Shape

JSON: Final = "application/json"
YAML: Final = "application/yaml"
SERVED: Final = (JSON, YAML)


_AS_IT_IS: Final = Shape()


@dataclass(frozen=True, slots=True)
class Taken:
    """A range of an Accept header: the media type, and its parameters."""

    type: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    media_type: str = JSON
    shape: Shape = _AS_IT_IS


def ranges(accept: str) -> Sequence[Taken]:
    """Those of the highest quality first, of one quality in their order."""
    found: list[tuple[float, Taken]] = []
    for each in accept.split(","):
        type_, *words = [part.strip() for part in each.split(";")]
        parameters = {key.strip().lower(): value.strip() for key, _, value in (word.partition("=") for word in words)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if type_ and quality > 0:
            found.append((-quality, Taken(type_.lower(), parameters)))
    return [taken for _, taken in sorted(found, key=lambda pair: pair[0])] or [Taken("*/*", {})]


def wanted(accept: str, forms: Sequence[Form], includes: str = "") -> Wanted:
    """`forms`: those in which this answer can be had beside the objects."""
    for each in ranges(accept):
        media_type = JSON if each.type in ("*/*", "application/*", JSON) else YAML if each.type == YAML else ""
        if not media_type:
            continue
        form = each.parameters.get("as", "")
        if not form:
            return Wanted(media_type=media_type)
        version = each.parameters.get("v", "v1")
        if form in forms and each.parameters.get("g", "meta.k8s.io") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            shape = Shape(form=Form(form), includes=includes or "Metadata", api_version=META.replace("v1", version))
            return Wanted(media_type=media_type, shape=shape)
    raise not_acceptable(accept, SERVED)
