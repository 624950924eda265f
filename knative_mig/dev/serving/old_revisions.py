"""Which Revisions of a Configuration nobody needs any more.

Called by `loop` for a Configuration whenever it or one of its Revisions changes, and when the next one gets old. Two
limits, of age and of number, each with the same floor of Revisions that are always kept for a rollback.
"""

from typing import Final

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    CONFIGURATION_LABEL,
    GROUP,
    ROUTING_SINCE,
    ROUTING_STATE,
    Object,
    Seen,
)
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

_KEPT: Final = f"{GROUP}/no-gc"


def decide(seen: Seen, key: Key) -> Decided:
    configuration, rules = seen.get(CONFIGURATION, key), seen.settings.retention
    if configuration is None or objects.is_ending(configuration):
        return NOTHING
    idle = [
        each
        for each in seen.all(REVISION, key.namespace)
        if objects.labels(each).get(CONFIGURATION_LABEL) == key.name and not _is_needed(each, configuration)
    ]
    idle.sort(key=_last_active)
    wanted = Wanted()
    spare = len(idle) - rules.least
    left: list[Object] = []
    for each in idle:
        stale_at = _stale_at(seen, each)
        if spare > 0 and stale_at is not None and stale_at <= seen.now:
            wanted.delete(REVISION, each, "it is old and nobody needs it")
            spare -= 1
        else:
            left.append(each)
            if spare > 0 and stale_at is not None:
                wanted.look_again(stale_at - seen.now)
    if spare > 0 and rules.most is not None:
        for each in left[: max(0, len(left) - rules.most)]:
            wanted.delete(REVISION, each, f"of those that nobody needs no more than {rules.most} are kept")
    return wanted.decided()


def _is_needed(revision: Object, configuration: Object) -> bool:
    return (
        objects.status(configuration).get("latestReadyRevisionName") == revision["metadata"]["name"]
        or objects.annotations(revision).get(_KEPT, "").lower() == "true"
        or objects.labels(revision).get(ROUTING_STATE) != "reserve"
        or objects.is_ending(revision)
    )


def _last_active(revision: Object) -> float:
    try:
        return seconds_of(objects.annotations(revision)[ROUTING_SINCE])
    except (KeyError, ValueError):
        return objects.created(revision)


def _stale_at(seen: Seen, revision: Object) -> float | None:
    rules = seen.settings.retention
    times = []
    if rules.since_created_s is not None:
        times.append(objects.created(revision) + rules.since_created_s)
    if rules.since_active_s is not None:
        times.append(_last_active(revision) + rules.since_active_s)
    return max(times, default=None)
