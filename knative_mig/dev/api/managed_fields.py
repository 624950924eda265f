"""Who wrote which field: `metadata.managedFields` after a write, and what an apply would take from others.

Called by `updates` for each write and by `apply`. A manager is a name with how it writes (Update or Apply) and through
which subresource; a field may be several managers' when all of them applied the same value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.dev.api.field_sets import NONE, Paths, from_fields, to_fields

APPLY: Final = "Apply"
BEFORE: Final = "before-first-apply"  # who wrote what nobody was noted for
UPDATE: Final = "Update"
_NOBODYS: Final = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{each}")
            for each in (
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
                "managedFields",
                "selfLink",
            )
        ),
    }
)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Manager:
    name: str
    operation: str
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    manager: Manager
    paths: Paths
    api_version: str
    time: str


Entries = tuple[Entry, ...]


def read(body: Mapping[str, Any]) -> Entries:
    found = (body.get("metadata") or {}).get("managedFields")
    if not isinstance(found, list):
        return ()
    return tuple(
        Entry(
            manager=Manager(
                name=str(each.get("manager", "")),
                operation=str(each.get("operation", UPDATE)),
                subresource=str(each.get("subresource", "")),
            ),
            paths=from_fields(each.get("fieldsV1") or {}),
            api_version=str(each.get("apiVersion", "")),
            time=str(each.get("time", "")),
        )
        for each in found
        if isinstance(each, dict) and each  # [{}] is how to say that nobody manages anything
    )


def written(entries: Entries) -> list[dict[str, Any]]:
    return [
        {
            "manager": each.manager.name,
            "operation": each.manager.operation,
            "apiVersion": each.api_version,
            "time": each.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields(each.paths),
            **({"subresource": each.manager.subresource} if each.manager.subresource else {}),
        }
        for each in entries
    ]


def noted(body: Mapping[str, Any], entries: Entries) -> dict[str, Any]:
    """The object with them, or without where nobody manages anything."""
    about = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    if entries:
        about["managedFields"] = written(entries)
    return {**body, "metadata": about}


def with_times_kept(body: dict[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody's time alone is a change: it stays as it was where all else does, down to who manages what."""
    was, now = (each["metadata"].get("managedFields") or [] for each in (live, body))
    if [_timeless(each) for each in was] != [_timeless(each) for each in now] or not now:
        return body
    same = {**body, "metadata": {**body["metadata"], "managedFields": was}}
    return same if same == live else body


def _timeless(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}


def owned(paths: Paths, subresource: str) -> Paths:
    """Of these, what a write to the object or to its status can own at all."""
    kept = paths - _NOBODYS
    if subresource == "status":
        return frozenset(path for path in kept if path[0] == "f:status")
    return frozenset(path for path in kept if path[0] != "f:status")


def after_update(entries: Entries, writer: Manager, wrote: Paths, removed: Paths, *, at: tuple[str, str]) -> Entries:
    """`at`: the API version and the time. What is written is the writer's alone; what is gone is nobody's."""
    if not (wrote or removed):
        return entries
    gone = _with_all_below(removed, entries)
    found: list[Entry] = []
    mine = NONE
    for each in entries:
        if each.manager == writer:
            mine = each.paths
            continue
        left = each.paths - wrote - gone
        found += _kept(each, left)
    before = next((each for each in entries if each.manager == writer), None)
    paths = (mine | wrote) - gone
    if paths:
        # What somebody only takes away is no write of his own.
        version, time = at if wrote or before is None else (before.api_version, before.time)
        found.append(Entry(manager=writer, paths=paths, api_version=version, time=time))
    return _in_order(found)


def after_apply(
    entries: Entries, applier: Manager, applied: Paths, taken: Paths, *, changes: bool, at: tuple[str, str]
) -> Entries:
    """`taken`: from others, by force. `changes`: the object becomes another by it."""
    found: list[Entry] = []
    version, time = at
    for each in entries:
        if each.manager != applier:
            found += _kept(each, each.paths - taken)
        elif not changes:
            time = each.time
    if applied:
        found.append(Entry(manager=applier, paths=applied, api_version=version, time=time))
    return _in_order(found)


def _kept(entry: Entry, paths: Paths) -> list[Entry]:
    if not paths:
        return []
    if paths == entry.paths:
        return [entry]
    return [Entry(manager=entry.manager, paths=paths, api_version=entry.api_version, time=entry.time)]


def _with_all_below(removed: Paths, entries: Entries) -> Paths:
    found = set(removed)
    for each in entries:
        found |= {path for path in each.paths if any(path[:n] in removed for n in range(1, len(path)))}
    return frozenset(found)


def _in_order(entries: list[Entry]) -> Entries:
    """Appliers first, then by their time, as the real one has them."""
    return tuple(sorted(entries, key=lambda each: (each.manager.operation != APPLY, each.time, each.manager)))
