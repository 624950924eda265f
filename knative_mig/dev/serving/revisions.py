"""A Revision: its Deployment, its PodAutoscaler, and its conditions, which are what people read when nothing starts.

Called by `loop` for a Revision whenever it, its Deployment, its PodAutoscaler or one of its pods changes. The subtle
thing is the order: the Deployment speaks first, then the first of its pods while none is available, then the
autoscaler; each may take back what the one before it said, and Ready says what the last unhappy one did.
"""

from typing import Final, Protocol

from knative_mig.adapters.kube.kinds import POD, POD_AUTOSCALER, REVISION
from knative_mig.dev.conditions import READY, Conditions
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import AUTOSCALING, DEPLOYMENT, REVISION_UID_LABEL, ROUTING_STATE, Object, Seen
from knative_mig.dev.serving.scaled_objects import HASH_LABEL, autoscaler_of, deployment_name, deployment_of
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

NEEDED: Final = ("ResourcesAvailable", "ContainerHealthy")
_RESOURCES, _CONTAINER = NEEDED
_ACTIVE: Final = "Active"
_DEPLOYING: Final = "Deploying"
_LATE: Final = "ProgressDeadlineExceeded"
_REACHABILITY: Final = {"active": "Reachable", "reserve": "Unreachable"}
_DEFAULTED: Final = frozenset({f"{AUTOSCALING}/class", f"{AUTOSCALING}/metric"})


class Images(Protocol):
    """Whoever runs containers knows which images it can."""

    def problem(self, image: str) -> str:
        """Why it cannot be run, as a registry would say it; empty: it can."""
        ...


def decide(seen: Seen, key: Key, images: Images) -> Decided:
    revision = seen.get(REVISION, key)
    if revision is None or objects.is_ending(revision):
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(revision, NEEDED, seen.now)
    fields = {name: each for name, each in objects.status(revision).items() if name != "conditions"}
    if not fields.get("containerStatuses"):
        problem = _missing_image(revision, images)
        if problem:
            conditions.false(_CONTAINER, "ContainerMissing", problem)
        else:
            containers = objects.spec(revision).get("containers") or ()
            fields["containerStatuses"] = [{"name": each.get("name", "")} for each in containers]
    if fields.get("containerStatuses"):
        deployment = _deployment(seen, revision, conditions, wanted)
        if deployment is not None:
            fields = _autoscaler(seen, revision, deployment, fields, conditions=conditions, wanted=wanted)
    if conditions.is_true(READY) and not objects.is_ready(revision):
        wanted.tell(revision, "RevisionReady", "Revision becomes ready upon all resources being ready")
    fields["observedGeneration"] = revision["metadata"]["generation"]
    fields["conditions"] = conditions.written()
    wanted.status(REVISION, revision, fields, "what its Deployment, its pods and its autoscaler say")
    return wanted.decided()


def _missing_image(revision: Object, images: Images) -> str:
    for each in objects.spec(revision).get("containers") or ():
        if not each.get("command") and (problem := images.problem(each.get("image", ""))):
            return f'Unable to fetch image "{each.get("image", "")}": {problem}'
    return ""


def _deployment(seen: Seen, revision: Object, conditions: Conditions, wanted: Wanted) -> Object | None:
    """None: there is none to build on yet."""
    about = revision["metadata"]
    name = deployment_name(about["name"])
    deployment = seen.get(DEPLOYMENT, Key(about["namespace"], name))
    if deployment is None:
        conditions.unknown(_RESOURCES, _DEPLOYING)
        conditions.unknown(_CONTAINER, _DEPLOYING)
        wanted.create(DEPLOYMENT, deployment_of(revision, seen.settings), "the Revision has none")
        return None
    if not objects.is_owned(deployment, revision):
        conditions.false(_RESOURCES, "NotOwned", f'There is an existing Deployment "{name}" that we do not own.')
        return None
    new = deployment_of(revision, seen.settings)
    if objects.labels(deployment).get(HASH_LABEL) != new["metadata"]["labels"][HASH_LABEL]:
        wanted.change(
            DEPLOYMENT, deployment, _renewed(deployment, new), "the Revision's metadata or the settings changed"
        )
    status, reason, message = _of_deployment(deployment)
    conditions.mark(_RESOURCES, status, reason, message)
    if objects.spec(deployment)["replicas"] > 0 and not objects.status(deployment).get("availableReplicas"):
        _first_pod(seen, revision, deployment, conditions)
    if objects.status(deployment).get("readyReplicas"):
        conditions.true(_CONTAINER)
    return deployment


def _renewed(deployment: Object, new: Object) -> Object:
    """Others' labels and annotations stay, and so do the replicas, which are the autoscaler's."""
    template, before = new["spec"]["template"], objects.spec(deployment)["template"]
    spec = {
        **new["spec"],
        "replicas": objects.spec(deployment)["replicas"],
        "selector": objects.spec(deployment)["selector"],
        "template": {**template, "metadata": _kept(before.get("metadata") or {}, template["metadata"])},
    }
    return {
        **deployment,
        "metadata": {**deployment["metadata"], **_kept(deployment["metadata"], new["metadata"])},
        "spec": spec,
    }


