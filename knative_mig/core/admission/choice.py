"""Decides what is set on a function where its user set nothing, and sees to it that this never changes by itself.

Called by the mutating webhook on every write of a Knative Service. Whatever differs in a template makes a new Revision,
which needs a slice more for a while; so a choice is made once, and recorded in the template with a hash of what it was
made from. A later write with the same inputs is given the recorded values to the letter, though the record was dropped
with them (`kubectl replace`, `kn --force` and GitOps send the file that the function was made from), though our tables
or Knative's cap have changed since. Other inputs are decided anew.

Knative has one default that it sets for who creates and for nobody later, enableServiceLinks: a file that is written
again lacks it, and would make a Revision for that alone. It is given back too, where pods would be given the same
without it, so that nobody's choice is overridden.

The subtle thing is whose a value is. `kubectl edit` and `kn service update` send back what they read, our values and
the record among them: there a value is ours where it is the one recorded for its place. A file without the record is
its user's to the letter. A user who edits a value to the very one that is recorded has it replaced with the rest when
the inputs change.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from knative_mig.core.admission.annotations import CHOSEN, KNOWN, PROFILES, ROLLOUT, Rollout, effective, profiles_in
from knative_mig.core.admission.function import Function, Part, Place, Setting, is_one
from knative_mig.core.admission.limits import start_limits
from knative_mig.core.errors import BadInput
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.profile import ProfileName

# The activator is always in the way: exact concurrency, and a function at zero is woken without a probe.
BURST: Final = Place(Part.ANNOTATIONS, "autoscaling.knative.dev/target-burst-capacity")
DEADLINE: Final = Place(Part.ANNOTATIONS, "serving.knative.dev/progress-deadline")
TIMEOUT: Final = Place(Part.SPEC, "timeoutSeconds")
FIRST_BYTE: Final = Place(Part.SPEC, "responseStartTimeoutSeconds")
SERVICE_LINKS: Final = Place(Part.SPEC, "enableServiceLinks")
_MANAGED: Final = (BURST, DEADLINE, TIMEOUT, FIRST_BYTE)
_RECORD: Final = Place(Part.ANNOTATIONS, CHOSEN)
_LONGEST_RECORD: Final = 8192
_BIGGEST_GB: Final = max(each.name.memory_gb for model in GPU_MODELS for each in model.profiles)


class Why(StrEnum):
    NOT_OURS = "not-ours"
    DELETING = "deleting"
    LEFT = "left"  # made before there was a webhook, and nothing that counts has changed
    CARRIED = "carried"
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"  # it is a function on a slice no longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    why: Why
    edits: Mapping[Place, Setting | None] = field(default_factory=dict)  # None: it goes
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    inputs: str
    values: Mapping[Place, Setting]
    text: str  # as it stands, so that it is carried to the letter

    @classmethod
    def of(cls, inputs: str, values: Mapping[Place, Setting]) -> Self:
        parts = {part: {p.name: value for p, value in values.items() if p.part is part} for part in Part}
        text = json.dumps({"inputs": inputs, **parts}, sort_keys=True, separators=(",", ":"))
        return cls(inputs=inputs, values=values, text=text)

    @classmethod
    def read(cls, function: Function | None) -> Self | None:
        """None: there is none, or none that we would have written."""
        text = function.settings.get(_RECORD) if function else None
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_RECORD:
            return None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return None
        inputs = content.get("inputs") if isinstance(content, dict) else None
        if not isinstance(inputs, str):
            return None
        values: dict[Place, Setting] = {}
        for part in Part:
            if not isinstance(found := content.get(part), dict):
                return None
            values |= {Place(part, name): value for name, value in found.items()}
        return cls(inputs=inputs, values=values, text=text) if all(map(_legal, values, values.values())) else None


def decide(new: Function, old: Function | None, cap_s: int, *, service_links: bool | None = None) -> Choice:
    """`old`: what is there now, None for a function that is made. `cap_s`: the longest timeout that Knative allows.
    `service_links`: what it takes for a template that says nothing of them; None: nothing.
    """
    if new.deleting:
        return Choice(why=Why.DELETING)
    before, sent = _Record.read(old), _Record.read(new)
    user = _of_the_user(new, sent)
    if not user.slices and not effective(user):
        return _withdrawn(new, user) if sent else Choice(why=Why.NOT_OURS)
    inputs = _hash(user)
    kept = next((each for each in (before, sent) if each and each.inputs == inputs and _still_fits(each, user)), None)
    if kept:
        edits = _edits(new, user, kept) | _as_created(new, old, service_links=service_links)
        return Choice(why=Why.CARRIED, edits=edits)
    if old and not before and not sent and _hash(old) == inputs:
        return Choice(why=Why.LEFT, edits=_as_created(new, old, service_links=service_links))
    values, warning = _choose(user, cap_s)
    return Choice(why=Why.DECIDED, edits=_edits(new, user, _Record.of(inputs, values)), warning=warning)


def _choose(user: Function, cap_s: int) -> tuple[dict[Place, Setting], str]:
    mine = effective(user)
    recreates = mine.get(ROLLOUT, Rollout.WAIT) == Rollout.RECREATE
    limits = start_limits(memory_gb=_memory_gb(user, mine), waits_for_a_slice=not recreates)
    first_byte = user.settings.get(FIRST_BYTE, 0)
    wanted_s = max(limits.timeout_s, user.idle_s, first_byte if isinstance(first_byte, int) else 0)
    timeout = user.settings.get(TIMEOUT, min(cap_s, wanted_s))
    # What a longer timeout of the user's own lets requests take beyond what is in the limits.
    drain_s = timeout - limits.timeout_s if recreates and isinstance(timeout, int) else 0
    values: dict[Place, Setting] = {
        BURST: "-1",
        DEADLINE: f"{limits.progress_deadline_s + max(0, drain_s)}s",
        TIMEOUT: timeout,
        FIRST_BYTE: timeout,
        **{Place(Part.ANNOTATIONS, key): value for key, value in mine.items() if key in KNOWN},
    }
    capped = (
        f"timeoutSeconds is {cap_s}, a start on this slice may take {limits.timeout_s - cap_s} s longer: raise "
        "max-revision-timeout-seconds in the ConfigMap config-defaults"
        if TIMEOUT not in user.settings and cap_s < limits.timeout_s
        else ""
    )
    return {place: value for place, value in values.items() if place not in user.settings}, capped


def _memory_gb(user: Function, mine: Mapping[str, str]) -> int:
    """Of the biggest slice that it may run on."""
    asked: list[ProfileName] = []
    for resource, _ in user.slices:
        try:
            asked.append(ProfileName.from_resource(resource))
        except BadInput:  # refused by name elsewhere
            continue
    return max((each.memory_gb for each in asked or profiles_in(mine.get(PROFILES, "")) or ()), default=_BIGGEST_GB)


def _of_the_user(function: Function, record: _Record | None) -> Function:
    """Without what is ours."""
    values = record.values if record else {}
    return replace(
        function,
        settings={
            place: value
            for place, value in function.settings.items()
            if place != _RECORD and values.get(place) != value
        },
    )


def _hash(user: Function) -> str:
    """Of all that a choice depends on and the user says. Not of idleTimeoutSeconds, which Knative fills in itself, nor
    of how an amount is written, which Knative changes: 1000m comes back as 1.
    """
    inputs: dict[str, Any] = {
        "slices": [(resource, "1" if is_one(amount) else amount) for resource, amount in user.slices],
        "annotations": effective(user),
        "set": {place.name: user.settings[place] for place in _MANAGED if place in user.settings},
    }
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return f"v1:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _still_fits(record: _Record, user: Function) -> bool:
    timeout = record.values.get(TIMEOUT)
    return not isinstance(timeout, int) or timeout >= user.idle_s


def _edits(new: Function, user: Function, record: _Record) -> dict[Place, Setting | None]:
    target: dict[Place, Setting] = {**record.values, **user.settings, _RECORD: record.text}
    edits: dict[Place, Setting | None] = {place: None for place in new.settings if place not in target}
    edits |= {place: value for place, value in target.items() if new.settings.get(place) != value}
    return edits


def _as_created(new: Function, old: Function | None, *, service_links: bool | None) -> dict[Place, Setting | None]:
    """What Knative set when the function was made, where it still takes it for nothing."""
    if not old or service_links is None or new.service_links is not None or old.service_links is not service_links:
        return {}
    return {SERVICE_LINKS: service_links}


def _withdrawn(new: Function, user: Function) -> Choice:
    return Choice(why=Why.WITHDRAWN, edits={place: None for place in new.settings if place not in user.settings})


def _legal(place: Place, value: object) -> bool:
    """Whether we may have chosen it: a record is no way to set anything else."""
    if place.part is Part.SPEC:
        return place in _MANAGED and isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str) and (place in _MANAGED or place.name in KNOWN)
