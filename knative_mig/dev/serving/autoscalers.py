"""A PodAutoscaler: its ServerlessService, the replicas of its Deployment, and its status.

Called by `loop` for a PodAutoscaler whenever it, its ServerlessService, its Deployment or one of its pods changes, and
when the autoscaler has news. How many pods there are to be is the autoscaler's answer (`scaling`); bounds, activity and
the going to zero come with it, so that nothing here counts requests. What an answer builds on is read from the status
that the one before it wrote: a restart changes nothing.
"""

from typing import Final

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.adapters.kube.kinds import POD, POD_AUTOSCALER
from knative_mig.core.kpa.reconcile import Mode, Route
from knative_mig.core.kpa.status import Active, Activity, Status
from knative_mig.dev.conditions import Conditions
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import AUTOSCALING, DEPLOYMENT, REVISION_LABEL, SERVERLESS_SERVICE, Object, Seen
from knative_mig.dev.serving.pods import is_ready
from knative_mig.dev.serving.scaling import Answer, Asked, Autoscaler
from knative_mig.dev.serving.settings import KPA
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

NEEDED: Final = ("Active", "ScaleTargetInitialized", "SKSReady")
_ACTIVE, _INITIALIZED, _WAY = NEEDED


def decide(seen: Seen, key: Key, autoscaler: Autoscaler) -> Decided:
    body = seen.get(POD_AUTOSCALER, key)
    if body is None or objects.is_ending(body):
        autoscaler.forget(key)
        return NOTHING
    if objects.annotations(body).get(f"{AUTOSCALING}/class", KPA) != KPA:
        return NOTHING  # somebody else's
    deployment = seen.get(DEPLOYMENT, Key(key.namespace, objects.spec(body)["scaleTargetRef"]["name"]))
    if deployment is None:
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(body, NEEDED, seen.now)
    way = seen.get(SERVERLESS_SERVICE, key)
    # Its schema wants both names from the first status on, although there are none yet.
    fields: Object = {"serviceName": "", "metricsServiceName": ""}
    fields |= {name: each for name, each in objects.status(body).items() if name != "conditions"}
    if way is not None and not objects.is_owned(way, body):
        conditions.false(
            _ACTIVE, "NotOwned", f'There is an existing ServerlessService "{key.name}" that we do not own.'
        )
    else:
        answer = autoscaler.answer(_asked(seen, body, deployment, way), seen.now)
        _carry_out(body, deployment, way, answer, wanted)
        fields |= _marked(way, answer, conditions)
        wanted.look_again(answer.look_again_s)
    fields["observedGeneration"] = body["metadata"]["generation"]
    fields["conditions"] = conditions.written()
    wanted.status(POD_AUTOSCALER, body, fields, "what the autoscaler answers")
    return wanted.decided()


def _asked(seen: Seen, body: Object, deployment: Object, way: Object | None) -> Asked:
    status, key = objects.status(body), objects.key(body)
    active = objects.condition(body, _ACTIVE)
    when = active.get("lastTransitionTime")
    fresh = Status.fresh(seen.now).active
    pods = [each for each in seen.all(POD, key.namespace) if objects.labels(each).get(REVISION_LABEL) == key.name]
    return Asked(
        revision=key,
        annotations=objects.annotations(body),
        container_concurrency=int(objects.spec(body).get("containerConcurrency") or 0),
        reachable=objects.spec(body).get("reachability") != "Unreachable",
        active=Active(
            activity=Activity(active.get("status") or fresh.activity),
            reason=active.get("reason", ""),
            message=active.get("message", ""),
            since=seconds_of(when) if when else fresh.since,
        ),
        initialized=objects.condition(body, _INITIALIZED).get("status") == "True",
        desired=status.get("desiredScale"),
        actual=status.get("actualScale"),
        ready=sum(is_ready(each) for each in pods),
        replicas=int(objects.spec(deployment)["replicas"]),
        way=_way(way),
    )


def _way(body: Object | None) -> Route | None:
    if body is None:
        return None
    proxied = objects.condition(body, "ActivatorEndpointsPopulated")
    since = proxied.get("lastTransitionTime") if proxied.get("status") == "True" else None
    return Route(
        mode=Mode(objects.spec(body)["mode"]),
        named=bool(objects.status(body).get("privateServiceName")),
        ready=objects.is_ready(body),
        proxied_since=seconds_of(since) if since else None,
    )


def _carry_out(body: Object, deployment: Object, way: Object | None, answer: Answer, wanted: Wanted) -> None:
    why = "; ".join(answer.reasons) or "the autoscaler's answer"
    if answer.replicas is not None:
        spec = {**objects.spec(deployment), "replicas": answer.replicas}
        wanted.change(DEPLOYMENT, deployment, {**deployment, "spec": spec}, why)
    about = body["metadata"]
    spec = {
        "mode": str(answer.mode),
        "numActivators": answer.activators,
        "objectRef": objects.spec(body)["scaleTargetRef"],
        "protocolType": objects.spec(body)["protocolType"],
    }
    if way is not None:
        wanted.change(SERVERLESS_SERVICE, way, {**way, "spec": spec}, why)
        return
    notes = {name: text for name, text in objects.annotations(body).items() if name != f"{AUTOSCALING}/metric"}
    metadata = {
        "name": about["name"],
        "namespace": about["namespace"],
        "labels": objects.labels(body),
        "annotations": notes,
        "ownerReferences": [objects.owner_reference(body)],
    }
    wanted.create(SERVERLESS_SERVICE, {"metadata": metadata, "spec": spec}, "the PodAutoscaler has none")


def _marked(way: Object | None, answer: Answer, conditions: Conditions) -> Object:
    known = _way(way)
    fields: Object = {}
    if way is None or known is None or not known.named:
        conditions.unknown(_WAY, "NotReady", "No Private Service Name")
    else:
        fields["metricsServiceName"] = objects.status(way)["privateServiceName"]
        fields["serviceName"] = objects.status(way).get("serviceName", "")
        if known.ready:
            conditions.true(_WAY)
        else:
            conditions.unknown(_WAY, "NotReady", objects.condition(way, "Ready").get("message", ""))
    if answer.initialized:
        conditions.true(_INITIALIZED)
    conditions.mark(_ACTIVE, str(answer.active.activity), answer.active.reason, answer.active.message)
    fields["actualScale"] = answer.actual
    fields["desiredScale"] = answer.desired
    return {name: each for name, each in fields.items() if each is not None}
