"""What becomes of a get and of a list: from which version, which of the objects, how many, in which form.

Called by `service`. An object's JSON is made once and joined into the lists that it is in; only who asks for tables or
metadata has it made anew.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from knative_mig.dev.api import refusals, selectors, tables
from knative_mig.dev.api.causes import forbidden
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.refusals import Cause, bad_request
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.store import Forgotten, Store, Stored, encoded
from knative_mig.dev.api.tables import Form, Shape
from knative_mig.dev.api.versions import shown

Object = dict[str, Any]
FORMS_OF_ONE: Final = (Form.TABLE, Form.METADATA)
FORMS_OF_ALL: Final = (Form.TABLE, Form.METADATA_LIST)
_MATCH: Final = "resourceVersionMatch"
_EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    items: Sequence[Stored]
    about: Object


def version_of(text: str, newest: int) -> int:
    """0: any will do. Refusal: it is none, or is yet to come."""
    if text in ("", "0"):
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    version = int(text)
    if version > newest:
        raise refusals.from_the_future(version, newest)
    return version


def one(store: Store, asked: Asked) -> Stored:
    version_of(asked.query.get("resourceVersion", ""), store.version)
    found = store.read(asked.key)
    if found is None:
        raise refusals.not_found(asked.kind, asked.name)
    return found


def one_shaped(body: Object, kind: Kind, shape: Shape, now: datetime) -> bytes:
    match shape.form:
        case Form.TABLE:
            return encoded(tables.table(kind, [body], _about(body), shape, now))
        case Form.METADATA:
            return encoded(tables.metadata_alone(body))
    return encoded(shown(body, kind))


def all_shaped(store: Store, asked: Asked, shape: Shape, now: datetime) -> bytes:
    page = _page(store, asked)
    kind = asked.kind
    match shape.form:
        case Form.TABLE:
            return encoded(tables.table(kind, [each.body for each in page.items], page.about, shape, now))
        case Form.METADATA_LIST:
            items = [tables.metadata_alone(each.body) for each in page.items]
            return encoded(
                {"kind": "PartialObjectMetadataList", "apiVersion": tables.META, "metadata": page.about, "items": items}
            )
    # A custom list says so when it is the last page; another says nothing.
    about = {"continue": "", **page.about} if kind.custom else page.about
    head = encoded({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": about})
    return head[:-1] + b',"items":[' + b",".join(_item(each, kind) for each in page.items) + b"]}"


def _item(stored: Stored, kind: Kind) -> bytes:
    """In a list of a kind that is not custom, the objects do not say what they are: the list does."""
    if kind.stored_as:
        body = shown(stored.body, kind)
        return encoded({key: value for key, value in body.items() if key not in ("kind", "apiVersion")})
    if kind.custom:
        return stored.json
    head = b'{"kind":"%b","apiVersion":"%b",' % (kind.kind.encode(), kind.api_version.encode())
    if stored.json.startswith(head):
        return b"{" + stored.json[len(head) :]
    return encoded({key: value for key, value in stored.body.items() if key not in ("kind", "apiVersion")})


def _about(body: Object) -> Object:
    return {"resourceVersion": body["metadata"].get("resourceVersion", "")}


def _page(store: Store, asked: Asked) -> _Page:
    query = asked.query
    version, after = version_of(query.get("resourceVersion", ""), store.version), ""
    if (cause := _wrong_match(query)) is not None:
        raise refusals.invalid_options(asked.kind, "ListOptions", cause)
    at = version if query.get("resourceVersionMatch") == "Exact" else None
    if token := query.get("continue"):
        at, after = _read(token)
        if at > store.version:
            raise refusals.expired(_EXPIRED)
    try:
        limit = int(query.get("limit") or 0)
    except ValueError:
        raise bad_request(f'limit is "{query["limit"]}", not a number') from None
    try:
        found, of_version = store.all(asked.kind.place, at=at)
    except Forgotten:
        raise refusals.expired(_EXPIRED if token else f"too old resource version: {at}") from None
    selector = selectors.of_query(query, asked.kind)
    chosen = [
        each
        for each in found
        if (not asked.namespace or each.body["metadata"].get("namespace") == asked.namespace)
        and selector.takes(each.body)
    ]
    if after:
        chosen = [each for each in chosen if _place(each) > after]
    about: Object = {"resourceVersion": str(of_version)}
    if limit and len(chosen) > limit:
        about["continue"] = _token(of_version, _place(chosen[limit - 1]))
        if not (query.get("labelSelector") or query.get("fieldSelector")):
            about["remainingItemCount"] = len(chosen) - limit
        chosen = chosen[:limit]
    return _Page(items=chosen, about=about)


def _wrong_match(query: Mapping[str, str]) -> Cause | None:
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if not match:
        return None
    if query.get("continue"):
        return forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")
    if not version:
        return forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")
    if match not in ("Exact", "NotOlderThan"):
        why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        return Cause(reason="FieldValueNotSupported", field=_MATCH, message=why)
    if match == "Exact" and version == "0":
        return forbidden(_MATCH, f'{_MATCH} "Exact" is forbidden for resourceVersion "0"')
    return None


def _place(stored: Stored) -> str:
    about = stored.body["metadata"]
    return f"{about.get('namespace', '')}/{about['name']}"


def _token(version: int, after: str) -> str:
    plain = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": after}, separators=(",", ":"))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _read(token: str) -> tuple[int, str]:
    try:
        plain = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(plain["rv"]), str(plain["start"])
    except (ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid: it is none that this server gave") from None
