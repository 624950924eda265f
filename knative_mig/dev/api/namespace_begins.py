"""Gives each namespace what it has from its beginning: its account `default`, and whom its pods are to trust.

Made by `server`, as a `sweeps.Sweep`. On a cluster two controllers do this, and the API server makes the Service that
it is itself in `default`. Each object is made anew when somebody deletes it; nothing is authenticated here and nothing
encrypted, so that the second names nobody, and the Service leads nowhere.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from knative_mig.dev.api.defaults import DEFAULT_ACCOUNT
from knative_mig.dev.api.refusals import Refusal
from knative_mig.dev.api.store import Change, Key, Store
from knative_mig.dev.api.sweeps import Sweep

_log = logging.getLogger(__name__)
Object = dict[str, Any]
_NAMESPACES: Final = "namespaces"
_ROOT: Final = "kube-root-ca.crt"
_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)
_API: Final = "kubernetes"
_BELONGINGS: Final = (  # as they are in the store
    ("serviceaccounts", DEFAULT_ACCOUNT),
    ("configmaps", _ROOT),
    ("services", _API),
)
_SPEC_OF_API: Final = {
    "clusterIP": "10.96.0.1",
    "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
}


def beginnings(store: Store, put: Callable[[Object], None]) -> Sweep:
    """`put` makes an object where it is not there. Refusal: it may not."""

    def look(key: Key) -> None:
        namespace = store.read(key)
        if namespace is None or (namespace.body.get("status") or {}).get("phase") != "Active":
            return
        for body in _bodies(key.name):
            try:
                put(body)
            except Refusal as refused:
                _log.warning("namespace %s has no %s: %s", key.name, body["kind"], refused.message)

    return Sweep(store, _concerned, look)


def _concerned(change: Change) -> Iterator[Key]:
    key = change.key
    if key.place == _NAMESPACES:
        yield key
    elif change.after is None and (key.place, key.name) in _BELONGINGS:
        yield Key(_NAMESPACES, "", key.namespace)


def _bodies(namespace: str) -> Iterator[Object]:
    yield {
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace},
    }
    about = {"name": _ROOT, "namespace": namespace, "annotations": {"kubernetes.io/description": _DESCRIPTION}}
    yield {"kind": "ConfigMap", "apiVersion": "v1", "metadata": about, "data": {"ca.crt": ""}}
    if namespace == "default":
        labels = {"component": "apiserver", "provider": "kubernetes"}
        about = {"name": _API, "namespace": namespace, "labels": labels}
        yield {"kind": "Service", "apiVersion": "v1", "metadata": about, "spec": _SPEC_OF_API}