def _kept(before: Object, new: Object) -> Object:
    found: Object = {}
    for part in ("labels", "annotations"):
        others = {
            name: text
            for name, text in (before.get(part) or {}).items()
            if name != "app" and "knative.dev/" not in name
        }
        found[part] = {**others, **new[part]}
    return found


def _of_deployment(deployment: Object) -> tuple[str, str, str]:
    """A denied pod is worse than a slow one; a Deployment that has not said anything is deploying."""
    progressing = objects.condition(deployment, "Progressing")
    failure = objects.condition(deployment, "ReplicaFailure")
    if failure.get("status") == "True":
        return "False", failure.get("reason", ""), failure.get("message", "")
    match progressing.get("status"):
        case "True":
            return "True", "", ""
        case "False":
            return "False", progressing.get("reason", ""), progressing.get("message", "")
        case "Unknown":
            return "Unknown", progressing.get("reason", ""), progressing.get("message", "")
        case _:
            return "Unknown", _DEPLOYING, ""


def _first_pod(seen: Seen, revision: Object, deployment: Object, conditions: Conditions) -> None:
    """One stands for all: they are alike."""
    about = revision["metadata"]
    pods = [
        each
        for each in seen.all(POD, about["namespace"])
        if objects.labels(each).get(REVISION_UID_LABEL) == about["uid"]
    ]
    if not pods:
        return
    scheduled = objects.condition(pods[0], "PodScheduled")
    if scheduled.get("status") == "False" and not seen.settings.always_schedulable:
        conditions.false(_RESOURCES, scheduled.get("reason", ""), scheduled.get("message", ""))
    is_late = objects.condition(deployment, "Progressing").get("reason") == _LATE
    for container in objects.status(pods[0]).get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated")
        waiting = (container.get("state") or {}).get("waiting")
        if ended is not None:
            code, message = ended.get("exitCode", 0), ended.get("message", "")
            if code == 0 and not message:
                message = "container exited with no error"
            conditions.false(_CONTAINER, f"ExitCode{code}", f"Container failed with: {message}")
            return
        if waiting is not None and is_late:
            conditions.false(_RESOURCES, waiting.get("reason", ""), waiting.get("message", ""))
            return


def _autoscaler(
    seen: Seen, revision: Object, deployment: Object, fields: Object, *, conditions: Conditions, wanted: Wanted
) -> Object:
    name = revision["metadata"]["name"]
    autoscaler = seen.get(POD_AUTOSCALER, Key(revision["metadata"]["namespace"], name))
    if autoscaler is not None and not objects.is_owned(autoscaler, revision):
        conditions.false(_RESOURCES, "NotOwned", f'There is an existing PodAutoscaler "{name}" that we do not own.')
        return fields
    _heard(autoscaler, conditions)
    new = autoscaler_of(revision, seen.settings, _reachability(revision, deployment, conditions))
    if autoscaler is None:
        wanted.create(POD_AUTOSCALER, new, "the Revision has none")
    else:
        theirs = {
            key: text
            for key, text in objects.annotations(autoscaler).items()
            if not key.startswith(AUTOSCALING) or key in _DEFAULTED
        }
        metadata = {**autoscaler["metadata"], "annotations": {**theirs, **new["metadata"]["annotations"]}}
        wanted.change(
            POD_AUTOSCALER, autoscaler, {**autoscaler, "metadata": metadata, "spec": new["spec"]}, "the Revision's own"
        )
    fields = {name: each for name, each in fields.items() if name not in ("actualReplicas", "desiredReplicas")}
    for ours, its in (("actualReplicas", "actualScale"), ("desiredReplicas", "desiredScale")):
        scale = objects.status(autoscaler).get(its, -1) if autoscaler is not None else -1
        if scale >= 0:
            fields[ours] = scale
    return fields


def _heard(autoscaler: Object | None, conditions: Conditions) -> None:
    is_ill = conditions.is_false(_RESOURCES) or conditions.is_false(_CONTAINER)
    ready = objects.condition(autoscaler, "Ready") if autoscaler is not None else {}
    if autoscaler is None or not ready:
        conditions.unknown(_ACTIVE, _DEPLOYING)
        if not is_ill:
            conditions.unknown(_RESOURCES, _DEPLOYING)
        return
    initialized = objects.condition(autoscaler, "ScaleTargetInitialized").get("status") == "True"
    named = bool(objects.status(autoscaler).get("serviceName"))
    if initialized and not is_ill:
        conditions.true(_RESOURCES)
        conditions.true(_CONTAINER)
    if conditions.is_true(_RESOURCES) and not (named and initialized):
        conditions.unknown(_RESOURCES, _DEPLOYING)
    if ready["status"] == "False" and not initialized and not is_ill and named:
        conditions.false(_RESOURCES, _LATE, "Initial scale was never achieved")
    conditions.mark(_ACTIVE, ready["status"], ready.get("reason", ""), ready.get("message", ""))


def _reachability(revision: Object, deployment: Object, conditions: Conditions) -> str:
    """One that cannot start is not scaled any further, whatever its least scale is."""
    is_ill = conditions.is_false(_RESOURCES) or conditions.is_false(_CONTAINER)
    if is_ill and objects.spec(deployment)["replicas"] > 0 and not objects.status(deployment).get("readyReplicas"):
        return "Unreachable"
    return _REACHABILITY.get(objects.labels(revision).get(ROUTING_STATE, ""), "Unknown")
