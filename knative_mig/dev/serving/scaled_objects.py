"""The Deployment and the PodAutoscaler of a Revision, as Knative makes them.

Called by `revisions`. The subtle things: nothing under `autoscaling.knative.dev/` reaches the pods, so that a change of
it on the Revision scales and rolls nothing; and here a pod has no queue-proxy. What that does is done by gateway and
kubelet, so the user's own container keeps its readiness probe, and the probe names the port.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from knative_mig.core.durations import seconds
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import (
    AUTOSCALING,
    CONFIGURATION_LABEL,
    GROUP,
    PROGRESS_DEADLINES,
    REVISION_LABEL,
    REVISION_UID_LABEL,
    ROUTES,
    ROUTING_SINCE,
    ROUTING_STATE,
    SERVICE_LABEL,
    Object,
)
from knative_mig.dev.serving.settings import Settings

HASH_LABEL: Final = f"{GROUP}/deployment-hash"
PORT: Final = 8080
INITIAL_SCALES: Final = (f"{AUTOSCALING}/initial-scale", f"{AUTOSCALING}/initialScale")
_OWN_LABELS: Final = frozenset({f"{GROUP}/route", ROUTING_STATE})
_OWN_NOTES: Final = frozenset({f"{GROUP}/lastPinned", f"{GROUP}/no-gc", ROUTING_SINCE, ROUTES})


def deployment_name(revision: str) -> str:
    return objects.child_name(revision, "-deployment")


def deployment_of(revision: Object, settings: Settings) -> Object:
    about = revision["metadata"]
    has = _labels(revision)
    notes = {name: text for name, text in _notes(revision).items() if not name.startswith(AUTOSCALING)}
    container = serving_container(revision)
    shown = {"kubectl.kubernetes.io/default-container": container["name"]} if container.get("name") else {}
    body: Object = {
        "metadata": {
            "name": deployment_name(about["name"]),
            "namespace": about["namespace"],
            "labels": has,
            "annotations": notes,
            "ownerReferences": [objects.owner_reference(revision)],
        },
        "spec": {
            "replicas": initial_scale(revision, settings),
            "selector": {"matchLabels": {REVISION_UID_LABEL: about["uid"]}},
            "progressDeadlineSeconds": int(progress_deadline_s(objects.annotations(revision), settings)),
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": dict(has), "annotations": notes | shown},
                "spec": _pod_spec(revision, settings),
            },
        },
    }
    body["metadata"]["labels"] = {**has, HASH_LABEL: _hash(body)}
    return body


def autoscaler_of(revision: Object, settings: Settings, reachability: str) -> Object:
    about = revision["metadata"]
    defaults = {f"{AUTOSCALING}/class": settings.autoscaler_class, f"{AUTOSCALING}/metric": "concurrency"}
    return {
        "metadata": {
            "name": about["name"],
            "namespace": about["namespace"],
            "labels": _labels(revision),
            "annotations": {**defaults, **_notes(revision)},
            "ownerReferences": [objects.owner_reference(revision)],
        },
        "spec": {
            "containerConcurrency": objects.spec(revision).get("containerConcurrency", 0),
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment_name(about["name"]),
            },
            "protocolType": "h2c" if _port(revision).get("name") == "h2c" else "http1",
            "reachability": reachability,
        },
    }


def initial_scale(revision: Object, settings: Settings) -> int:
    text = objects.first(objects.annotations(revision), INITIAL_SCALES)
    return int(text) if text is not None and text.isdigit() else settings.initial_scale


def progress_deadline_s(annotations: Mapping[str, str], settings: Settings) -> float:
    text = objects.first(annotations, PROGRESS_DEADLINES)
    try:
        return settings.progress_deadline_s if text is None else seconds(text)
    except ValueError:
        return settings.progress_deadline_s


def serving_container(revision: Object) -> Object:
    """The one that requests go to; empty: there is none."""
    containers = objects.spec(revision).get("containers") or []
    if len(containers) == 1:
        return dict(containers[0])
    return next((dict(each) for each in containers if each.get("ports")), {})


def _port(revision: Object) -> Mapping[str, Any]:
    return next(iter(serving_container(revision).get("ports") or ()), {})


def _labels(revision: Object) -> dict[str, str]:
    about = revision["metadata"]
    kept = {name: text for name, text in objects.labels(revision).items() if name not in _OWN_LABELS}
    return {"app": about["name"], **kept, REVISION_LABEL: about["name"], REVISION_UID_LABEL: about["uid"]}


def _notes(revision: Object) -> dict[str, str]:
    return {name: text for name, text in objects.annotations(revision).items() if name not in _OWN_NOTES}


def _pod_spec(revision: Object, settings: Settings) -> Object:
    spec = objects.spec(revision)
    kept = {
        name: each
        for name, each in spec.items()
        if name not in ("containerConcurrency", "timeoutSeconds", "idleTimeoutSeconds", "responseStartTimeoutSeconds")
    }
    only = len(spec.get("containers") or ()) == 1
    kept["containers"] = [_container(revision, each, only=only) for each in spec.get("containers") or ()]
    kept["terminationGracePeriodSeconds"] = spec.get("timeoutSeconds", settings.timeout_s)
    if "enableServiceLinks" not in kept and settings.service_links is not None:
        kept["enableServiceLinks"] = settings.service_links
    if settings.spread and "affinity" not in kept:
        term = {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {REVISION_LABEL: revision["metadata"]["name"]}},
        }
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        kept["affinity"] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    return kept


def _container(revision: Object, container: Object, *, only: bool) -> Object:
    found = {"terminationMessagePolicy": "FallbackToLogsOnError", **container}
    env = list(found.get("env") or ())
    if only or found.get("ports"):
        port = _port(revision).get("containerPort") or PORT
        found["ports"] = [{"name": "user-port", "containerPort": port, "protocol": "TCP"}]
        env.append({"name": "PORT", "value": str(port)})
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            if name in found:
                found[name] = _probe(found[name], port, is_readiness=name == "readinessProbe")
    has = objects.labels(revision)
    env.append({"name": "K_REVISION", "value": revision["metadata"]["name"]})
    env.append({"name": "K_CONFIGURATION", "value": has.get(CONFIGURATION_LABEL, "")})
    env.append({"name": "K_SERVICE", "value": has.get(SERVICE_LABEL, "")})
    return {**found, "env": env}


def _probe(probe: Object, port: int, *, is_readiness: bool) -> Object:
    """Without a period Knative's proxy asks all the time; once a second is the most that a pod can say."""
    found = dict(probe)
    if is_readiness and not found.get("periodSeconds"):
        found["periodSeconds"] = 1
    for how in ("httpGet", "tcpSocket"):
        if how in found:
            asked = found[how]
            found[how] = {
                **asked,
                "port": asked.get("port") if isinstance(asked.get("port"), int) and asked["port"] else port,
            }
    if "grpc" in found:
        found["grpc"] = {**found["grpc"], "port": found["grpc"].get("port") or port}
    return found


def _hash(body: Object) -> str:
    """Of what the Revision wants; the replicas are the autoscaler's, but for the first."""
    return f"{zlib.crc32(json.dumps(body, sort_keys=True).encode()):x}"
