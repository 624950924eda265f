"""The floor's objects: Revisions with their managed fields, components' requests, and the record of what was written.

Called by the mirrors and the leader of the planner process. Of a Revision a few annotations are read and written, by a
merge patch of single keys under a field manager of our own: Knative's labeler patches others at the same time.

A component's ConfigMap is `floor-<component>` in our namespace, each entry one request:

    data:
      a-rush: '{"service": "team/llm", "minScale": 2, "expires": "2026-01-31T12:00:00Z", "reason": "open house"}'

with `function: <namespace>/<revision>` instead of `service` for one Revision alone, and `minScale`, `maxScale`,
`target`, `initialScale`, `windowSeconds` as many as are asked for.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from knative_mig.adapters.kube import parse_serving
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.config_records import TOKEN, ConfigRecord, token_of
from knative_mig.adapters.kube.fields import Fields, time_text
from knative_mig.adapters.kube.kinds import CONFIG_MAP, REVISION
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.core.errors import BadInput
from knative_mig.core.floor.values import MANAGER, Held, Record, Request, Revision, Setting
from knative_mig.ports.autoscaling import FloorRecords
from knative_mig.ports.kube import Key

PREFIX: Final = "autoscaling.knative.dev/"
REQUESTS_PREFIX: Final = "floor-"
RECORDS: Final = "knative-mig-floor"
_GENERATION_LABEL: Final = "serving.knative.dev/configurationGeneration"
_ROUTING_LABEL: Final = "serving.knative.dev/routingState"
_KEYS: Final = {
    Setting.MIN: "minScale",
    Setting.MAX: "maxScale",
    Setting.TARGET: "target",
    Setting.INITIAL: "initialScale",
    Setting.WINDOW: "windowSeconds",
}

_log = logging.getLogger(__name__)


def revision(body: Mapping[str, Any]) -> Revision:
    top = Fields(body)
    about, status = top.child("metadata"), top.child("status")
    labels, annotations = about.labels("labels"), about.labels("annotations")
    generation = labels.get(_GENERATION_LABEL, "")
    return Revision(
        namespace=about.name("namespace"),
        name=about.name("name"),
        uid=about.text("uid"),
        resource_version=about.text("resourceVersion"),
        service=labels.get(SERVICE_LABEL, ""),
        generation=int(generation) if generation.isascii() and generation.isdigit() else 0,
        ready=any(
            each.text("type") == "Ready" and each.text("status") == "True" for each in status.children("conditions")
        ),
        ending=about.has("deletionTimestamp"),
        routed=labels.get(_ROUTING_LABEL) != "reserve",
        values={setting: annotations[PREFIX + setting] for setting in Setting if PREFIX + setting in annotations},
        owners=_owners(about),
        burst=annotations.get(f"{PREFIX}target-burst-capacity", ""),
        desired=status.optional_integer("desiredReplicas"),
        denied=parse_serving.denied(top),
    )


def _owners(about: Fields) -> dict[Setting, frozenset[str]] | None:
    entries = about.children("managedFields")
    if not entries:
        return None
    found: dict[Setting, set[str]] = {}
    for each in entries:
        owned = each.child("fieldsV1").child("f:metadata").child("f:annotations").values
        for setting in Setting:
            if f"f:{PREFIX}{setting}" in owned:
                found.setdefault(setting, set()).add(each.text("manager"))
    return {setting: frozenset(managers) for setting, managers in found.items()}


class KubeRevisions:
    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def write(self, revision_: Revision, values: Mapping[Setting, str | None]) -> Revision:
        about = {
            "uid": revision_.uid,
            "resourceVersion": revision_.resource_version,
            "annotations": {PREFIX + setting: value for setting, value in values.items()},
        }
        key = Key(revision_.namespace, revision_.name)
        return revision(self._client.merge(REVISION, key, {"metadata": about}, manager=MANAGER))


def revisions_mirror(client: KubeClient) -> KubeMirror[Revision]:
    return KubeMirror(client, REVISION, revision)


# -- what components ask -----------------------------------------------------------------------------------------------


def requests_mirror(client: KubeClient, namespace: str) -> KubeMirror[tuple[Request, ...]]:
    return KubeMirror(client, CONFIG_MAP, requests, namespace=namespace)


def requests(body: Mapping[str, Any]) -> tuple[Request, ...]:
    """Of one ConfigMap; none of one that is nobody's requests. An entry that makes no sense is told and left out."""
    top = Fields(body)
    name = top.child("metadata").name("name")
    if not name.startswith(REQUESTS_PREFIX):
        return ()
    found: list[Request] = []
    for entry, text in sorted(top.labels("data").items()):
        try:
            found += _entry(name.removeprefix(REQUESTS_PREFIX), entry, text)
        except BadInput as bad:
            _log.warning("A request in ConfigMap %s is left out: %s: %s", name, entry, bad)
    return tuple(found)


