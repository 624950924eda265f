"""Which outcomes are due: what was read back is told once, and what was not is not claimed."""

from dataclasses import dataclass, field, replace

import pytest

from knative_mig.core.changes import Changes
from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import Unplanned
from knative_mig.core.events import MIGRATED, PROVISIONED, RELEASED, UNSATISFIABLE, PendingRevision
from knative_mig.core.gpu_node import GpuHealth, GpuNode, SliceId, SliceState
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.mover.values import Leg, Move, PodRef, Spot
from knative_mig.core.outcomes.nameless import Sign
from knative_mig.core.outcomes.outcome import Outcome
from knative_mig.core.outcomes.watch import STANDS_S, Watch
from knative_mig.core.planner.decisions import Because, How, Reason, Step, Target
from knative_mig.core.profile import ProfileName
from tests.rigs.small_cluster import gpu, gpu_node, key, pod

N1 = NodeName("n1")
BIG = "3g.20gb@4"


def event(revision: str = "llm-1", uid: str = "rev-llm-1", profile: str = "3g.20gb") -> PendingRevision:
    return PendingRevision(
        namespace="team",
        revision=revision,
        profile=ProfileName.parse(profile),
        count=1,
        revision_uid=uid,
        told_by="event-1",
    )


def of_llm(name: str = "a", *, on: str | None = "n1", created: float = 0.0) -> PodFacts:
    return pod(name, "3g.20gb", revision="llm-1", on=on, created=created)


@dataclass
class Story:
    """A leader's rounds. `nodes` is what the mirror shows in the next of them."""

    watch: Watch = field(default_factory=Watch)
    nodes: dict[NodeName, GpuNode] = field(default_factory=dict)
    pods: dict[tuple[str, str], PodFacts] = field(default_factory=dict)
    uids: dict[Function, str] = field(default_factory=lambda: {Function("team", "llm-1"): "rev-llm-1"})
    cause: PendingRevision | None = None
    now: float = 0.0
    looked_up: list[str] = field(default_factory=list)  # pods
    _shown: Changes[PodFacts] = field(default_factory=Changes)
    _shown_uids: dict[Function, str] = field(default_factory=dict)

    def shows(self, slices: dict[str, str | None], health: GpuHealth = GpuHealth.HEALTHY) -> None:
        self.nodes[N1] = gpu_node("n1", gpu("GPU-1", slices, health=health))

    def has(self, *pods: PodFacts) -> None:
        self.pods = {(each.namespace, each.name): each for each in pods}

    def round(self, decision: Decision | None = None) -> list[Outcome]:
        told = self.watch.take(decision or Decision(), self._uid, lambda _: self.cause, self.now)
        return [*told, *self.watch.see(self.nodes, self._come(), self._pod, self._uid)]

    def _come(self) -> list[Sign]:
        uids = [each for each, uid in self.uids.items() if self._shown_uids.get(each) != uid]
        self._shown_uids = dict(self.uids)
        return [*((each.namespace, each.name) for each in self._shown.take(self.pods).come), *uids]

    def _pod(self, namespace: str, name: str) -> PodFacts | None:
        self.looked_up.append(name)
        return self.pods.get((namespace, name))

    def _uid(self, function: Function) -> str:
        return self.uids.get(function, "")

    def lasting(self, decision: Decision) -> list[Outcome]:
        """A round, and one with the same decision when it has stood long enough to be told."""
        told = self.round(decision)
        self.now += STANDS_S
        return [*told, *self.round(decision)]

    def types(self, decision: Decision | None = None) -> list[str]:
        return [each.type for each in self.round(decision)]


@pytest.fixture
def story() -> Story:
    """A leader that has seen an idle slice, and a pod of a function."""
    made = Story()
    made.shows({BIG: None})
    made.has(of_llm())
    assert made.round() == []
    return made


def granted(who: PodFacts, at: str = BIG, how: How = How.MERGE) -> Decision:
    model = gpu_model("A100-40GB")
    place = model.place(model.profile(key(at).profile), key(at).start)
    target = Target(gpu=GpuUuid("GPU-1"), node=N1, place=place)
    reasons = (Reason(Because.CHEAPEST_MERGE, "two idle slices make room"),)
    step = Step(how=how, function=who.function, profile=key(at).profile, target=target, reasons=reasons)
    return Decision(granted=(Granted(step=step, pod=who, nodes=frozenset({N1})),))


