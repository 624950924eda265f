"""A ReplicaSet: as many pods as it wants, made and deleted.

Called by `loop` for a ReplicaSet whenever it or one of its pods changes. A pod that ended is not one of its pods any
more, and neither is one that is being deleted, so that both are replaced at once; one whose labels it does not select
any more is let go, which is how people take a sick one out of service for a look. Where a pod is refused, by a quota or
an admission, the refusal is its condition ReplicaFailure until one is let in, and it is tried again ever more seldom.
"""

from math import floor
from typing import Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import REPLICA_SET, Object, Seen
from knative_mig.dev.serving.pods import first_to_go, is_active, says_ready
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

FAILURE: Final = "ReplicaFailure"
MOST_AT_ONCE: Final = 500


def decide(seen: Seen, key: Key) -> Decided:
    body = seen.get(REPLICA_SET, key)
    if body is None:
        return NOTHING
    wanted = Wanted()
    active = [each for each in seen.owned(POD, body) if is_active(each)]
    pods = [each for each in active if _selects(body, each)]
    for each in active:
        if not _selects(body, each):
            wanted.change(POD, each, _let_go(each, body), "its labels are not what is selected")
    too_few = 0 if objects.is_ending(body) else int(objects.spec(body)["replicas"]) - len(pods)
    failure = seen.failure if too_few > 0 else None
    # Its status goes first: a pod that is refused ends the pass.
    wanted.status(REPLICA_SET, body, _status(seen, body, pods, failure.message if failure else ""), "how its pods are")
    if too_few < 0:
        for each in first_to_go(pods, _related(seen, body), min(-too_few, MOST_AT_ONCE), seen.now):
            wanted.delete(POD, each, f"{-too_few} pods are too many")
            wanted.tell(body, "SuccessfulDelete", f"Deleted pod: {each['metadata']['name']}")
    if failure is not None and failure.until > seen.now:
        wanted.look_again(failure.until - seen.now)
    elif too_few > 0:
        for _ in range(min(too_few, MOST_AT_ONCE)):
            wanted.create(POD, _pod_of(body), f"{too_few} pods are missing", told=body)
    return wanted.decided()


def _selects(body: Object, pod: Object) -> bool:
    selected = (objects.spec(body).get("selector") or {}).get("matchLabels") or {}
    return bool(selected.items() <= objects.labels(pod).items())


def _let_go(pod: Object, body: Object) -> Object:
    about = pod["metadata"]
    kept = [each for each in about["ownerReferences"] if each.get("uid") != body["metadata"]["uid"]]
    return {**pod, "metadata": {**about, "ownerReferences": kept}}


def _related(seen: Seen, body: Object) -> list[Object]:
    owner = (objects.controller_of(body) or {}).get("uid")
    return [
        pod
        for each in seen.all(REPLICA_SET, body["metadata"]["namespace"])
        if each is body or (owner and (objects.controller_of(each) or {}).get("uid") == owner)
        for pod in seen.owned(POD, each)
    ]


def _pod_of(body: Object) -> Object:
    template, about = objects.spec(body)["template"], body["metadata"]
    metadata = template.get("metadata") or {}
    return {
        "metadata": {
            "generateName": f"{about['name']}-",
            "namespace": about["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [objects.owner_reference(body)],
        },
        "spec": template["spec"],
    }


def _status(seen: Seen, body: Object, pods: list[Object], failure: str) -> Object:
    ready = sum(says_ready(each) for each in pods)
    labels = (objects.spec(body)["template"].get("metadata") or {}).get("labels") or {}
    alike = sum(labels.items() <= objects.labels(each).items() for each in pods)
    counts = {"fullyLabeledReplicas": alike, "readyReplicas": ready, "availableReplicas": ready}
    others = [each for each in objects.status(body).get("conditions") or () if each["type"] != FAILURE]
    told = objects.condition(body, FAILURE)
    if failure and not told:
        told = {
            "type": FAILURE,
            "status": "True",
            "reason": "FailedCreate",
            "message": failure,
            "lastTransitionTime": time_text(floor(seen.now)),
        }
    conditions = [*others, told] if failure else others
    return {
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count},
        "observedGeneration": body["metadata"]["generation"],
        **({"conditions": conditions} if conditions else {}),
    }
