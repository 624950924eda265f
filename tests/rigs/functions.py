"""Functions as admission sees them, made by a test in one line."""

from collections.abc import Mapping
from dataclasses import replace

from knative_mig.core.admission.annotations import CHOSEN
from knative_mig.core.admission.choice import Choice
from knative_mig.core.admission.function import Asks, Function, Part, Place, Setting

RECORD = Place(Part.ANNOTATIONS, CHOSEN)


def function(
    *asks: str | Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    template: Mapping[str, str] | None = None,
    idle_s: int = 0,
    deleting: bool = False,
    **seconds: int,
) -> Function:
    """`asks`: each container's slice, or its limits; `seconds`: `timeoutSeconds` and the like."""
    settings: dict[Place, Setting] = {Place(Part.ANNOTATIONS, key): value for key, value in (template or {}).items()}
    settings |= {Place(Part.SPEC, key): value for key, value in seconds.items()}
    return Function(
        annotations=annotations or {},
        settings=settings,
        containers=tuple(
            Asks(name=f"c{at}", limits={f"nvidia.com/mig-{each}": "1"} if isinstance(each, str) else each)
            for at, each in enumerate(asks)
        ),
        idle_s=idle_s,
        deleting=deleting,
    )


def admitted(function: Function, choice: Choice) -> Function:
    """What is stored."""
    settings = {**function.settings}
    for place, value in choice.edits.items():
        if value is None:
            del settings[place]
        else:
            settings[place] = value
    return with_settings(function, settings)


def with_settings(of: Function, settings: Mapping[Place, Setting]) -> Function:
    return replace(of, settings=settings)


def without_chosen(stored: Function, written: Function) -> Function:
    """As somebody sends it who never saw what was added: `kubectl replace -f` of the file it was made from."""
    kept = {place: value for place, value in stored.settings.items() if place in written.settings}
    return with_settings(stored, kept)


def texts(settings: Mapping[Place, Setting | None]) -> dict[str, Setting | None]:
    return {place.name: value for place, value in settings.items() if place != RECORD}
