"""Says in a namespace's status what holds up its end: how much is left in it, whose finalizers wait, what was refused.

Called by `garbage` each time that it has emptied one as far as it goes; in the words of the namespace controller. Two
of its five conditions are always well: here every kind is known.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]
# By type, what is said where nothing hangs.
_WELL: Final[Mapping[str, tuple[str, str]]] = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An object that is still there."""

    resource: str  # as PLURAL.GROUP, which of the core group ends in a dot
    finalizers: Sequence[str] = field(default=())


def conditions(before: Sequence[Object], left: Iterable[Left], refused: Iterable[str], now: str) -> list[Object]:
    """`refused`: why an object could not be deleted at all. A time is that of the last change of a status."""
    ill = dict(_ill(tuple(left), sorted(refused)))
    times = {each["type"]: each["lastTransitionTime"] for each in before}
    was = {each["type"]: each["status"] for each in before}
    found = []
    for kind, well in _WELL.items():
        status = "True" if kind in ill else "False"
        reason, message = ill.get(kind, well)
        since = times[kind] if was.get(kind) == status else now
        found.append(
            {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
        )
    return found


def _ill(left: Sequence[Left], refused: Sequence[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    if refused:
        why = f"Failed to delete all resource types, {len(refused)} remaining: {', '.join(refused)}"
        yield "NamespaceDeletionContentFailure", ("ContentDeletionFailed", why)
    if left:
        counts = Counter(each.resource for each in left)
        told = ", ".join(sorted(f"{name} has {count} resource instances" for name, count in counts.items()))
        yield "NamespaceContentRemaining", ("SomeResourcesRemain", f"Some resources are remaining: {told}")
    if counts := Counter(name for each in left for name in each.finalizers):
        told = ", ".join(sorted(f"{name} in {count} resource instances" for name, count in counts.items()))
        why = f"Some content in the namespace has finalizers remaining: {told}"
        yield "NamespaceFinalizersRemaining", ("SomeFinalizersRemain", why)
