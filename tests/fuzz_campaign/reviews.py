"""AdmissionReviews for the webhook: valid ones with the answer that each must have, and changes that only they have."""

import copy
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from knative_mig.adapters.webhook_server import LARGEST
from knative_mig.core.admission.annotations import CHOSEN, KNOWN, PREFIX
from tests.fuzz_campaign.draft import Change, Draft
from tests.fuzz_campaign.json_changes import TEXTS
from tests.rigs import webhooks

PROFILES: Final = ("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb", "7g.80gb", "1g.5gb.me")
LEGAL: Final[Mapping[str, tuple[str, ...]]] = {
    PREFIX + "model": ("llama-3.1-8b", "a"),
    PREFIX + "slo-ttft-ms": ("500", "999999999"),
    PREFIX + "expected-rps": ("0.5", "2"),
    PREFIX + "profiles": ("1g.5gb", "1g.10gb, 2g.20gb"),
    PREFIX + "priority": ("0", "-5", "1000000000"),
    PREFIX + "movable": ("true", "false"),
    PREFIX + "rollout": ("wait", "recreate"),
}
ILLEGAL: Final = (
    {PREFIX + "no-such": "1"},
    {PREFIX + "rollout": "now"},
    {PREFIX + "slo-ttft-ms": "0"},
    {PREFIX + "priority": "1.0"},
)
RECORDS: Final = (
    "", "{}", "[]", "null", '{"annotations":{},"inputs":"v1:0","spec":{"timeoutSeconds":5}}',
    '{"annotations":[],"inputs":"v1:0","spec":{}}',
    '{"annotations":{"a":"b"},"inputs":"v1:0","spec":{}}', '{"annotations":{},"inputs":1,"spec":{}}', "[" * 4000,
    "9" * 5000,
    '{"annotations":{},"inputs":"v1:0","spec":{"timeoutSeconds":1e999}}',
)  # fmt: skip
AMOUNTS: Final = (
    "0", "2", "-1", "1.0", "1000m", "1e0", "1e99", "1e999999999", "1Ei", "0x1", "+1", ".5", "5.", "٣", "9" * 5000,
    "1" + "0" * 29, "",
)  # fmt: skip


def valid(chance: Random, uid: str) -> tuple[str, Draft, bool]:
    """What it is, the request, and whether what it is about is to be let in."""
    draw = chance.random()
    if draw < 0.35:
        return _review("a function that is made", "CREATE", _function(chance), None, uid)
    if draw < 0.45:
        return _review("a function that is changed", "UPDATE", _function(chance), _function(chance), uid)
    if draw < 0.55:
        body = _function(chance)
        stored = copy.deepcopy(body)
        stored["spec"]["template"]["spec"]["enableServiceLinks"] = chance.choice((True, False))
        return _review("a function that is replaced", "UPDATE", body, stored, uid)
    if draw < 0.65:
        return _refused(chance, uid)
    if draw < 0.9:
        return _review("a pod", "CREATE", _pod(chance), None, uid, kind="Pod", path=b"/mutate")
    if draw < 0.95:
        return _review("a deletion", "DELETE", None, _function(chance), uid)
    kind = chance.choice(("Scale", "ConfigMap"))
    return _review("of a kind that is nothing to us", "UPDATE", {"metadata": {"name": "x"}}, None, uid, kind=kind)


def large(chance: Random, uid: str) -> tuple[str, Draft, bool]:
    """As large as two objects can be."""
    body = _function(chance)
    body["metadata"].setdefault("annotations", {})["example.com/large"] = "x" * (LARGEST // 2 - 16_384)
    return _review("a large review", "UPDATE", body, copy.deepcopy(body), uid)


def _refused(chance: Random, uid: str) -> tuple[str, Draft, bool]:
    body = _function(chance)
    about = chance.choice((body["metadata"], body["spec"]["template"].setdefault("metadata", {})))
    about["annotations"] = {**(about.get("annotations") or {}), **chance.choice(ILLEGAL)}
    what, draft, _ = _review("a function that is refused", "CREATE", body, None, uid, path=b"/validate")
    return what, draft, False


def _review(
    what: str,
    operation: str,
    new: Any,
    old: Any,
    uid: str,
    *,
    kind: str = "Service",
    path: bytes = b"",
) -> tuple[str, Draft, bool]:
    tree = webhooks.review(operation, new, old, kind=kind)
    tree["request"]["uid"] = uid
    headers = [
        (b"Host", webhooks.HOST.encode()),
        (b"Accept", b"application/json, */*"),
        (b"User-Agent", b"kube-apiserver-admission"),
        (b"Content-Type", b"application/json"),
    ]
    # Either webhook is asked about a function; their paths are drawn by the last bit of the review's own name.
    path = path or (b"/mutate", b"/validate")[int(uid[-1], 16) % 2]
    return what, Draft(path=path, headers=headers, tree=tree), True


def _function(chance: Random) -> Any:
    asks = [chance.choice(PROFILES)] if chance.random() < 0.8 else []
    spec: dict[str, Any] = {}
    if chance.random() < 0.3:
        spec["timeoutSeconds"] = chance.choice((0, 30, 300))
    if chance.random() < 0.1:
        spec["idleTimeoutSeconds"] = 20
    own = [{key: chance.choice(LEGAL[key]) for key in chance.sample(sorted(LEGAL), chance.randrange(3))} for _ in "12"]
    if chance.random() < 0.2:
        own[1]["example.com/a~b/c"] = chance.choice(("x", "é 🙂", ""))
    return webhooks.service(*asks, annotations=own[0], template=own[1], **spec)


def _pod(chance: Random) -> Any:
    spec: dict[str, Any] = {}
    if chance.random() < 0.2:
        spec["initContainers"] = [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}]
    if chance.random() < 0.2:
        spec["schedulingGates"] = [{"name": chance.choice(("example.com/g", "knative-mig.dev/slice"))}]
    if chance.random() < 0.1:
        spec["overhead"] = {"memory": "120Mi"}
    if chance.random() < 0.2:
        spec["tolerations"] = chance.choice((None, [], [{"operator": "Exists"}]))
    return webhooks.pod(*([chance.choice(PROFILES)] if chance.random() < 0.9 else []), **spec)


