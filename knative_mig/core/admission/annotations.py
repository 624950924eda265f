"""The annotations under our prefix that a user may write on a function, and which values each may have.

Called by `problems`, which refuses, and by `choice`, which goes by them. kn writes an annotation on the Service and on
its template, people write it on either: both count, and the template's stands where they differ.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from knative_mig.core.admission.function import Function
from knative_mig.core.errors import BadInput
from knative_mig.core.profile import ProfileName

PREFIX: Final = "knative-mig.dev/"
CHOSEN: Final = PREFIX + "chosen"  # on the template, ours: what was chosen, and for which inputs

MODEL: Final = PREFIX + "model"
PROFILES: Final = PREFIX + "profiles"
PRIORITY: Final = PREFIX + "priority"
MOVABLE: Final = PREFIX + "movable"
ROLLOUT: Final = PREFIX + "rollout"

_WHOLE: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,6})?", re.ASCII)
_SIGNED: Final = re.compile(r"0|-?[1-9][0-9]{0,9}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
HIGHEST_PRIORITY: Final = 1_000_000_000  # as Kubernetes has it for PriorityClasses of users


class Rollout(StrEnum):
    """What a new Revision does when no slice is spare."""

    WAIT = "wait"  # for the first that is, or for the old Revision's when that reaches zero
    RECREATE = "recreate"  # the old one's last replica goes at once, while requests wait


def _whole(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text))


def _rate(text: str) -> bool:
    return bool(_DECIMAL.fullmatch(text)) and float(text) > 0


def _priority(text: str) -> bool:
    return bool(_SIGNED.fullmatch(text)) and abs(int(text)) <= HIGHEST_PRIORITY


def _profiles(text: str) -> bool:
    return profiles_in(text) is not None


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda text: text in values


_Legal = tuple[Callable[[str], bool], str]
_POSITIVE: Final[_Legal] = (_whole, "a whole number from 1 to 999999999")
KNOWN: Final[Mapping[str, _Legal]] = {
    MODEL: (lambda text: bool(_NAME.fullmatch(text)), "a name in lower-case letters, digits, - and ."),
    PREFIX + "slo-ttft-ms": _POSITIVE,
    PREFIX + "slo-tpot-ms": _POSITIVE,
    PREFIX + "slo-tokens-per-window": _POSITIVE,
    PREFIX + "expected-rps": (_rate, "a number above 0, like 2 or 0.5"),
    PREFIX + "input-tokens": _POSITIVE,
    PREFIX + "output-tokens": _POSITIVE,
    PROFILES: (_profiles, "profiles with commas between them, like 1g.10gb,2g.20gb"),
    PRIORITY: (_priority, f"a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"),
    MOVABLE: (_one_of("true", "false"), "true or false"),
    ROLLOUT: (_one_of(*Rollout), " or ".join(Rollout)),
}


def profiles_in(text: str) -> tuple[ProfileName, ...] | None:
    """Of the annotation `profiles`; None: it cannot be read."""
    if len(text) > 1000:
        return None
    try:
        return tuple(ProfileName.parse(each.strip()) for each in text.split(","))
    except BadInput:
        return None


def ours(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those under our prefix that a user writes."""
    return {key: value for key, value in annotations.items() if key.startswith(PREFIX) and key != CHOSEN}


def effective(function: Function) -> dict[str, str]:
    return ours(function.annotations) | ours(function.template_annotations())