def refused(*pods: PodFacts, code: Because = Because.NO_FREE_PLACE) -> Decision:
    reason = Reason(code, "all GPUs are busy")
    return Decision(refused=tuple(Unplanned(pod=each, reason=reason, helps=("a smaller profile",)) for each in pods))


# -- provisioned -------------------------------------------------------------------------------------------------------


def test_a_slice_is_provisioned_when_its_pod_is_read_back_on_it_and_not_when_it_is_planned_or_made(
    story: Story,
) -> None:
    story.cause = event()
    assert story.types(granted(of_llm(on=None))) == []
    story.shows({BIG: None})
    assert story.types() == []
    story.shows({BIG: "a"})
    (told,) = story.round()
    assert told.type == PROVISIONED
    assert told.id == "rev-llm-1/uid-a/GPU-1/3g.20gb/4/provisioned"
    assert told.spot == Spot(node=N1, slice=SliceId.parse("GPU-1/3g.20gb/4"))
    assert told.cause == event()
    assert told.data == {"pod": "a", "how": "merge", "reasons": ["two idle slices make room"]}
    assert "two idle slices make room" in told.text


def test_it_is_told_once_however_often_the_node_reports(story: Story) -> None:
    story.shows({BIG: "a"})
    assert story.types() == [PROVISIONED]
    story.shows({BIG: "a", "1g.5gb@0": None})
    assert story.types() == []
    assert story.types() == []


def test_what_was_planned_elsewhere_is_no_reason_for_the_slice_that_the_kubelet_gave(story: Story) -> None:
    story.round(granted(of_llm(on=None), at="3g.20gb@0"))
    story.shows({BIG: "a"})
    (told,) = story.round()
    assert told.data == {"pod": "a"}


def test_the_first_grant_of_a_slice_says_how_it_was_come_by(story: Story) -> None:
    story.round(granted(of_llm(on=None)))
    story.round(granted(of_llm(on=None), how=How.REUSE))
    story.shows({BIG: "a"})
    (told,) = story.round()
    assert told.data["how"] == "merge"


def test_an_event_about_a_revision_of_the_same_name_that_is_gone_has_caused_nothing(story: Story) -> None:
    story.cause = event(uid="of-the-one-before")
    story.round(granted(of_llm(on=None)))
    story.shows({BIG: "a"})
    (told,) = story.round()
    assert told.cause is None


def test_a_pod_that_the_mirror_does_not_show_yet_is_told_of_when_it_does(story: Story) -> None:
    story.has()
    story.shows({BIG: "a"})
    assert story.types() == []
    story.has(of_llm())
    assert story.types() == [PROVISIONED]


def test_a_namesake_on_another_node_is_not_taken_for_the_pod_that_holds_the_slice(story: Story) -> None:
    story.has(of_llm(on="n2"))
    story.shows({BIG: "a"})
    assert story.types() == []
    story.has(of_llm())
    assert story.types() == [PROVISIONED]


def test_a_revision_that_the_mirror_does_not_show_yet_is_waited_for(story: Story) -> None:
    story.uids.clear()
    story.shows({BIG: "a"})
    assert story.types() == []
    story.uids[Function("team", "other")] = "rev-other"
    assert story.types() == []
    story.uids[Function("team", "llm-1")] = "rev-llm-1"
    assert story.types() == [PROVISIONED]


def test_of_many_who_cannot_be_named_yet_those_alone_are_tried_again_of_which_something_came(story: Story) -> None:
    no_revision, no_pod = of_llm("a"), pod("c", "1g.5gb", revision="llm-1", on="n2")
    story.uids.clear()
    story.has(no_revision)
    story.shows({BIG: "a", "1g.5gb@0": "b"})
    story.nodes[NodeName("n2")] = gpu_node("n2", gpu("GPU-2", {"1g.5gb@0": "c"}))
    assert story.types() == []
    assert story.looked_up == ["a", "b", "c"]
    assert story.types() == []
    assert story.looked_up == ["a", "b", "c"]
    story.has(no_revision, no_pod)
    assert story.types() == []
    assert story.looked_up == ["a", "b", "c", "c"]


def test_nothing_is_kept_of_a_node_that_has_gone_with_a_holder_that_had_no_name(story: Story) -> None:
    story.has()
    story.shows({BIG: "a"})
    story.round()
    del story.nodes[N1]
    story.round()
    story.has(of_llm())
    assert story.types() == []