# -- changes -----------------------------------------------------------------------------------------------------------


def _object(draft: Draft) -> dict[str, Any]:
    draft.tree = copy.deepcopy(draft.tree)
    request = draft.tree.get("request") if isinstance(draft.tree, dict) else None
    request = request if isinstance(request, dict) else {}
    found = request.get("object") or request.get("oldObject")
    return found if isinstance(found, dict) else {}


def _template(of: dict[str, Any]) -> dict[str, Any]:
    """As far as there is one."""
    spec = of.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) else of


def _odd_annotation(draft: Draft, chance: Random) -> None:
    body = _object(draft)
    about = chance.choice((body, _template(body))).setdefault("metadata", {})
    if isinstance(about, dict):
        key = chance.choice(
            (*KNOWN, PREFIX, f"{PREFIX}{chance.choice(TEXTS)}", "autoscaling.knative.dev/target-burst-capacity")
        )
        about["annotations"] = {key: chance.choice((*TEXTS, 1, None, True, [], {}))}


def _odd_record(draft: Draft, chance: Random) -> None:
    about = _template(_object(draft)).setdefault("metadata", {})
    if isinstance(about, dict):
        about["annotations"] = {CHOSEN: chance.choice(RECORDS)}


def _containers(draft: Draft) -> list[Any]:
    body = _object(draft)
    spec = _template(body).get("spec")
    found = spec.get("containers") if isinstance(spec, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _odd_amount(draft: Draft, chance: Random) -> None:
    for each in _containers(draft)[:1]:
        resource = chance.choice(("nvidia.com/mig-3g.20gb", "cpu", "memory"))
        each["resources"] = {
            chance.choice(("limits", "requests")): {resource: chance.choice((*AMOUNTS, 1, 2.5, None, True))}
        }


def _odd_resource(draft: Draft, chance: Random) -> None:
    odd = ("0g.5gb", "1g", "3g.20gb+me", "3g.20gb.xx", "\n", "x" * 3000, "é", "9" * 5000 + "g.1gb", "3g.20gb", "1g.5gb")
    for each in _containers(draft)[:1]:
        names = chance.sample(odd, chance.choice((1, 1, 2)))
        each["resources"] = {"limits": {f"nvidia.com/mig-{name}": "1" for name in names}}


def _two_slices(draft: Draft, _: Random) -> None:
    found = _containers(draft)
    for each in found[:1]:
        each["resources"] = {"limits": {"nvidia.com/mig-1g.5gb": "1", "nvidia.com/mig-3g.20gb": "1"}}


def _another_envelope(draft: Draft, chance: Random) -> None:
    tree = draft.tree = copy.deepcopy(draft.tree)
    if not isinstance(tree, dict) or not isinstance(tree.get("request"), dict):
        return
    match chance.randrange(6):
        case 0:
            tree["apiVersion"] = chance.choice(("admission.k8s.io/v1beta1", "v1", "", None, 1))
        case 1:
            tree["kind"] = chance.choice(("admissionreview", "Status", "", None, {}))
        case 2:
            tree["request"]["operation"] = chance.choice(
                ("create", "PATCH", "CONNECT", "", None, [], "CREATE\n2026-01-01 INFO x: y")
            )
        case 3:
            tree["request"]["resource"] = chance.choice(
                ({}, None, "pods", {"resource": "pods\nforged line", "group": "a\rb"}, {"resource": "x" * 100_000})
            )
        case 4:
            tree["request"]["object"] = tree["request"].get("oldObject")
        case _:
            tree["response"] = {"uid": "x", "allowed": True}


def _too_large(draft: Draft, chance: Random) -> None:
    draft.raw = draft.body + b" " * (LARGEST + chance.choice((1, 1000)) - len(draft.body))


REVIEW_CHANGES: Final[Mapping[str, Change]] = {
    "an annotation is odd": _odd_annotation,
    "a record of a choice is odd": _odd_record,
    "an amount is odd": _odd_amount,
    "a resource is odd": _odd_resource,
    "two slices": _two_slices,
    "another envelope": _another_envelope,
}
RARE_REVIEW_CHANGES: Final[Mapping[str, Change]] = {"too large": _too_large}  # six megabytes each
