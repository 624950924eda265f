"""Server-side apply: what the object becomes when somebody says which fields it wants, and who is in its way.

Called by `writes` for patches of that kind. Three steps: what is applied is merged into what is there, by the keys of
lists; a field that becomes another is a conflict where somebody else owns it; and a field that this applier no longer
names goes, where nobody else owns it.
"""

import json
from typing import Any, Final

from knative_mig.dev.api import managed_fields
from knative_mig.dev.api.field_sets import NONE, Path, Paths, children, difference, paths_of, told
from knative_mig.dev.api.managed_fields import APPLY, UPDATE, Entries, Manager
from knative_mig.dev.api.refusals import Cause, apply_conflict
from knative_mig.dev.api.schema import Schema, Types

Object = dict[str, Any]
_KUBECTL: Final = "kubectl"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def applied(
    live: Object, wanted: Object, schema: Schema, types: Types, applier: Manager, *, force: bool, at: tuple[str, str]
) -> tuple[Object, Entries]:
    """What it becomes, and who manages it then. Refusal: conflicts."""
    entries = managed_fields.read(live) or _before(live, schema, types, applier, at)
    paths = managed_fields.owned(paths_of(wanted, schema, types), applier.subresource)
    merged = _merged(live, wanted, schema, types)
    changed = difference(live, merged, schema, types).written
    causes: list[Cause] = []
    taken: set[Path] = set()
    for each in entries:
        if each.manager == applier:
            continue
        for path in sorted(each.paths & changed & paths):
            taken.add(path)
            causes.append(Cause(reason="FieldManagerConflict", message=_who(each), field=told(path)))
    if causes and not force and not taken <= _of_last_apply(live, schema, types, applier):
        raise apply_conflict(causes)
    mine = next((each.paths for each in entries if each.manager == applier), frozenset())
    for path in sorted(mine - paths, key=len):  # an entry goes before its keys, by which it is found
        if not _wanted_by_others(entries, path, applier) and not _has_below(paths, path):
            merged = _without(merged, path, schema, types)
    entries = managed_fields.after_apply(entries, applier, paths, frozenset(taken), changes=merged != live, at=at)
    return _noted(merged, wanted, applier), entries


def _before(live: Object, schema: Schema, types: Types, applier: Manager, at: tuple[str, str]) -> Entries:
    by = Manager(name=managed_fields.BEFORE, operation=UPDATE, subresource=applier.subresource)
    paths = managed_fields.owned(difference({}, live, schema, types).written, applier.subresource)
    return managed_fields.after_update((), by, paths, NONE, at=at)


def _of_last_apply(live: Object, schema: Schema, types: Types, applier: Manager) -> Paths:
    """What kubectl's own apply had written before it was done by the server: no conflict for who takes that over."""
    noted = (live.get("metadata", {}).get("annotations") or {}).get(_LAST_APPLIED)
    if applier.name != _KUBECTL or not noted:
        return frozenset()
    try:
        last = json.loads(noted)
    except ValueError:
        return frozenset()
    merged = _merged(live, last, schema, types) if isinstance(last, dict) else live
    return paths_of(last, schema, types) - difference(live, merged, schema, types).written


def _noted(merged: Object, wanted: Object, applier: Manager) -> Object:
    """What kubectl's own apply would have noted, so that it goes on from here when it is used again."""
    about = merged.get("metadata", {})
    if applier.name != _KUBECTL or _LAST_APPLIED not in (about.get("annotations") or {}):
        return merged
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**merged, "metadata": {**about, "annotations": {**about["annotations"], _LAST_APPLIED: f"{text}\n"}}}


def _who(entry: managed_fields.Entry) -> str:
    sub = f' with subresource "{entry.manager.subresource}"' if entry.manager.subresource else ""
    # Only who updates writes without a plan, so the version and the time tell people which of its writes it was.
    when = f" at {entry.time}" if entry.manager.operation != APPLY and entry.time else ""
    using = f" using {entry.api_version}{when}" if entry.manager.operation != APPLY else ""
    return f'conflict with "{entry.manager.name}"{sub}{using}'


def _wanted_by_others(entries: Entries, path: Path, applier: Manager) -> bool:
    return any(path in each.paths or _has_below(each.paths, path) for each in entries if each.manager != applier)


def _has_below(paths: Paths, path: Path) -> bool:
    return any(len(each) > len(path) and each[: len(path)] == path for each in paths)


def _merged(live: Any, wanted: Any, schema: Schema, types: Types) -> Any:
    before, after = children(live, schema, types), children(wanted, schema, types)
    if before is None or after is None:
        return wanted
    if isinstance(wanted, dict):
        found = dict(live)
        for key, value in wanted.items():
            _, of_it = after[f"f:{key}"]
            found[key] = _merged(live[key], value, of_it, types) if key in live else value
        return found
    entries: dict[str, Any] = {step: value for step, (value, _) in before.items()}
    for step, (value, of_it) in after.items():
        entries[step] = _merged(entries[step], value, of_it, types) if step in entries else value
    # Those that are wanted stand in the order in which they are wanted, after what others put before them.
    order = [*(step for step in before if step not in after), *after]
    return [entries[step] for step in order]


def _without(value: Any, path: Path, schema: Schema, types: Types) -> Any:
    """A list or map that is empty after it stays: somebody may own it as such."""
    below = children(value, schema, types)
    step, *rest = path
    if below is None or step not in below:
        return value
    inner, of_it = below[step]
    if isinstance(value, dict):
        key = step[2:]
        if not rest:
            return {name: each for name, each in value.items() if name != key}
        changed = _without(inner, tuple(rest), of_it, types)
        # What came with the last of its fields goes with it.
        if changed == {} and inner:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: changed}
    if not rest:
        return [each for at, (each, _) in below.items() if at != step]
    return [_without(each, tuple(rest), of_it, types) if at == step else each for at, (each, of_it) in below.items()]
