"""Holds the pods of a namespace to its ResourceQuotas, and keeps in each what is used of it.

`refuse_beyond` is called by `updates` under the store's lock, just before a pod is kept: of two that come at once and
are too many together, one is let in. `usage` is made by `server`, as a `sweeps.Sweep`. Counted are pods and what they
ask for; what else a quota names is kept and holds nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil
from typing import Any, Final

from knative_mig.adapters.kube import pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.quantity import exact
from knative_mig.dev.api import refusals
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.store import Change, Key, Outdated, Store
from knative_mig.dev.api.sweeps import Sweep

Object = dict[str, Any]
Amounts = dict[str, Fraction]
PODS: Final = "pods"
QUOTAS: Final = "resourcequotas"
_OVER: Final = ("Succeeded", "Failed")


def refuse_beyond(store: Store, kind: Kind, pod: Object) -> None:
    """Refusal: a quota of its namespace has no room for it."""
    namespace = pod["metadata"]["namespace"]
    for quota in _quotas(store, namespace):
        hard, used, asked = _hard(quota), _used(quota, _pods(store, namespace)), _of(pod)
        beyond = [name for name in sorted(hard) if asked.get(name) and used.get(name, 0) + asked[name] > hard[name]]
        if beyond:
            told = (f"{word}: {_listed(of, beyond)}" for word, of in
                    (("requested", asked), ("used", used), ("limited", hard)))  # fmt: skip
            why = f"exceeded quota: {quota['metadata']['name']}, {', '.join(told)}"
            raise refusals.forbidden(kind, pod["metadata"]["name"], why)


def usage(store: Store) -> Sweep:
    """Keeps what is used of each quota in its status."""

    def look(key: Key) -> None:
        for quota in _quotas(store, key.name):
            _write(store, quota, key.name)

    return Sweep(store, _concerned, look)


def _concerned(change: Change) -> Iterator[Key]:
    if change.key.place in (PODS, QUOTAS):
        yield Key("namespaces", "", change.key.namespace)


def _write(store: Store, quota: Object, namespace: str) -> None:
    about, used = quota["metadata"], _used(quota, _pods(store, namespace))
    hard = (quota.get("spec") or {}).get("hard") or {}
    status = {"hard": hard, "used": {name: _text(used.get(name, Fraction(0))) for name in hard}}
    if status == quota.get("status"):
        return
    try:
        key = Key(QUOTAS, namespace, about["name"])
        store.put(key, {**quota, "status": status}, over=int(about["resourceVersion"]))
    except Outdated:  # by a change, which brings its namespace here again
        return


def _quotas(store: Store, namespace: str) -> list[Object]:
    found = (each.body for each in store.all(QUOTAS)[0])
    return [each for each in found if each["metadata"]["namespace"] == namespace and not _is_scoped(each)]


def _is_scoped(quota: Object) -> bool:
    """Of some pods only: not known here."""
    spec = quota.get("spec") or {}
    return bool(spec.get("scopes") or spec.get("scopeSelector"))


def _pods(store: Store, namespace: str) -> Iterator[Object]:
    for each in store.all(PODS)[0]:
        body = each.body
        if body["metadata"]["namespace"] == namespace and (body.get("status") or {}).get("phase") not in _OVER:
            yield body


def _hard(quota: Object) -> Amounts:
    return {name: exact(str(amount)) for name, amount in ((quota.get("spec") or {}).get("hard") or {}).items()}


def _used(quota: Object, pods: Iterable[Object]) -> Amounts:
    names = _hard(quota)
    total: Amounts = {}
    for pod in pods:
        for name, amount in _of(pod).items():
            if name in names:
                total[name] = total.get(name, Fraction(0)) + amount
    return total


def _of(pod: Object) -> Amounts:
    """What it takes of a quota, by the names that quotas have for it."""
    spec: Mapping[str, Any] = pod["spec"]
    asks = pod_requests.of_pod(Fields(spec))
    limits: Amounts = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            limits[name] = limits.get(name, Fraction(0)) + exact(str(amount))
    return {
        "pods": Fraction(1),
        "count/pods": Fraction(1),
        **{name: amount for name, amount in asks.items() if "/" not in name},
        **{f"requests.{name}": amount for name, amount in asks.items()},
        **{f"limits.{name}": amount for name, amount in limits.items() if "/" not in name},
    }


def _listed(amounts: Amounts, names: Iterable[str]) -> str:
    return ",".join(f"{name}={_text(amounts.get(name, Fraction(0)))}" for name in names)


def _text(amount: Fraction) -> str:
    return str(amount) if amount.denominator == 1 else f"{ceil(amount * 1000)}m"
