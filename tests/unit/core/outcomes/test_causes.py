"""Which events are the reason for a pod's slice, and whose pods wake the planner because of one."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.events import PendingRevision
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.outcomes.causes import BEFORE_POD_S, KEPT_S, Causes, named
from knative_mig.core.planner.decisions import Because, How, Reason, Step, Target
from knative_mig.core.profile import ProfileName
from tests.rigs.small_cluster import pod

NOW = 1_000.0


def event(revision: str = "llm-1", told_by: str = "event-1") -> PendingRevision:
    profile = ProfileName.parse("3g.20gb")
    return PendingRevision(
        namespace="team", revision=revision, profile=profile, count=1, revision_uid="rev-1", told_by=told_by
    )


def waiting(revision: str | None = "llm-1", created: float = NOW, profile: str = "3g.20gb") -> PodFacts:
    return replace(pod("a", profile, created=created), revision=revision)


@pytest.fixture
def causes() -> Causes:
    """Heard of one event just now."""
    made = Causes()
    made.hear(event(), NOW)
    return made


def test_the_pod_that_comes_after_its_event_wakes_the_planner_and_no_other_revisions_does(causes: Causes) -> None:
    assert causes.wakes(waiting(), NOW + 1)
    assert not causes.wakes(waiting("other-1"), NOW + 1)


def test_a_while_after_the_event_its_pods_wait_for_the_next_one_or_for_the_resync(causes: Causes) -> None:
    assert not causes.wakes(waiting(), NOW + BEFORE_POD_S + 1)
    causes.hear(event(told_by="event-2"), NOW + BEFORE_POD_S + 2)
    assert causes.wakes(waiting(), NOW + BEFORE_POD_S + 3)


def test_a_pod_without_a_revision_wakes_it_for_nobody_sends_events_for_one() -> None:
    assert Causes().wakes(waiting(None), NOW)


@pytest.mark.parametrize(
    "changed",
    [{"node": NodeName("n1")}, {"ends_at": NOW}, {"wants": {}}, {"gates": ("somebody/else",)}],
    ids=["on a node", "ending", "no slice", "held by another gate"],
)
def test_a_pod_that_does_not_wait_for_a_slice_wakes_nobody(causes: Causes, changed: dict[str, object]) -> None:
    for each in (waiting(), waiting(None)):
        assert not causes.wakes(replace(each, **changed), NOW)  # type: ignore[arg-type]  # one field of several kinds


def test_the_newest_event_is_the_cause(causes: Causes) -> None:
    causes.hear(event(told_by="event-2"), NOW + 2)
    assert causes.of(waiting()) == event(told_by="event-2")


def test_an_event_of_an_earlier_cold_start_is_not_the_cause_of_a_later_pod(causes: Causes) -> None:
    assert causes.of(waiting(created=NOW + BEFORE_POD_S)) is not None
    assert causes.of(waiting(created=NOW + BEFORE_POD_S + 1)) is None


def test_an_event_for_another_profile_is_not_the_cause(causes: Causes) -> None:
    assert causes.of(waiting(profile="1g.5gb")) is None


def test_what_a_revision_has_no_pods_for_has_its_cause_too(causes: Causes) -> None:
    wanted = (event().profile, NOW + BEFORE_POD_S)
    assert causes.asked_by(Function("team", "llm-1"), *wanted) == event()
    assert causes.asked_by(Function("team", "other-1"), *wanted) is None


def test_it_remembers_so_many_revisions_for_so_long() -> None:
    causes = Causes(most=3)
    for number in range(10):
        causes.hear(event(f"f-{number}"), NOW)
    assert len(causes) == 3
    assert causes.of(waiting("f-9")) is not None
    assert causes.of(waiting("f-6")) is None
    causes.hear(event("later-1"), NOW + KEPT_S + 1)
    assert len(causes) == 1


def test_the_events_id_is_among_the_reasons_of_what_was_decided() -> None:
    model = gpu_model("A100-40GB")
    profile = ProfileName.parse("3g.20gb")
    target = Target(gpu=GpuUuid("GPU-1"), node=NodeName("n1"), place=model.place(model.profile(profile), 4))
    why = Reason(Because.CHEAPEST_MERGE, "two idle slices make room")
    asked, plain = waiting(), replace(waiting("other-1"), uid="uid-b")
    steps = [
        Granted(
            step=Step(
                how=How.MERGE,
                function=each.function,
                profile=profile,
                target=target,
                reasons=(why,),
            ),
            pod=each,
            nodes=frozenset(),
        )
        for each in (asked, plain)
    ]
    causes = Causes()
    causes.hear(event(), NOW)
    decision = named(Decision(granted=tuple(steps), waiting=tuple(steps)), causes.of)
    for found in (decision.granted, decision.waiting):
        assert found[0].step.reasons == (why, Reason(Because.ASKED_BY_EVENT, "event 'event-1' asked for it"))
        assert found[1].step.reasons == (why,)


def test_an_event_is_named_by_the_whole_of_the_id_that_the_pending_source_gives_it() -> None:
    """Those of one revision differ at their ends: cut there, the name would be that of all of them."""
    longest = "3b741e5e-2602-4652-a9c1-1b3865896331/100/1g.10gb+me/10000/QuotaExceeded-1795906700-10000"
    model = gpu_model("A100-40GB")
    profile = ProfileName.parse("3g.20gb")
    target = Target(gpu=GpuUuid("GPU-1"), node=NodeName("n1"), place=model.place(model.profile(profile), 4))
    step = Step(how=How.CREATE, function=waiting().function, profile=profile, target=target)
    granted = Granted(step=step, pod=waiting(), nodes=frozenset())
    causes = Causes()
    causes.hear(event(told_by=longest), NOW)
    [found] = named(Decision(granted=(granted,)), causes.of).granted
    assert longest in found.step.reasons[0].text
