"""What is kept of revisions, PodAutoscalers and pods: whose demand a change touches, and that nothing stays behind."""

from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Replica, RevisionFacts, Scale, Stand
from knative_mig.core.pending.known import Known
from knative_mig.core.profile import ProfileName

ONE, OTHER = Function("team", "one-00001"), Function("team", "other-00001")
FACTS = RevisionFacts(uid="u", profile=ProfileName.parse("1g.5gb"))


def count(known: Known, function: Function = ONE) -> int:
    found = known.demand(function)
    return found.count if found else 0


def test_whatever_comes_first_the_demand_is_the_same_in_the_end() -> None:
    known = Known()
    assert known.put_pod(("team", "p"), Replica(ONE, Stand.WAITING, 1.0)) == (ONE,)
    assert count(known) == 0
    known.put_scale(ONE, Scale(generation=1, desired=2, told_at=1.0))
    assert count(known) == 0
    known.put_revision(ONE, FACTS)
    assert count(known) == 2
    assert list(known) == [ONE]


def test_a_pod_that_changes_its_revision_touches_both() -> None:
    known = Known()
    for function in (ONE, OTHER):
        known.put_revision(function, FACTS)
    known.put_pod(("team", "p"), Replica(ONE, Stand.WAITING, 1.0))
    assert known.put_pod(("team", "p"), Replica(OTHER, Stand.WAITING, 1.0)) == (ONE, OTHER)
    assert (count(known, ONE), count(known, OTHER)) == (0, 1)


def test_pods_of_one_name_in_two_namespaces_are_two() -> None:
    known = Known()
    known.put_revision(ONE, FACTS)
    known.put_pod(("team", "p"), Replica(ONE, Stand.WAITING, 1.0))
    known.put_pod(("others", "p"), Replica(Function("others", "one-00001"), Stand.WAITING, 1.0))
    assert count(known) == 1


def test_what_goes_leaves_nothing_behind() -> None:
    known = Known()
    known.put_revision(ONE, FACTS)
    known.put_scale(ONE, Scale(generation=1, desired=1, told_at=1.0))
    known.put_pod(("team", "p"), Replica(ONE, Stand.BOUND, 1.0))
    assert len(known) == 3
    assert known.put_pod(("team", "p"), None) == (ONE,)
    assert known.put_pod(("team", "never-seen"), None) == ()
    known.put_scale(ONE, None)
    known.put_revision(ONE, None)
    known.put_revision(OTHER, None)
    assert len(known) == 0
    assert list(known) == []
    assert known.demand(ONE) is None
