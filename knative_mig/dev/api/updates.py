"""An object comes into the store, or over the one that is there: what stays of it, and what counts as a change.

Called by `writes` and `subresources`. An update is made from the object as it was read and put over that version; where
another write came between it is made anew, unless the client had named its version, who is then told of the conflict.

The subtle thing is the order, which is the real one's: who wrote what is noted of what the client sent, then the hooks
change it, and only what they leave is compared with what is there. So nobody is noted for what a hook fills in, and who
sends again what a hook completes as before has changed nothing.
"""

import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from knative_mig.dev.api import defaults, managed_fields, quotas, refusals
from knative_mig.dev.api.field_sets import NONE, difference
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.managed_fields import Entries, Manager
from knative_mig.dev.api.refusals import Cause
from knative_mig.dev.api.steps import Object, Work, Written, judged, mutated, refuse_unknown_account
from knative_mig.dev.api.store import Outdated, Stored, encoded

ATTEMPTS: Final = 16  # of an update that others come before
_UNVERSIONED: Final = frozenset(  # kinds whose spec has no generation
    {
        "ConfigMap",
        "Endpoints",
        "Event",
        "Namespace",
        "Node",
        "ResourceQuota",
        "Secret",
        "ServiceAccount",
        "Service",
        "Lease",
    }
)
_SYSTEM: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_LARGEST: Final = 1536 * 1024  # bytes of an object, as etcd takes them
_LETTERS: Final = "".join(sorted(set(string.ascii_lowercase + string.digits) - set("aeiou013l")))


def insert(work: Work, body: Object, by: Manager, entries: Entries | None = None) -> Written:
    world, asked, kind = work.world, work.asked, work.kind
    about = body["metadata"]
    if about.get("resourceVersion"):
        raise refusals.bad_request("resourceVersion should not be set on objects to be created")
    kept = {key: value for key, value in about.items() if key not in _SYSTEM or key in ("name", "namespace")}
    body = {**body, "metadata": kept}
    if entries is None:
        wrote = managed_fields.owned(difference({}, body, work.schema, world.types).written, "")
        entries = managed_fields.after_update(managed_fields.read(body), by, wrote, NONE, at=work.at)
    body = defaults.joined(managed_fields.noted(body, entries))
    if kind.place == quotas.PODS:
        refuse_unknown_account(work, body)
    body = _begun(work, mutated(work, "CREATE", body, None))
    asked = work.asked = replace(asked, name=str(body["metadata"].get("name") or ""))
    judged(work, "CREATE", body, None)
    _refuse_giants(body)
    with world.store.held():
        if kind.place == quotas.PODS:
            quotas.refuse_beyond(world.store, kind, body)
        if asked.is_dry:
            if world.store.read(asked.key) is not None:
                raise refusals.already_exists(kind, asked.name)
            return Written(body=body, code=201, warnings=tuple(work.warnings))
        try:
            stored = world.store.put(asked.key, body, over=0)
        except Outdated:
            raise refusals.already_exists(kind, asked.name) from None
    return Written(body=stored.body, code=201, warnings=tuple(work.warnings))


def _begun(work: Work, body: Object) -> Object:
    """With what a new object has of the system: a name, where it is to be generated, and how it begins."""
    world, kind, about = work.world, work.kind, body["metadata"]
    generated = not about.get("name") and bool(about.get("generateName"))
    if generated:
        about = {**about, "name": f"{about['generateName'][:58]}{''.join(secrets.choice(_LETTERS) for _ in range(5))}"}
    made = {**about, "uid": world.new_uid(), "creationTimestamp": world.timestamp()}
    if kind.custom or kind.kind not in _UNVERSIONED:
        made["generation"] = 1
    body = {**body, "metadata": made}
    if generated:
        body = defaults.completed(body)  # what follows from the name
    if kind.has_status and kind.kind != "Node":
        body.pop("status", None)
    if (status := defaults.first_status(body, world.timestamp())) is not None:
        body["status"] = status
    return body


def overwrite(work: Work, change: Callable[[Object], Object], by: Manager) -> Written:
    def noted(live: Object) -> tuple[Object, Entries]:
        new = change(live)
        return new, _managed(work, live, new, by)

    return overwritten(work, noted)


def overwritten(
    work: Work, change: Callable[[Object], tuple[Object, Entries]], make: Callable[[], Written] | None = None
) -> Written:
    """`change`: what the client makes of the object, and who manages it then. `make`: where there is none yet."""
    for _ in range(ATTEMPTS):
        live = work.world.store.read(work.asked.key)
        if live is None:
            if make is None:
                raise refusals.not_found(work.kind, work.asked.name)
            return make()
        new, entries = change(live.body)
        warned = len(work.warnings)
        try:
            return _put_over(work, live, managed_fields.noted(new, entries))
        except Outdated:
            del work.warnings[warned:]
    raise refusals.conflict(work.kind, work.asked.name)


