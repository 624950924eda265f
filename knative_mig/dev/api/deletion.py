"""What a deletion does: at once, after a pod's grace, or when the last finalizer is gone. And evictions.

Called by `service`, and by `garbage` for what the object owned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from knative_mig.dev.api import refusals, selectors
from knative_mig.dev.api.admission import Phase, reviewed
from knative_mig.dev.api.decoding import mistyped, type_name
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.steps import World, Written, sent
from knative_mig.dev.api.store import Outdated, Stored

Object = dict[str, Any]
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
_GIVEN_BACK: Final = frozenset(
    {"Pod", "Service", "ServiceAccount", "ResourceQuota"}
)  # kinds answered with what is gone
_STAYING: Final = ("default", "kube-system", "kube-public")  # namespaces
_LEGAL: Final = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    grace_s: int | None = None
    policy: str = "Background"
    uid: str = ""
    version: str = ""
    dry_run: str = ""  # kubectl says so in the body

    def heeded(self, asked: Asked) -> Asked:
        return replace(asked, query={**asked.query, "dryRun": self.dry_run}) if self.dry_run else asked


def options_of(world: World, asked: Asked) -> Options:
    if not asked.body:
        return _options({}, asked.query)
    body, _ = sent(world, asked)
    if not isinstance(body, dict):
        raise refusals.bad_request("decoded object cannot be converted to DeleteOptions")
    _hold_to_type(world, body, "meta.v1.DeleteOptions")
    return _options(body, asked.query)


def _hold_to_type(world: World, found: Any, name: str) -> None:
    for at, value, wanted in mistyped(found, world.types.named(name), world.types):
        into = f"Go struct field {name.rpartition('.')[2]}.{at} of type {wanted}"
        raise refusals.bad_request(f"json: cannot unmarshal {type_name(value)} into {into}")


def _options(found: Mapping[str, Any], query: Mapping[str, str]) -> Options:
    grace = found.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy = found.get("propagationPolicy") or query.get("propagationPolicy")
    if found.get("orphanDependents") is True:
        policy = "Orphan"
    if policy and policy not in _LEGAL:
        raise refusals.bad_request(
            f'propagationPolicy: Unsupported value: "{policy}": supported values: {", ".join(_LEGAL)}'
        )
    wanted = found.get("preconditions") or {}
    try:
        grace_s = None if grace is None else int(grace)
    except (TypeError, ValueError):
        raise refusals.bad_request(f"gracePeriodSeconds is {grace!r}, not a number") from None
    return Options(
        grace_s=grace_s,
        policy=policy or "Background",
        uid=str(wanted.get("uid") or ""),
        version=str(wanted.get("resourceVersion") or ""),
        dry_run=",".join(map(str, found.get("dryRun") or ())),
    )


def delete(world: World, asked: Asked, options: Options | None = None) -> Written:
    options = options or options_of(world, asked)
    asked = options.heeded(asked)
    while True:
        live = world.store.read(asked.key)
        if live is None:
            raise refusals.not_found(asked.kind, asked.name)
        _refuse_the_first(asked)
        _held_to(options, asked, live)
        reviewed(world.hooks(), Phase.VALIDATE, asked, "DELETE", new=None, old=live.body, uid=world.new_uid())
        new = _marked(world, asked.kind, live.body, options)
        try:
            if new is None:
                last = live if asked.is_dry else world.store.remove(asked.key, over=live.version)
                return Written(body=last.body if asked.kind.kind in _GIVEN_BACK else _gone(asked.kind, last.body))
            if new is live.body or asked.is_dry:
                return Written(body=new)
            return Written(body=world.store.put(asked.key, new, over=live.version).body)
        except Outdated:
            continue


def delete_all(world: World, asked: Asked) -> Written:
    """What the request's selectors take; what cannot go now is on its way."""
    options = options_of(world, asked)
    selector = selectors.of_query(asked.query, asked.kind)
    found = [
        each.body
        for each in world.store.all(asked.kind.place)[0]
        if each.body["metadata"].get("namespace", "") == asked.namespace and selector.takes(each.body)
    ]
    for body in found:
        try:
            delete(world, replace(asked, name=body["metadata"]["name"]), options)
        except refusals.Refusal as refused:
            if refused.code != 404:
                raise
    about = {"resourceVersion": str(world.store.version)}
    return Written(
        body={"kind": f"{asked.kind.kind}List", "apiVersion": asked.kind.api_version, "metadata": about, "items": found}
    )


