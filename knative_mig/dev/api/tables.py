"""The same answer in the form that was asked for: as the objects, as a table, or as their metadata alone.

Called by `reads` and `watches`. kubectl asks for tables; controllers that watch much ask for metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from knative_mig.dev.api import columns, json_path
from knative_mig.dev.api.columns import Printed
from knative_mig.dev.api.kinds import Column, Kind

Object = dict[str, Any]
META: Final = "meta.k8s.io/v1"


class Form(StrEnum):
    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What was asked for. `includes`: of an object in a table's row: Metadata, Object or None."""

    form: Form = Form.OBJECT
    includes: str = "Metadata"
    api_version: str = META


def metadata_alone(body: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": body["metadata"]}


def table(
    kind: Kind, bodies: Sequence[Object], about: Object, shape: Shape, now: datetime, *, headed: bool = True
) -> Object:
    printed = _printed(kind)
    return {
        "kind": "Table",
        "apiVersion": shape.api_version,
        "metadata": about,
        "columnDefinitions": [_definition(each) for each in printed] if headed else None,
        "rows": [_row(body, printed, shape, now) for body in bodies],
    }


def _row(body: Object, printed: Sequence[Printed], shape: Shape, now: datetime) -> Object:
    row: Object = {"cells": [each.cell(body, now) for each in printed]}
    match shape.includes:
        case "Object":
            row["object"] = body
        case "None":
            pass
        case _:
            row["object"] = {**metadata_alone(body), "apiVersion": shape.api_version}
    return row


def _definition(printed: Printed) -> Object:
    return {
        "name": printed.name,
        "type": printed.type,
        "format": printed.format,
        "description": "",
        "priority": printed.priority,
    }


def _printed(kind: Kind) -> Sequence[Printed]:
    if not kind.custom:
        return columns.COLUMNS.get(kind.place, columns.PLAIN)
    if not kind.columns:
        return (*columns.OF_CUSTOM, columns.AGE_OF_CUSTOM)
    return (*columns.OF_CUSTOM, *(_of_custom(each) for each in kind.columns))


def _of_custom(column: Column) -> Printed:
    def cell(body: Object, now: datetime) -> Any:
        found = json_path.found(body, column.path)
        if found is None:
            return None
        if column.type == "date":
            return columns.age(found, now)
        if column.type in ("integer", "number", "boolean"):
            return found if isinstance(found, int | float) else None
        return found if isinstance(found, str) else str(found)

    return Printed(column.name, cell, column.type, column.priority)
