"""A Deployment: a ReplicaSet for its template, in the place of the ones of former templates.

Called by `loop` for a Deployment whenever it or one of its ReplicaSets changes, and when its deadline is due. Knative
wants no pod unavailable, so a new ReplicaSet grows by the surge, and an old one shrinks by what has become available.

The subtle thing is progress: a deadline counts from the last step that was made, and only while a template is new. A
Deployment that was complete once and is scaled up from zero is never late.
"""

import json
import zlib
from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from knative_mig.adapters.kube.fields import seconds_of, time_text
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import DEPLOYMENT, REPLICA_SET, Object, Seen
from knative_mig.dev.serving.replica_sets import FAILURE
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

HASH: Final = "pod-template-hash"
LATE: Final = "ProgressDeadlineExceeded"
_COMPLETE: Final = "NewReplicaSetAvailable"
_NUMBER: Final = "deployment.kubernetes.io/revision"
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, so that they spell nothing
_COUNTS: Final = ("replicas", "readyReplicas", "availableReplicas")


def decide(seen: Seen, key: Key) -> Decided:
    body = seen.get(DEPLOYMENT, key)
    if body is None or objects.is_ending(body):
        return NOTHING
    wanted = Wanted()
    sets = [each for each in seen.owned(REPLICA_SET, body) if not objects.is_ending(each)]
    code = template_hash(objects.spec(body)["template"])
    new = next((each for each in sets if objects.labels(each).get(HASH) == code), None)
    old = [each for each in sets if each is not new]
    if new is None:
        _create(body, code, old, wanted)
    else:
        _resize(body, new, old, wanted)
    _status(seen, body, new, old, wanted)
    return wanted.decided()


def template_hash(template: Object) -> str:
    """In the letters that Kubernetes takes for it."""
    digits = str(zlib.crc32(json.dumps(template, sort_keys=True).encode()))
    return "".join(_LETTERS[ord(each) % len(_LETTERS)] for each in digits)


