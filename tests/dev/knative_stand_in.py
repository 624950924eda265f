"""As little of Knative's controllers as kn needs to see a service become Ready: a Revision for each new template.

For these tests alone. It watches through the kubernetes library's transport like any controller, and writes through the
API, so it also tries both.
"""

import threading
from typing import Any, Final, Self

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.ports.kube import ApiUnreachable, Conflict, Key, ObjectNotFound

Object = dict[str, Any]
SERVICE: Final = Kind("serving.knative.dev/v1", "Service", "services")
CONFIGURATION: Final = Kind("serving.knative.dev/v1", "Configuration", "configurations")
ROUTE: Final = Kind("serving.knative.dev/v1", "Route", "routes")


class KnativeStandIn:
    """Use as a context; `refuses` names images whose revisions never become Ready."""

    def __init__(self, url: str, *, refuses: str = "") -> None:
        self._client = KubeClient.of_url(url, user_agent="knative-stand-in")
        self._refuses = refuses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="Knative's stand-in", daemon=True)
        self._watch: Any = None

    def __enter__(self) -> Self:
        page = self._client.page(SERVICE, "", {})
        self._watch = self._client.watch(SERVICE, "", {"resourceVersion": page.resource_version}, seconds=600)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watch.interrupt()
        self._thread.join()
        self._watch.close()

    def _run(self) -> None:
        try:
            self._follow()
        except ApiUnreachable:
            if not self._stop.is_set():
                raise

    def _follow(self) -> None:
        for event in self._watch:
            about = event.object["metadata"]
            if event.type in ("ADDED", "MODIFIED") and not about.get("deletionTimestamp"):
                status = event.object.get("status") or {}
                if status.get("observedGeneration") != about["generation"]:
                    try:
                        self._reconcile(event.object)
                    except (ObjectNotFound, Conflict):
                        continue  # it has changed again or is gone, of which another event tells

    def _reconcile(self, service: Object) -> None:
        about, spec = service["metadata"], service["spec"]
        name, namespace = about["name"], about["namespace"]
        revisions = self._client.page(
            REVISION, namespace, {"labelSelector": f"serving.knative.dev/service={name}"}
        ).items
        newest = max(revisions, key=lambda each: each["metadata"]["name"], default=None)
        if newest is None or newest["spec"] != spec["template"]["spec"]:
            newest = self._new_revision(service, len(revisions) + 1)
        latest = newest["metadata"]["name"]
        traffic = [
            {**each, "revisionName": each.get("revisionName", latest)}
            for each in spec.get("traffic") or [{"latestRevision": True, "percent": 100}]
        ]
        is_ready = not self._refuses or self._refuses not in spec["template"]["spec"]["containers"][0]["image"]
        condition = {"status": "True"} if is_ready else {"status": "False", "reason": "RevisionFailed", "message": "no"}
        url = f"http://{name}.{namespace}.example.com"
        names = {"latestCreatedRevisionName": latest, "latestReadyRevisionName": latest}
        for kind, more in ((CONFIGURATION, names), (ROUTE, {"url": url, "traffic": traffic})):
            self._child(service, kind, more, condition)
        status = {**names, "url": url, "traffic": traffic, "address": {"url": url}}
        ready = ("ConfigurationsReady", "RoutesReady", "Ready")
        self._tell(SERVICE, Key(namespace, name), {**status, **_conditions(about["generation"], ready, condition)})

    def _new_revision(self, service: Object, number: int) -> Object:
        about, template = service["metadata"], service["spec"]["template"]
        name, namespace = about["name"], about["namespace"]
        labels = {
            "serving.knative.dev/service": name,
            "serving.knative.dev/configuration": name,
            "serving.knative.dev/configurationGeneration": str(number),
        }
        annotations = (template.get("metadata") or {}).get("annotations") or {}
        revision = f"{name}-{number:05d}"
        metadata = {
            "name": revision,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [_owner(service)],
        }
        body = {"apiVersion": REVISION.group, "kind": "Revision", "metadata": metadata, "spec": template["spec"]}
        made = self._client.create(REVISION, namespace, body)
        self._tell(REVISION, Key(namespace, revision), _conditions(1, ("Ready",), {"status": "True"}))
        return made

    def _child(self, service: Object, kind: Kind, status: Object, condition: Object) -> None:
        about = service["metadata"]
        key = Key(about["namespace"], about["name"])
        try:
            self._client.get(kind, key)
        except ObjectNotFound:
            metadata = {
                "name": key.name,
                "labels": {"serving.knative.dev/service": key.name},
                "ownerReferences": [_owner(service)],
            }
            self._client.create(
                kind, key.namespace, {"apiVersion": kind.group, "kind": kind.kind, "metadata": metadata}
            )
        self._tell(kind, key, {**status, **_conditions(1, ("Ready",), condition)})

    def _tell(self, kind: Kind, key: Key, status: Object) -> None:
        self._client.merge(kind, key, {"status": status}, subresource="status")


def _owner(service: Object) -> Object:
    about = service["metadata"]
    return {
        "apiVersion": SERVICE.group,
        "kind": "Service",
        "name": about["name"],
        "uid": about["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _conditions(generation: int, types: tuple[str, ...], condition: Object) -> Object:
    found = [{"type": each, "lastTransitionTime": "2026-01-01T00:00:00Z", **condition} for each in types]
    return {"observedGeneration": generation, "conditions": found}
