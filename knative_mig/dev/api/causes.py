"""What is wrong with a field, in the real one's words: the kinds of it that more than one place has to tell."""

import json
from collections.abc import Sequence
from typing import Any

from knative_mig.dev.api.refusals import Cause


def invalid_value(field: str, value: Any, why: str) -> Cause:
    return Cause(reason="FieldValueInvalid", field=field, message=f"Invalid value: {shown(value)}: {why}")


def unsupported(field: str, value: Any, legal: Sequence[Any]) -> Cause:
    told = f"Unsupported value: {shown(value)}: supported values: {', '.join(map(shown, legal))}"
    return Cause(reason="FieldValueNotSupported", field=field, message=told)


def required(field: str, why: str = "") -> Cause:
    return Cause(reason="FieldValueRequired", field=field, message=f"Required value{f': {why}' if why else ''}")


def forbidden(field: str, why: str) -> Cause:
    return Cause(reason="FieldValueForbidden", field=field, message=f"Forbidden: {why}")


def duplicate(field: str, value: Any, why: str = "") -> Cause:
    told = f"Duplicate value: {shown(value)}{f': {why}' if why else ''}"
    return Cause(reason="FieldValueDuplicate", field=field, message=told)


def not_found(field: str, value: Any) -> Cause:
    return Cause(reason="FieldValueNotFound", field=field, message=f"Not found: {shown(value)}")


def shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False)


def as_json(value: Any) -> str:
    """In the order that Go writes a map in."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def as_go_prints(value: Any) -> str:
    """By its verb `%v`, what came as JSON."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{as_go_prints(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(as_go_prints, value))}]"
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case _:
            return str(value)
