"""What is below an object and is written through a small object of its own: its scale, a pod's node; and questions.

Called by `service`.
"""

from dataclasses import replace

from knative_mig.dev.api import causes, patches, refusals
from knative_mig.dev.api.managed_fields import UPDATE, Manager
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.steps import Object, Work, World, Written, as_it_is, decoded, sent
from knative_mig.dev.api.store import Outdated
from knative_mig.dev.api.updates import overwrite
from knative_mig.dev.api.writes import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH


def scale(world: World, asked: Asked) -> Written:
    """Reads or writes `spec.replicas` through the small object that all that scale have in common."""
    work = Work(world, asked)

    def as_scale(body: Object) -> Object:
        about = {
            key: body["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        }
        labels = ((body["spec"].get("selector") or {}).get("matchLabels")) or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        status = {"replicas": (body.get("status") or {}).get("replicas", 0), "selector": selector}
        replicas = body["spec"].get("replicas", 1)
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": about,
            "spec": {"replicas": replicas} if replicas else {},
            "status": status,
        }

    if asked.verb == "get":
        return Written(body=as_scale(as_it_is(work).body))
    found, _ = sent(world, asked)
    media_type = asked.content_type.partition(";")[0].strip().lower()

    def change(live: Object) -> Object:
        seen = as_scale(live)
        if asked.verb == "update":
            new = found
        elif media_type == JSON_PATCH:
            new = patches.patched(seen, found)
        elif media_type in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
            new = patches.merged(seen, found)
        else:
            raise refusals.unsupported_media_type(asked.content_type, (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH))
        replicas = (new.get("spec") or {}).get("replicas", 0) if isinstance(new, dict) else None
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            cause = causes.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
            raise refusals.invalid(work.kind, asked.name, [cause])
        version = (new.get("metadata") or {}).get("resourceVersion")
        about = {**live["metadata"], **({"resourceVersion": version} if version else {})}
        return {**live, "metadata": about, "spec": {**live["spec"], "replicas": replicas}}

    work.asked = replace(asked, below="")
    done = overwrite(work, change, Manager(name=asked.manager, operation=UPDATE, subresource="scale"))
    return replace(done, body=as_scale(done.body))


def bind(world: World, asked: Asked) -> Written:
    """A scheduler's word for where a pod runs: once, and for good."""
    work = Work(world, asked)
    found, _ = sent(world, asked)
    target = found.get("target") if isinstance(found, dict) else None
    node = target.get("name") if isinstance(target, dict) else None
    if not isinstance(node, str) or not node:
        raise refusals.bad_request("a Binding names its node in target.name")

    def change(live: Object) -> Object:
        if (live["spec"]).get("nodeName"):
            raise refusals.conflict(
                work.kind, asked.name, f'pod {asked.name} is already assigned to node "{live["spec"]["nodeName"]}"'
            )
        if live["spec"].get("schedulingGates"):
            raise refusals.conflict(work.kind, asked.name, f"pod {asked.name} has non-empty .spec.schedulingGates")
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": world.timestamp()}
        conditions = [
            each for each in (live.get("status") or {}).get("conditions") or () if each["type"] != "PodScheduled"
        ]
        status = {**(live.get("status") or {}), "conditions": [*conditions, scheduled]}
        return {**live, "spec": {**live["spec"], "nodeName": node}, "status": status}

    while not asked.is_dry:
        stored = as_it_is(work)
        try:
            world.store.put(asked.key, change(stored.body), over=stored.version)
            break
        except Outdated:
            continue
    return Written(
        body={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, code=201
    )


def answered(world: World, asked: Asked) -> Written:
    """A question about who asks: here everybody may do everything."""
    work = Work(world, asked)
    body = decoded(work, *sent(world, asked))
    match asked.kind.kind:
        case "SelfSubjectReview":
            status: Object = {"userInfo": asked.user}
        case "SelfSubjectRulesReview":
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            rest = {"verbs": ["*"], "nonResourceURLs": ["*"]}
            status = {"resourceRules": [everything], "nonResourceRules": [rest], "incomplete": False}
        case _:
            status = {"allowed": True, "reason": "whoever reaches this port may do everything"}
    return Written(body={**body, "status": status}, code=201, warnings=tuple(work.warnings))
