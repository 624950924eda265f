"""When the Service controller says that a new spec has failed: not sooner than a client can be watching for it.

Made by `controllers`, called by `loop` in the place of `services`, whose word this holds back. The subtle thing is kn:
it writes a Service, gets it once, and where that is not Ready it watches from there on for one that is or has failed,
so a failure that stands in what it got is never an event to it, and it waits for its whole timeout. On a cluster a
failure comes after several writes of several controllers, which take longer than kn's one look; here they are done
within it. What is well is never held, and neither is a failure of a spec that has been there for that long.
"""

from dataclasses import replace
from typing import Final

from knative_mig.dev.serving import objects, services
from knative_mig.dev.serving.objects import SERVICE, Object, Seen
from knative_mig.dev.serving.writes import Change, Decided, Write
from knative_mig.ports.kube import Key

HELD_S: Final = 1.0  # many times what kn needs from its write to its watch, on a busy machine too


class HeldFailures:
    """Of each Service since when its newest spec has been seen. A restart forgets it: then a failure is held anew."""

    def __init__(self) -> None:
        self._since: dict[Key, tuple[str, int, float]] = {}

    def decide(self, seen: Seen, key: Key) -> Decided:
        decided = services.decide(seen, key)
        service = seen.get(SERVICE, key)
        if service is None:
            self._since.pop(key, None)
            return decided
        since = self._seen_since(service, key, seen.now)
        failure = next((each for each in decided.writes if _fails(each, service)), None)
        if not isinstance(failure, Change) or objects.has_failed(service):
            return decided
        others = tuple(each for each in decided.writes if each is not failure)
        rest_s = since + HELD_S - seen.now
        if rest_s <= 0:
            return replace(decided, writes=(*others, _at_first(failure)))
        again_s = rest_s if decided.look_again_s is None else min(rest_s, decided.look_again_s)
        return replace(decided, writes=others, look_again_s=again_s)

    def _seen_since(self, service: Object, key: Key, now: float) -> float:
        uid, generation = service["metadata"]["uid"], service["metadata"]["generation"]
        known = self._since.get(key)
        if known is None or known[:2] != (uid, generation):
            known = self._since[key] = uid, generation, now
        return known[2]


def _at_first(failure: Change) -> Change:
    """Before the Route says that it has no Revision, its Configuration says why: kn shows what it hears first. The next
    pass writes what `services` decided.
    """
    why = objects.condition(failure.patch, "ConfigurationsReady")
    if why.get("status") != "False":
        return failure
    said = {name: why.get(name, "") for name in ("reason", "message")}
    status = failure.patch["status"]
    conditions = [each | said if each["type"] == "Ready" else each for each in status["conditions"]]
    return replace(failure, patch={**failure.patch, "status": {**status, "conditions": conditions}})


def _fails(write: Write, service: Object) -> bool:
    """Whether it leaves the Service with a Ready that is False."""
    if not isinstance(write, Change) or write.kind is not SERVICE or not write.below:
        return False
    after = {**service, "status": {**objects.status(service), **write.patch["status"]}}
    return objects.has_failed(after)