def _put_over(work: Work, live: Stored, new: Object) -> Written:
    """Outdated: another write came between."""
    world, asked = work.world, work.asked
    _hold_to_uid(work, new["metadata"], live.body["metadata"])
    body = mutated(work, "UPDATE", defaults.joined(new), live.body)
    _hold_to_version(work, body["metadata"], live.body["metadata"])
    body = _merged_into(work, body, live.body)
    body = managed_fields.with_times_kept(body, live.body)
    judged(work, "UPDATE", body, live.body)
    _refuse_giants(body)
    if body == live.body or asked.is_dry:
        return Written(body=live.body if body == live.body else body, warnings=tuple(work.warnings))
    about = body["metadata"]
    if about.get("deletionTimestamp") and _may_go(work.kind, body):
        last = world.store.remove(asked.key, over=live.version, last_words=body)
        return Written(body=last.body, warnings=tuple(work.warnings))
    return Written(body=world.store.put(asked.key, body, over=live.version).body, warnings=tuple(work.warnings))


def _refuse_giants(body: Object) -> None:
    if len(encoded(body)) > _LARGEST:
        raise refusals.too_large(_LARGEST)


def _may_go(kind: Kind, body: Object) -> bool:
    """An object that is being deleted and that nothing holds any more."""
    about = body["metadata"]
    if about.get("finalizers") or about.get("deletionGracePeriodSeconds"):
        return False
    return not (kind.kind == "Namespace" and (body.get("spec") or {}).get("finalizers"))


def _hold_to_uid(work: Work, new: Object, live: Object) -> None:
    """Refusal: what the client writes over is another object than it says."""
    if (uid := new.get("uid")) and uid != live["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['uid']}"
        raise refusals.conflict(work.kind, work.asked.name, why)


def _hold_to_version(work: Work, new: Object, live: Object) -> None:
    """Refusal: it is another version."""
    version = new.get("resourceVersion")
    if version and version != live["resourceVersion"]:
        raise refusals.conflict(work.kind, work.asked.name)


def _merged_into(work: Work, new: Object, live: Object) -> Object:
    """What the writer may decide is the new one's; the rest stays: the system's metadata, and the other half."""
    kind, asked = work.kind, work.asked
    system = {key: live["metadata"][key] for key in _SYSTEM if key in live["metadata"]}
    about = {**{key: value for key, value in new["metadata"].items() if key not in _SYSTEM}, **system}
    if asked.below == "status":
        meant = _parts(about, ("managedFields",) if kind.custom else ("managedFields", "labels", "annotations"))
        rest = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
        found = {**live, "metadata": {**rest, **meant}}
        found.pop("status", None)
        return {**found, **({"status": new["status"]} if "status" in new else {})}
    body = {**new, "metadata": about}
    if kind.has_status:
        body.pop("status", None)
        if "status" in live:
            body["status"] = live["status"]
    if "generation" in live["metadata"] and _meaning(kind, body) != _meaning(kind, live):
        about["generation"] = live["metadata"]["generation"] + 1
    if live["metadata"].get("deletionTimestamp"):
        came = [
            each for each in about.get("finalizers") or () if each not in (live["metadata"].get("finalizers") or ())
        ]
        if came:
            text = "no new finalizers can be added if the object is being deleted, found new finalizers"
            message = f"Forbidden: {text} []string{{{', '.join(f'{chr(34)}{each}{chr(34)}' for each in came)}}}"
            cause = Cause(reason="FieldValueForbidden", field="metadata.finalizers", message=message)
            raise refusals.invalid(kind, asked.name, [cause])
    return body


def _parts(about: Object, names: Iterable[str]) -> Object:
    return {key: about[key] for key in names if key in about}


def _meaning(kind: Kind, body: Object) -> Object:
    """What a generation counts the changes of: of a status too, where it is not written apart."""
    apart = ("metadata",) if kind.custom and not kind.has_status else ("metadata", "status")
    return {key: value for key, value in body.items() if key not in apart}


def _managed(work: Work, live: Object, new: Object, by: Manager) -> Entries:
    entries = managed_fields.read(live)
    given = new["metadata"].get("managedFields")
    if given is not None and given != live["metadata"].get("managedFields") and not by.subresource:
        entries = managed_fields.read(new)  # whoever writes them means it
    if not entries:
        return entries  # of what nobody manages, managers are noted from the next apply on
    changed = difference(live, new, work.schema, work.world.types)
    subresource = by.subresource if by.subresource == "status" else ""
    wrote = managed_fields.owned(changed.written, subresource)
    return managed_fields.after_update(
        entries, by, wrote, managed_fields.owned(changed.removed, subresource), at=work.at
    )
