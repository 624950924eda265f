"""Which waiting pods are a new Revision's, beside an older one that has slices, and whether that one may end for them.

Called by the planner's leader before it plans. The newest Revision of a Service alone counts, and only while older ones
hold slices. The annotation is read from the waiting pod, to which Knative copies its Revision's: what the older one's
template says is nothing to it. Without our gate an older one would end and its own replacement might get the slice, so
then nobody ends.
"""

from collections.abc import Collection, Iterable
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import is_gated, is_waiting
from knative_mig.core.floor.values import Revision
from knative_mig.core.inventory import Function, Succession
from knative_mig.core.mover.choose import Journal, Seen

_Service = tuple[str, str]  # namespace and name


def successions(seen: Seen, journal: Journal, now: float) -> dict[Function, Succession]:
    waiting: dict[Function, list[PodFacts]] = {}
    for pod in seen.pods.values():
        if pod.service and is_waiting(pod) and pod.function in seen.revisions:
            waiting.setdefault(pod.function, []).append(pod)
    if not waiting:
        return {}
    services = {_service(seen.revisions[function]) for function in waiting}
    newest = _newest(seen.revisions.values(), services)
    holding = _holding(seen.pods.values(), services)
    under_way = journal.movers | journal.beneficiaries
    found = {}
    for function, pods in waiting.items():
        revision = seen.revisions[function]
        if newest[_service(revision)] is not revision or revision.ending:
            continue
        older = frozenset(
            each
            for each in holding.get(_service(revision), ())
            if each in seen.revisions and seen.revisions[each].generation < revision.generation
        )
        if not older:
            continue
        chosen = all(pod.recreates and is_gated(pod) for pod in pods)
        rests = journal.resting.get(function, now) > now
        if chosen and not rests and function not in under_way and older - under_way:
            found[function] = Succession(older=older - under_way, recreates=True)
        else:
            found[function] = Succession(older=older)
    return found


_NONE: Final = Revision(namespace="", name="", uid="", generation=-1)


def _service(revision: Revision) -> _Service:
    return revision.namespace, revision.service


def _newest(revisions: Iterable[Revision], services: Collection[_Service]) -> dict[_Service, Revision]:
    newest: dict[_Service, Revision] = {}
    for each in revisions:
        service = _service(each)
        if service in services and each.generation > newest.get(service, _NONE).generation:
            newest[service] = each
    return newest


def _holding(pods: Iterable[PodFacts], services: Collection[_Service]) -> dict[_Service, set[Function]]:
    """Functions with a pod that has a slice and is to keep it."""
    found: dict[_Service, set[Function]] = {}
    for pod in pods:
        service = (pod.namespace, pod.service or "")
        if service in services and pod.wants and pod.node and pod.ends_at is None and not pod.over:
            found.setdefault(service, set()).add(pod.function)
    return found