def _entry(component: str, name: str, text: str) -> list[Request]:
    fields = Fields.parse(text)
    until = fields.time("expires")
    if until is None:
        raise fields.bad("expires", "a time like 2026-01-31T12:00:00Z")
    if fields.has("function") and fields.has("service"):
        raise BadInput("names both of function and service: one is legal")
    whose = "function" if fields.has("function") else "service"
    namespace, slash, of = fields.name(whose).partition("/")
    if not (namespace and slash and of) or "/" in of:
        raise fields.bad(whose, "<namespace>/<name>")
    asked = {setting: fields.values[key] for setting, key in _KEYS.items() if fields.values.get(key) is not None}
    if not asked:
        raise BadInput(f"asks for nothing: {', '.join(_KEYS.values())} are legal")
    found = []
    for setting, value in asked.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.maxsize:
            raise fields.bad(_KEYS[setting], "a number, and not one that nobody means")
        found.append(
            Request(
                component=component,
                name=name,
                namespace=namespace,
                revision=of if whose == "function" else "",
                service=of if whose == "service" else "",
                setting=setting,
                value=float(value),
                until=until,
                reason=fields.text("reason"),
            )
        )
    return found


class KubeFloorRequests:
    def __init__(self, client: KubeClient, namespace: str, component: str) -> None:
        self._record = ConfigRecord(client, Key(namespace, REQUESTS_PREFIX + component))

    def put(self, asked: Iterable[Request]) -> None:
        data: dict[str, dict[str, Any]] = {}
        for each in asked:
            whose = {"function": f"{each.namespace}/{each.revision}"} if each.revision else {}
            service = {"service": f"{each.namespace}/{each.service}"} if each.service else {}
            value = each.value if each.setting is Setting.TARGET else int(each.value)
            entry = data.setdefault(each.name, {})
            entry |= {**whose, **service, _KEYS[each.setting]: value}
            entry |= {"expires": time_text(each.until), "reason": each.reason}
        texts = {name: json.dumps(entry) for name, entry in data.items()}
        stands, version = self._record.load()
        if stands != texts:
            self._record.save(texts, version)


# -- what the floor remembers ------------------------------------------------------------------------------------------


class KubeFloorStore:
    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._record = ConfigRecord(client, Key(namespace, RECORDS))

    def load(self) -> FloorRecords:
        return _records(*self._record.load())

    def save(self, records: FloorRecords) -> FloorRecords:
        data = {uid: _record_text(record) for uid, record in records.records.items()}
        return _records(*self._record.save({**data, TOKEN: str(records.token)}, records.resource_version))


def _records(data: Mapping[str, str], version: str) -> FloorRecords:
    found: dict[str, Record] = {}
    for uid, text in data.items():
        if uid != TOKEN:
            try:
                found[uid] = _record(text)
            except (BadInput, ValueError) as error:
                _log.warning("What the floor wrote on Revision %s is not known any more: %s", uid, error)
    return FloorRecords(records=found, token=token_of(data), resource_version=version)


def _record_text(record: Record) -> str:
    return json.dumps(
        {
            str(setting): {
                "users": held.users,
                "wrote": held.wrote,
                "done": held.done,
                "overruled": sorted(held.overruled),
            }
            for setting, held in record.items()
        }
    )


def _record(text: str) -> Record:
    found = {}
    for setting, held in Fields.parse(text).values.items():
        fields = Fields(held, setting)
        found[Setting(setting)] = Held(
            users=fields.text("users") if fields.values.get("users") is not None else None,
            wrote=fields.text("wrote") if fields.values.get("wrote") is not None else None,
            done=fields.flag("done"),
            overruled=frozenset(fields.texts("overruled")),
        )
    return found
