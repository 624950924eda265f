"""Which Revisions and Configurations a Route needs, as labels and annotations on them.

Called by `loop` for a Route whenever it or what it may name changes, and once more when it is gone. What a Route needs
is active: its Revision is reachable (`revisions`), so that min-scale holds, and is not collected (`old_revisions`). The
subtle thing is when one is let go: not before the Route is ready or has failed, as until then requests may go to it.
"""

from math import floor
from typing import Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import CONFIGURATION, ROUTE, ROUTES, ROUTING_SINCE, ROUTING_STATE, Object, Seen
from knative_mig.dev.serving.writes import Decided, Wanted
from knative_mig.ports.kube import Key

_KINDS: Final = (REVISION, CONFIGURATION)


def decide(seen: Seen, key: Key) -> Decided:
    route = seen.get(ROUTE, key)
    wanted = Wanted()
    needed = _needed(seen, route) if route is not None and not objects.is_ending(route) else {}
    may_let_go = not needed or (route is not None and (objects.is_ready(route) or objects.has_failed(route)))
    for kind in _KINDS:
        for each in seen.all(kind, key.namespace):
            is_needed = each["metadata"]["name"] in needed.get(kind, ()) or (
                kind is CONFIGURATION and route is not None and _is_sibling(each, route)
            )
            if is_needed or (may_let_go and key.name in _routes(each) and _is_active(kind, each)):
                _note(seen, wanted, kind, each, key.name, is_needed=is_needed)
    return wanted.decided()


def _is_sibling(configuration: Object, route: Object) -> bool:
    """Of the same Service, which notes the Route on it whatever the traffic is: to take that off would never end."""
    owner = objects.controller_of(route)
    return owner is not None and objects.controller_of(configuration) == owner


def _needed(seen: Seen, route: Object) -> dict[Kind, set[str]]:
    namespace = route["metadata"]["namespace"]
    revisions: set[str] = set()
    configurations: set[str] = set()
    for target in (*(objects.status(route).get("traffic") or ()), *(objects.spec(route).get("traffic") or ())):
        name = target.get("configurationName", "")
        if revision := seen.get(REVISION, Key(namespace, target.get("revisionName", ""))):
            revisions.add(revision["metadata"]["name"])
            owner = objects.controller_of(revision) or {}
            name = owner["name"] if owner.get("kind") == CONFIGURATION.kind else name
        elif target.get("revisionName"):
            continue
        if configuration := seen.get(CONFIGURATION, Key(namespace, name)):
            configurations.add(name)
            latest = objects.status(configuration).get("latestCreatedRevisionName")
            if latest and target.get("latestRevision"):
                revisions.add(latest)
    return {REVISION: revisions, CONFIGURATION: configurations}


def _routes(body: Object) -> set[str]:
    return set(filter(None, objects.annotations(body).get(ROUTES, "").split(",")))


def _is_active(kind: Kind, body: Object) -> bool:
    return kind is CONFIGURATION or objects.labels(body).get(ROUTING_STATE) == "active"


def _note(seen: Seen, wanted: Wanted, kind: Kind, body: Object, route: str, *, is_needed: bool) -> None:
    routes = _routes(body) | {route} if is_needed else _routes(body) - {route}
    about = body["metadata"]
    notes = {name: text for name, text in objects.annotations(body).items() if name != ROUTES}
    if routes:
        notes[ROUTES] = ",".join(sorted(routes))
    has = objects.labels(body)
    if kind is REVISION:
        state = "active" if routes else "reserve"
        if has.get(ROUTING_STATE) != state:
            has = {**has, ROUTING_STATE: state}
            notes[ROUTING_SINCE] = time_text(floor(seen.now))
    why = f"Route {route} {'needs' if is_needed else 'no longer needs'} it"
    wanted.change(kind, body, {**body, "metadata": {**about, "annotations": notes, "labels": has}}, why)
