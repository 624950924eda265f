"""Reads what clients write without its nulls, as Go does: a null says that there is nothing.

Called for the built-in kinds by the API, and for templates by Serving's controllers: of custom kinds what their schema
does not name is kept as it was sent. The subtle thing is kn, which puts a template with `creationTimestamp: null`; a
merge patch, for which a null deletes, could never write that to another object.
"""

from typing import Any


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value