def _create(body: Object, code: str, old: Sequence[Object], wanted: Wanted) -> None:
    about, spec = body["metadata"], objects.spec(body)
    template = spec["template"]
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), HASH: code}
    name = f"{about['name']}-{code}"
    replicas = _growth(int(spec["replicas"]), 0, _wants(old))
    number = 1 + max((int(objects.annotations(each).get(_NUMBER, "0")) for each in old), default=0)
    new = {
        "metadata": {
            "name": name,
            "namespace": about["namespace"],
            "labels": labels,
            "annotations": {**objects.annotations(body), _NUMBER: str(number)},
            "ownerReferences": [objects.owner_reference(body)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {**spec["selector"]["matchLabels"], HASH: code}},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }
    wanted.create(REPLICA_SET, new, "its template is new")
    if replicas:
        wanted.tell(body, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {replicas}")


def _resize(body: Object, new: Object, old: Sequence[Object], wanted: Wanted) -> None:
    replicas, have = int(objects.spec(body)["replicas"]), int(objects.spec(new)["replicas"])
    in_old = _wants(old)
    if have > replicas:
        _scale(body, new, replicas, wanted)
        have = replicas
    else:
        have = _growth(replicas, have, in_old)
        _scale(body, new, have, wanted)
    # What is wanted of the new one and not available yet is what the old ones still have to stand in for.
    missing = have - _count(new, "availableReplicas")
    spare = have + in_old - replicas - max(0, missing)
    for each in sorted(old, key=objects.created):
        size = int(objects.spec(each)["replicas"])
        if (going := min(size, spare)) > 0:
            _scale(body, each, size - going, wanted)
            spare -= going
        elif size == 0 and _count(each, "replicas") == 0 and _is_complete(body, new, old):
            wanted.delete(REPLICA_SET, each, "its template is old and it has no pods")


def _growth(replicas: int, have: int, in_old: int) -> int:
    surge = ceil(replicas * 0.25)
    room = replicas + surge - have - in_old
    return have + max(0, min(room, replicas - have))


def _scale(body: Object, replica_set: Object, to: int, wanted: Wanted) -> None:
    before, name = int(objects.spec(replica_set)["replicas"]), replica_set["metadata"]["name"]
    if before == to:
        return
    spec = {**objects.spec(replica_set), "replicas": to}
    wanted.change(REPLICA_SET, replica_set, {**replica_set, "spec": spec}, f"the Deployment wants {to}")
    way = "up" if to > before else "down"
    wanted.tell(body, "ScalingReplicaSet", f"Scaled {way} replica set {name} from {before} to {to}")


def _count(body: Object, name: str) -> int:
    return int(objects.status(body).get(name, 0))


def _wants(sets: Sequence[Object]) -> int:
    return sum(int(objects.spec(each)["replicas"]) for each in sets)


def _is_complete(body: Object, new: Object, old: Sequence[Object]) -> bool:
    replicas = int(objects.spec(body)["replicas"])
    counts = [_count(new, name) for name in ("replicas", "availableReplicas")]
    return counts == [replicas, replicas] and not any(_count(each, "replicas") for each in old)


def _status(seen: Seen, body: Object, new: Object | None, old: Sequence[Object], wanted: Wanted) -> None:
    every = [*old, new] if new is not None else [*old]
    counts = {name: sum(_count(each, name) for each in every) for name in _COUNTS}
    counts["updatedReplicas"] = _count(new, "replicas") if new is not None else 0
    counts["unavailableReplicas"] = max(0, _wants(every) - counts["availableReplicas"])
    status: Object = {
        **{name: count for name, count in counts.items() if count},
        "observedGeneration": body["metadata"]["generation"],
    }
    status["conditions"] = _conditions(seen, body, new, every, wanted=wanted, counts=counts)
    wanted.status(DEPLOYMENT, body, status, "how its ReplicaSets are")


def _conditions(
    seen: Seen, body: Object, new: Object | None, every: Sequence[Object], *, counts: dict[str, int], wanted: Wanted
) -> list[Object]:
    told = _Told(body, seen.now)
    if counts["availableReplicas"] >= int(objects.spec(body)["replicas"]):
        told.say("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        told.say("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    _progress(seen, body, new, told, counts=counts, wanted=wanted)
    failures = [found for each in every if (found := objects.condition(each, FAILURE))]
    if failures:
        told.say(FAILURE, failures[-1]["status"], failures[-1]["reason"], failures[-1]["message"])
    else:
        told.forget(FAILURE)
    return told.conditions


def _progress(
    seen: Seen, body: Object, new: Object | None, told: "_Told", *, counts: dict[str, int], wanted: Wanted
) -> None:
    before, replicas = told.of("Progressing"), int(objects.spec(body)["replicas"])
    if new is None:
        name = f"{body['metadata']['name']}-{template_hash(objects.spec(body)['template'])}"
        told.say("Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        return
    name = new["metadata"]["name"]
    if counts["replicas"] == counts["updatedReplicas"] and before.get("reason") == _COMPLETE:
        return
    if counts["replicas"] == counts["updatedReplicas"] == counts["availableReplicas"] == replicas:
        told.say("Progressing", "True", _COMPLETE, f'ReplicaSet "{name}" has successfully progressed.')
        return
    if _has_progressed(body, counts):
        told.say("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.', again=True)
        before = told.of("Progressing")
    if before and before["reason"] != LATE:
        due = seconds_of(before["lastUpdateTime"]) + int(objects.spec(body).get("progressDeadlineSeconds", 600))
        if due <= seen.now:
            told.say("Progressing", "False", LATE, f'ReplicaSet "{name}" has timed out progressing.')
        else:
            wanted.look_again(due - seen.now)


def _has_progressed(body: Object, counts: dict[str, int]) -> bool:
    was = {name: _count(body, name) for name in counts}
    return (
        counts["updatedReplicas"] > was["updatedReplicas"]
        or counts["replicas"] - counts["updatedReplicas"] < was["replicas"] - was["updatedReplicas"]
        or counts["readyReplicas"] > was["readyReplicas"]
        or counts["availableReplicas"] > was["availableReplicas"]
    )


class _Told:
    """A Deployment's conditions: of these two times, of the last word and of the last change of the status."""

    def __init__(self, body: Object, now: float) -> None:
        self.conditions: list[Object] = list(objects.status(body).get("conditions") or ())
        self._now = time_text(floor(now))

    def of(self, name: str) -> Object:
        return next((each for each in self.conditions if each["type"] == name), {})

    def say(self, name: str, status: str, reason: str, message: str, *, again: bool = False) -> None:
        """`again`: a new word even where it is the same one."""
        before = self.of(name)
        if before and (before["status"], before["reason"]) == (status, reason) and not again:
            return
        since = before["lastTransitionTime"] if before and before["status"] == status else self._now
        self.forget(name)
        self.conditions.append(
            {
                "type": name,
                "status": status,
                "reason": reason,
                "message": message,
                "lastUpdateTime": self._now,
                "lastTransitionTime": since,
            }
        )

    def forget(self, name: str) -> None:
        self.conditions = [each for each in self.conditions if each["type"] != name]