def test_a_pod_without_a_revision_is_nobodys_outcome(story: Story) -> None:
    story.has(replace(of_llm(), revision=None))
    story.shows({BIG: "a"})
    assert story.types() == []
    story.shows({BIG: None})
    assert story.types() == []


# -- released ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "then",
    [
        pytest.param({BIG: None}, id="idle"),
        pytest.param({"7g.40gb@0": None}, id="merged away"),
        pytest.param({BIG: "!Draining"}, id="draining"),
        pytest.param({BIG: "!Broken"}, id="broken"),
        pytest.param({BIG: "!Released:a"}, id="given back by its engine while its pod relays"),
    ],
)
def test_a_slice_is_released_once_when_it_is_read_without_its_pod(story: Story, then: dict[str, str | None]) -> None:
    story.cause = event()
    story.round(granted(of_llm(on=None)))
    story.shows({BIG: "a"})
    story.round()
    story.has()
    story.shows(then)
    (told,) = story.round()
    assert (told.type, told.id) == (RELEASED, "rev-llm-1/uid-a/GPU-1/3g.20gb/4/released")
    assert told.cause == event()
    story.shows({BIG: None})
    assert story.types() == []


@pytest.mark.parametrize("state", ["Released", "Draining", "Broken"])
def test_a_pod_that_is_on_a_slice_which_is_none_of_its_own_any_more_was_not_just_given_it(
    story: Story, state: str
) -> None:
    story.shows({BIG: f"!{state}:a"})
    assert story.types() == []


