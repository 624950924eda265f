"""Which waiting pods are a new Revision's, beside an older one that has slices, and whether that one may end for them;
and which wait beside a newer one.

Called by the planner's leader before it plans. The newest Revision of a Service alone counts, and only while older ones
hold slices. The annotation is read from the waiting pod, to which Knative copies its Revision's: what the older one's
template says is nothing to it. Without our gate the older one would end and whoever else waits might get the slice, so
then nobody ends.
"""

from knative_mig.core.cluster.waiting import is_gated
from knative_mig.core.inventory import Function, Succession
from knative_mig.core.mover.choose import Journal
from knative_mig.core.mover.seen import Seen, service_of


def superseded(seen: Seen) -> dict[Function, Function]:
    """Of those that wait, who is not the newest of its Service, and who is, where that waits too. A Revision that never
    gets Ready, and its cure, ask for the same slice: to the older one it would be given in vain.
    """
    found = {}
    for function in seen.pods.waiting:
        revision = seen.revisions.get(function)
        newest = seen.revisions.newest(service_of(revision)) if revision else None
        if newest and newest is not revision and newest.function in seen.pods.waiting:
            found[function] = newest.function
    return found


def successions(seen: Seen, journal: Journal, now: float) -> dict[Function, Succession]:
    under_way = journal.movers | journal.beneficiaries
    found = {}
    for function, pods in seen.pods.waiting.items():
        revision = seen.revisions.get(function)
        if revision is None or revision.ending or seen.revisions.newest(service_of(revision)) is not revision:
            continue
        holding = map(seen.revisions.get, seen.pods.holding(service_of(revision)))
        older = frozenset(each.function for each in holding if each and each.generation < revision.generation)
        if not older:
            continue
        chosen = all(pod.recreates and is_gated(pod) for pod in pods)
        rests = journal.resting.get(function, now) > now
        if chosen and not rests and function not in under_way and older - under_way:
            found[function] = Succession(older=older - under_way, recreates=True)
        else:
            found[function] = Succession(older=older)
    return found