def evict(world: World, asked: Asked, held_up: str) -> Written:
    """`held_up`: why a disruption budget does not let it go."""
    body, _ = sent(world, asked)
    _hold_to_type(world, body, "policy.v1.Eviction")
    wanted = (body.get("deleteOptions") or {}) if isinstance(body, dict) else {}
    if held_up:
        causes = [{"reason": "DisruptionBudget", "message": held_up}]
        message = "Cannot evict pod as it would violate the pod's disruption budget."
        raise refusals.Refusal(429, "TooManyRequests", message, details={"causes": causes})
    options = _options(wanted, {})
    asked = options.heeded(asked)
    if not asked.is_dry:
        options = _told_of_eviction(world, asked, options)
    delete(world, asked, options)
    return Written(
        body={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, code=201
    )


def _told_of_eviction(world: World, asked: Asked, options: Options) -> Options:
    """In the pod's conditions; who is evicted again was told then.

    Gives the options for its deletion: a version that they name is the one that the pod has by now.
    """
    told = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": world.timestamp()}
    told |= {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    while (live := world.store.read(asked.key)) is not None:
        _held_to(options, asked, live)
        status = live.body.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        before = conditions.get(told["type"], {})
        if before.get("status") == told["status"]:
            told["lastTransitionTime"] = before.get("lastTransitionTime")
        new = {**status, "conditions": list({**conditions, told["type"]: told}.values())}
        if new == status:
            break
        try:
            stored = world.store.put(asked.key, {**live.body, "status": new}, over=live.version)
        except Outdated:
            continue
        return replace(options, version=str(stored.version)) if options.version else options
    return options


def _refuse_the_first(asked: Asked) -> None:
    if asked.kind.place == "namespaces" and asked.name in _STAYING:
        raise refusals.forbidden(asked.kind, asked.name, "this namespace may not be deleted")


def _held_to(options: Options, asked: Asked, live: Stored) -> None:
    about = live.body["metadata"]
    for name, wanted, found in (
        ("UID", options.uid, about["uid"]),
        ("ResourceVersion", options.version, about["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {found}"
            raise refusals.conflict(asked.kind, asked.name, why)


def _marked(world: World, kind: Kind, body: Object, options: Options) -> Object | None:
    """As one that is being deleted; None: it may go at once."""
    about = dict(body["metadata"])
    finalizers = [each for each in about.get("finalizers") or () if each not in (FOREGROUND, ORPHAN)]
    if options.policy == "Foreground":
        finalizers.append(FOREGROUND)
    elif options.policy == "Orphan":
        finalizers.append(ORPHAN)
    grace = _grace_s(kind, body, options)
    if not (finalizers or grace or (kind.kind == "Namespace" and (body.get("spec") or {}).get("finalizers"))):
        return None
    before = about.get("deletionGracePeriodSeconds")
    if about.get("deletionTimestamp") and (before is None or grace >= before):
        if finalizers == (about.get("finalizers") or []):
            return body
        grace = before or 0
    when = world.now() + timedelta(seconds=grace)
    about |= {"deletionTimestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "deletionGracePeriodSeconds": grace}
    if finalizers:
        about["finalizers"] = finalizers
    if "generation" in about and not body["metadata"].get("deletionTimestamp"):
        about["generation"] += 1
    if kind.kind == "Namespace":
        del about["deletionGracePeriodSeconds"]  # it is not the namespace that is waited for
        return {**body, "metadata": about, "status": {**(body.get("status") or {}), "phase": "Terminating"}}
    return {**body, "metadata": about}


def _grace_s(kind: Kind, body: Object, options: Options) -> int:
    """A pod on a node is the kubelet's to end; whoever asks for no grace asks that nobody waits for that."""
    if kind.kind != "Pod":
        return 0
    spec, status = body.get("spec") or {}, body.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_s is not None:
        return max(0, options.grace_s)
    return int(spec.get("terminationGracePeriodSeconds", 30))


def _gone(kind: Kind, body: Object) -> Object:
    about = body["metadata"]
    details = {"name": about["name"], "group": kind.group, "kind": kind.plural, "uid": about["uid"]}
    details = {key: value for key, value in details.items() if value}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
