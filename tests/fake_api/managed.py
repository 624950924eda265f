"""Who wrote which annotation last, as the API server notes it in `managedFields`: of all fields, those alone.

Called by `store` for each write. A value that does not change stays whoever's it was; one that goes is nobody's.
"""

from typing import Any


def annotations(new: dict[str, str] | None, was: dict[str, Any], manager: str) -> dict[str, Any]:
    before, after = was.get("annotations") or {}, new or {}
    owners: dict[str, set[str]] = {}
    for entry in was.get("managedFields", []):
        for field in entry["fieldsV1"]["f:metadata"]["f:annotations"]:
            owners.setdefault(field, set()).add(entry["manager"])
    for key in before.keys() | after.keys():
        if key not in after:
            owners.pop(f"f:{key}", None)
        elif before.get(key) != after[key]:
            owners[f"f:{key}"] = {manager or "unknown"}
    by_manager: dict[str, dict[str, Any]] = {}
    for field, managers in sorted(owners.items()):
        for each in sorted(managers):
            by_manager.setdefault(each, {})[field] = {}
    if not by_manager and "managedFields" not in was:
        return {}
    fields = [
        {
            "manager": each,
            "operation": "Update",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": owned}},
        }
        for each, owned in by_manager.items()
    ]
    return {"managedFields": fields}