def test_a_pod_that_relays_on_after_its_slice_was_given_back_is_told_of_no_more(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    story.shows({BIG: "!Released:a"})
    assert story.types() == [RELEASED]
    story.shows({BIG: "!Released:a", "1g.5gb@0": None})
    assert story.types() == []
    story.has()
    story.shows({"4g.20gb@0": None})
    assert story.types() == []


def test_the_next_one_on_the_same_slice_is_told_after_the_one_that_left(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    story.has(of_llm("b"))
    story.shows({BIG: "b"})
    assert [(each.type, each.data["pod"]) for each in story.round()] == [(RELEASED, "a"), (PROVISIONED, "b")]


def test_of_a_gpu_that_cannot_be_read_nothing_is_claimed(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    for health in (GpuHealth.LOST, GpuHealth.UNREADABLE, GpuHealth.RESET_REQUIRED):
        story.shows({}, health)
        assert story.types() == []
    story.nodes[N1] = gpu_node("n1", gpu("GPU-2"))
    assert story.types() == []
    story.shows({BIG: "a"})
    assert story.types() == []


def test_of_a_slice_in_use_of_which_nobody_says_by_whom_nothing_is_claimed(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    there = gpu("GPU-1", {BIG: "a"})
    unknown = replace(there, slices=(replace(there.slices[0], state=SliceState.BUSY, holders=()),))
    story.nodes[N1] = gpu_node("n1", unknown)
    assert story.types() == []
    story.shows({BIG: "a"})
    assert story.types() == []


def test_a_node_that_is_gone_has_released_nothing_and_is_forgotten(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    del story.nodes[N1]
    assert story.types() == []
    story.shows({BIG: "a"})
    assert story.types() == []


# -- leaders -----------------------------------------------------------------------------------------------------------


def test_a_new_leader_is_silent_about_what_stands_and_tells_what_becomes_of_it() -> None:
    story = Story()
    story.shows({BIG: "a"})
    story.has(of_llm())
    assert story.types() == []
    story.has()
    story.shows({BIG: None})
    assert story.types() == [RELEASED]


def test_who_led_before_and_leads_again_begins_like_any_new_leader(story: Story) -> None:
    story.watch.begin()
    story.shows({BIG: "a"})
    assert story.types() == []


def test_two_leaders_tell_of_a_refusal_that_lasts_under_one_id() -> None:
    waits = of_llm(on=None)
    first, second = Story(), Story()
    (told,), (again,) = first.lasting(refused(waits)), second.lasting(refused(waits))
    assert told.id == again.id


# -- unsatisfiable -----------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_once_for_all_its_pods_with_what_bound_it_and_what_would_help(story: Story) -> None:
    old, new = of_llm("old", on=None, created=1.0), of_llm("new", on=None, created=2.0)
    (told,) = story.lasting(refused(new, old))
    assert told.type == UNSATISFIABLE
    assert told.is_bad
    assert told.id == "rev-llm-1/uid-old/3g.20gb/NoFreePlace/unsatisfiable"
    assert (told.reason, told.text) == ("NoFreePlace", "all GPUs are busy; what would help: a smaller profile")
    assert told.data == {"reason": "NoFreePlace", "helps": ["a smaller profile"], "pods": 2}
    assert story.lasting(refused(new, old)) == []
    assert story.lasting(refused(new)) == []


def test_a_refusal_that_is_over_as_soon_as_an_agent_has_answered_is_not_told(story: Story) -> None:
    waits = of_llm(on=None)
    assert story.types(refused(waits)) == []
    story.now += STANDS_S - 1
    assert story.types(refused(waits)) == []
    assert story.watch.due_in_s(story.now) == pytest.approx(1)
    assert story.types(granted(waits)) == []
    assert story.watch.due_in_s(story.now) is None
    story.now += 1
    assert story.types(refused(waits)) == []


def test_when_it_has_been_told_or_cannot_be_nothing_is_due(story: Story) -> None:
    assert story.lasting(refused(of_llm(on=None)))
    assert story.watch.due_in_s(story.now) is None
    assert story.lasting(refused(pod("x", "3g.20gb", revision="unknown-1"))) == []
    assert story.watch.due_in_s(story.now) is None


def test_another_reason_is_another_state(story: Story) -> None:
    waits = of_llm(on=None)
    for code in (Because.NO_FREE_PLACE, Because.QUOTA_EXCEEDED):
        (told,) = story.lasting(refused(waits, code=code))
        assert told.reason == str(code)


def test_who_is_refused_again_for_the_same_reason_is_not_told_again_but_another_pod_is(story: Story) -> None:
    waits = of_llm(on=None)
    assert story.lasting(refused(waits))
    story.round(granted(waits))
    assert story.lasting(refused(waits)) == []
    story.round()
    assert story.lasting(refused(of_llm("next", on=None)))


def test_who_waits_for_a_move_under_way_is_not_refused(story: Story) -> None:
    assert story.lasting(refused(of_llm(on=None), code=Because.MOVE_UNDER_WAY)) == []


def test_a_refusal_waits_for_its_revision_to_be_known(story: Story) -> None:
    story.uids.clear()
    assert story.lasting(refused(of_llm(on=None))) == []
    story.uids[Function("team", "llm-1")] = "rev-llm-1"
    assert story.types(refused(of_llm(on=None))) == [UNSATISFIABLE]


# -- migrated ----------------------------------------------------------------------------------------------------------


def moved() -> Move:
    leg = Leg(
        function=Function("team", "llm-1"),
        revision_uid="rev-llm-1",
        old=PodRef(name="old", uid="uid-old"),
        source=Spot(node=NodeName("n2"), slice=SliceId.parse("GPU-2/3g.20gb/0")),
        target=Spot(node=N1, slice=SliceId.parse("GPU-1/3g.20gb/4")),
    )
    return Move(
        beneficiary=PodRef(name="b", uid="uid-b"),
        function=Function("team", "big-1"),
        place=leg.source,
        legs=(leg,),
        began=0.0,
    )


def test_a_function_has_migrated_when_it_is_read_back_on_the_slice_that_it_was_to_move_to(story: Story) -> None:
    story.shows({BIG: "a"})
    story.round()
    (told,) = story.watch.migrated(moved())
    assert (told.type, told.id) == (MIGRATED, "rev-llm-1/uid-old/GPU-1/3g.20gb/4/migrated")
    assert (told.data["pod"], told.data["oldPod"]) == ("a", "old")


def test_who_made_room_by_going_has_not_migrated(story: Story) -> None:
    assert story.watch.migrated(moved()) == []


def test_who_went_to_another_slice_has_not_migrated_to_the_one_that_was_meant(story: Story) -> None:
    story.shows({"3g.20gb@0": "a"})
    story.round()
    assert story.watch.migrated(moved()) == []


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_by_the_cluster_and_by_a_number() -> None:
    story = Story(watch=Watch(most=3))
    story.uids = {Function("team", f"f-{number}"): f"rev-{number}" for number in range(50)}
    waiting = [pod(f"p-{number}", "3g.20gb", revision=f"f-{number}") for number in range(50)]
    for each in waiting:
        story.round(granted(each))
        story.lasting(refused(each))
    assert sizes(story.watch) == {"grants": 3, "refused": 3, "standing": 1}


def sizes(watch: Watch) -> dict[str, int]:
    return {"grants": len(watch._grants), "refused": len(watch._refused), "standing": len(watch._standing)}
