"""The next action for one GPU, as a story a rule."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from knative_mig.core.agent.layout_change import (
    BackOff,
    Create,
    Decision,
    Destroy,
    EndRelease,
    Facts,
    FinishHalfMade,
    NoteLowered,
    RemoveHalfMade,
    Restore,
    Settled,
    Wait,
    Withdraw,
    back_off,
    next_action,
)
from knative_mig.core.agent.readings import (
    DeviceId,
    GpuReading,
    KubeletReading,
    KubeletView,
    Mark,
    NodeReading,
    Release,
    SeenForeign,
    SeenSlice,
)
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import GpuHealth, Holder, Layout, SliceId, SliceKey, WantedGpu, WantedSlice
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

MODEL = gpu_model("A100-40GB")
A = GpuUuid("GPU-a")
NOW = 100.0
POD = Holder(namespace="default", pod="chat-1", container="user-container")


def key(words: str) -> SliceKey:
    profile, _, start = words.partition("@")
    return SliceKey(profile=ProfileName.parse(profile), start=int(start))


def sid(words: str, gpu: GpuUuid = A) -> SliceId:
    return SliceId(gpu=gpu, profile=key(words).profile, start=key(words).start)


def place(words: str) -> Place:
    return MODEL.place(MODEL.profile(key(words).profile), key(words).start)


def seen(words: str) -> SeenSlice:
    """`3g.20gb@4`, `3g.20gb@4 half`, `3g.20gb@4 pid 7` or `3g.20gb@4 blind`."""
    name, _, state = words.partition(" ")
    pids: tuple[int, ...] | None = (int(state.split()[1]),) if state.startswith("pid") else ()
    whole = state != "half"
    return SeenSlice(
        place=place(name),
        gi_id=key(name).start + 1,
        ci_id=0 if whole else None,
        mig_uuid=f"MIG-{name}" if whole else None,
        pids=None if state == "blind" else pids,
    )


def gpu(*slices: str) -> GpuReading:
    return GpuReading(uuid=A, read_at=NOW, product="A100", model=MODEL, slices=tuple(map(seen, slices)))


def wanted(*slices: str, size: int | None = None) -> WantedGpu:
    return WantedGpu(
        uuid=A,
        slices=tuple(
            WantedSlice(
                profile=key(each).profile,
                start=key(each).start,
                size=size or (MODEL.profile(key(each).profile).memory_units if MODEL.has(key(each).profile) else 1),
            )
            for each in slices
        ),
    )


def kubelet(*allocatable: str, held: tuple[str, ...] = (), asked_at: float = NOW - 1) -> KubeletReading:
    view = KubeletView(
        holders={DeviceId(str(sid(each))): (POD,) for each in held},
        allocatable=frozenset(DeviceId(str(sid(each))) for each in allocatable),
    )
    return KubeletReading(view=view, asked_at=asked_at)


def node(asked_at: float = NOW - 1, **counts: int) -> NodeReading:
    return NodeReading(
        allocatable={ProfileName.parse(f"{name[1:]}gb".replace("_", ".")): n for name, n in counts.items()},
        asked_at=asked_at,
    )


def facts(**said: object) -> Facts:
    base = Facts(kubelet=kubelet(), node=node())
    return replace(base, **said)  # type: ignore[arg-type]


def decide(reading: GpuReading, want: WantedGpu | None, known: Facts | None = None) -> Decision:
    return next_action(reading, want, known or facts(), NOW)


class TestNothingToDo:
    def test_a_gpu_as_wanted_is_settled(self) -> None:
        assert decide(gpu("3g.20gb@4"), wanted("3g.20gb@4")) == Decision(action=Settled())

    def test_a_gpu_that_the_spec_does_not_name_stays_as_it_is(self) -> None:
        assert decide(gpu("3g.20gb@4", "1g.5gb@0 half"), None).action == Settled()

    def test_a_static_node_is_never_changed(self) -> None:
        assert decide(gpu("3g.20gb@4"), wanted("7g.40gb@0"), facts(layout=Layout.STATIC)).action == Settled()

    @pytest.mark.parametrize("layout", list(Layout))
    def test_what_was_begun_is_given_up_when_nothing_is_wanted_any_more(self, layout: Layout) -> None:
        known = facts(layout=layout, marks={sid("3g.20gb@4"): Mark(withdrawn_since=1.0)})
        assert isinstance(decide(gpu("3g.20gb@4"), None, known).action, Restore)

    @pytest.mark.parametrize("health", [each for each in GpuHealth if each is not GpuHealth.HEALTHY])
    def test_a_gpu_that_is_not_healthy_is_waited_for(self, health: GpuHealth) -> None:
        reading = replace(gpu("3g.20gb@4"), health=health, why="of XID 79")
        decision = decide(reading, wanted("7g.40gb@0"))
        assert decision.action == Wait(until=None, why=f"GPU-a is {health}: of XID 79")
        assert [each.reason for each in decision.complaints] == ["GpuUnusable"]

    def test_a_gpu_that_was_never_read_is_waited_for(self) -> None:
        assert isinstance(decide(GpuReading(uuid=A, read_at=0.0), wanted("7g.40gb@0")).action, Wait)


class TestMaking:
    def test_a_free_place_is_taken(self) -> None:
        action = decide(gpu("3g.20gb@4"), wanted("3g.20gb@4", "2g.10gb@0")).action
        assert isinstance(action, Create)
        assert action.place == place("2g.10gb@0")

    def test_what_can_be_made_does_not_wait_for_a_drain_elsewhere(self) -> None:
        known = facts(kubelet=kubelet("3g.20gb@4", held=()), marks={sid("3g.20gb@4"): Mark(withdrawn_since=NOW - 0.5)})
        action = decide(gpu("3g.20gb@4"), wanted("1g.5gb@0", "2g.10gb@4"), known).action
        assert isinstance(action, Create)
        assert action.place == place("1g.5gb@0")

    def test_a_slice_goes_on_its_way_out_before_anything_slow_is_done(self) -> None:
        action = decide(gpu("3g.20gb@4"), wanted("1g.5gb@0", "2g.10gb@4")).action
        assert isinstance(action, Withdraw)
        assert action.slice_id == sid("3g.20gb@4")

    def test_a_half_made_slice_that_is_wanted_is_finished(self) -> None:
        assert isinstance(decide(gpu("3g.20gb@4 half"), wanted("3g.20gb@4")).action, FinishHalfMade)

    def test_a_half_made_slice_that_is_not_wanted_is_removed(self) -> None:
        assert isinstance(decide(gpu("3g.20gb@4 half"), wanted()).action, RemoveHalfMade)

    def test_a_refused_place_is_left_alone_for_a_while_and_told(self) -> None:
        refused = BackOff(failures=1, until=NOW + 5, reason="InsufficientResources", why="something is in the way")
        decision = decide(gpu(), wanted("3g.20gb@4"), facts(back_offs={key("3g.20gb@4"): refused}))
        assert decision.action == Wait(until=NOW + 5, why="GPU-a/3g.20gb/4: something is in the way")
        assert [each.reason for each in decision.complaints] == ["InsufficientResources"]

    def test_a_refusal_ends(self) -> None:
        refused = BackOff(failures=1, until=NOW, reason="InsufficientResources", why="")
        assert isinstance(
            decide(gpu(), wanted("3g.20gb@4"), facts(back_offs={key("3g.20gb@4"): refused})).action, Create
        )


class TestWhatTheSpecGotWrong:
    @pytest.mark.parametrize(
        ("asked", "reason", "says"),
        [
            ("9g.90gb@0", "IllegalPlacement", "9g.90gb is not a profile of A100-40GB"),
            ("3g.20gb@2", "IllegalPlacement", "3g.20gb cannot start at 2 on A100-40GB: legal starts are 0, 4"),
            ("2g.10gb@4", "Overlap", "GPU-a: 2g.10gb@4 overlaps 3g.20gb@4, which the spec wants too"),
            ("3g.20gb@4", "Overlap", "GPU-a: 3g.20gb@4 overlaps 3g.20gb@4, which the spec wants too"),
        ],
        ids=["profile", "start", "overlap", "twice"],
    )
    def test_is_told_and_the_rest_is_done(self, asked: str, reason: str, says: str) -> None:
        decision = decide(gpu("3g.20gb@4"), wanted("3g.20gb@4", asked, "1g.5gb@0"))
        assert isinstance(decision.action, Create)
        assert [(each.reason, says in each.message) for each in decision.complaints] == [(reason, True)]

    def test_a_size_that_is_not_the_profiles_is_refused(self) -> None:
        decision = decide(gpu(), wanted("3g.20gb@4", size=3))
        assert decision.action == Settled()
        assert decision.complaints[0].message == "GPU-a: 3g.20gb@4 takes 4 memory units, the spec says 3"

    def test_what_was_not_made_here_is_never_in_the_plan(self) -> None:
        foreign = SeenForeign(gi_id=9, start=5, size=1, why="cut into several compute instances")
        decision = decide(replace(gpu(), foreign=(foreign,)), wanted("3g.20gb@4", "1g.5gb@6"))
        assert isinstance(decision.action, Create)
        assert decision.action.place == place("1g.5gb@6")
        assert decision.complaints[0].reason == "ForeignInTheWay"


class TestBusySlices:
    @pytest.mark.parametrize(
        ("reading", "held", "who"),
        [("3g.20gb@4", ("3g.20gb@4",), "default/chat-1"), ("3g.20gb@4 pid 7", (), "pid 7")],
        ids=["a container", "a process"],
    )
    def test_are_not_even_withdrawn(self, reading: str, held: tuple[str, ...], who: str) -> None:
        known = facts(kubelet=kubelet("3g.20gb@4", held=held))
        decision = decide(gpu(reading), wanted("2g.10gb@4"), known)
        assert decision.action == Settled() or isinstance(decision.action, Wait)
        (complaint,) = decision.complaints
        assert complaint.reason == "PlaceBusy"
        assert complaint.message == f"GPU-a/3g.20gb/4 stays, so 2g.10gb@4 cannot be made: {who} has it"

    def test_that_were_withdrawn_are_given_back(self) -> None:
        known = facts(
            kubelet=kubelet(held=("3g.20gb@4",)), marks={sid("3g.20gb@4"): Mark(withdrawn_since=1.0, lowered_at=2.0)}
        )
        assert isinstance(decide(gpu("3g.20gb@4"), wanted(), known).action, Restore)

    def test_one_that_was_handed_out_a_moment_ago_is_waited_for(self) -> None:
        known = facts(marks={sid("3g.20gb@4"): Mark(handed_out_at=NOW - 1)})
        action = decide(gpu("3g.20gb@4"), wanted(), known).action
        assert isinstance(action, Wait)
        assert action.until == NOW + 1


class TestTwoPhases:
    """A slice that is not wanted, from the moment it was withdrawn at 90."""

    def after(self, **said: object) -> object:
        mark = Mark(withdrawn_since=90.0, lowered_at=92.0)
        known: dict[str, object] = {
            "kubelet": kubelet("2g.10gb@0", asked_at=93.0),
            "node": node(91.0, _2g_10=1),
            "marks": {sid("3g.20gb@4"): mark},
        }
        return decide(gpu("3g.20gb@4"), wanted(), facts(**{**known, **said})).action

    def waits(self, why: str, **said: object) -> bool:
        return self.after(**said) == Wait(until=None, why=f"GPU-a/3g.20gb/4: {why}")

    def test_when_all_is_seen_it_goes(self) -> None:
        action = self.after()
        assert isinstance(action, Destroy)
        assert action.seen == seen("3g.20gb@4")

    def test_not_while_the_kubelet_still_believes_it_healthy(self) -> None:
        assert self.waits("the kubelet still offers it", kubelet=kubelet("3g.20gb@4", asked_at=93.0))

    def test_not_by_a_view_of_before_it_was_withdrawn(self) -> None:
        assert self.waits("the kubelet still offers it", kubelet=kubelet(asked_at=89.0))

    def test_not_while_the_kubelet_is_away(self) -> None:
        assert self.waits("the kubelet does not answer", kubelet=None)

    def test_not_while_the_nodes_status_counts_it(self) -> None:
        assert self.waits("the node's status still offers it", node=node(91.0, _3g_20=1))

    @pytest.mark.parametrize("said", [None, node(89.0)], ids=["unread", "read before"])
    def test_not_by_a_status_of_before_it_was_withdrawn(self, said: NodeReading | None) -> None:
        assert self.waits("the node's status still offers it", node=said)

    def test_another_gpus_slices_of_the_profile_count_for_the_node(self) -> None:
        other = DeviceId(str(sid("3g.20gb@4", GpuUuid("GPU-b"))))
        reading = KubeletReading(view=KubeletView(allocatable=frozenset({other})), asked_at=93.0)
        assert isinstance(self.after(kubelet=reading, node=node(91.0, _3g_20=1)), Destroy)

    def test_that_it_is_offered_no_more_is_noted_first(self) -> None:
        noted = self.after(marks={sid("3g.20gb@4"): Mark(withdrawn_since=90.0)})
        assert noted == NoteLowered(slice_id=sid("3g.20gb@4"), at=93.0)

    def test_who_holds_it_is_asked_once_more_after_that(self) -> None:
        assert self.waits("the kubelet is to be asked once more who holds it", kubelet=kubelet(asked_at=92.0))

    def test_not_when_its_processes_cannot_be_listed(self) -> None:
        known = facts(
            kubelet=kubelet(asked_at=93.0),
            node=node(91.0),
            marks={sid("3g.20gb@4"): Mark(withdrawn_since=90.0, lowered_at=92.0)},
        )
        action = decide(gpu("3g.20gb@4 blind"), wanted(), known).action
        assert action == Wait(until=None, why="GPU-a/3g.20gb/4: its processes cannot be listed")

    def test_an_empty_list_of_processes_may_be_blindness_until_one_was_seen(self) -> None:
        held = Mark(withdrawn_since=90.0, lowered_at=92.0, held_before=True)
        blind = self.after(processes_verified=False, marks={sid("3g.20gb@4"): held})
        assert isinstance(blind, Wait)
        assert "may be blindness" in blind.why
        assert isinstance(self.after(processes_verified=False), Destroy)  # nobody ever had it
        assert isinstance(self.after(marks={sid("3g.20gb@4"): held}), Destroy)

    def test_without_a_journal_it_is_given_back_as_nobody_knows_for_how_long(self) -> None:
        back = Restore(slice_id=sid("3g.20gb@4"), why="the journal cannot be written")
        assert self.after(journal_writable=False) == back
        withdrawn = {sid("3g.20gb@4"): Mark(withdrawn_since=90.0)}
        assert self.after(journal_writable=False, marks=withdrawn) == back

    def test_without_a_journal_a_broken_one_is_not_given_back(self) -> None:
        broken = {sid("3g.20gb@4"): Mark(withdrawn_since=90.0, lowered_at=92.0, broken="XID 94")}
        waits = Wait(until=None, why="the journal cannot be written")
        assert self.after(journal_writable=False, marks=broken) == waits

    def test_the_driver_had_the_last_word_and_it_is_given_back(self) -> None:
        refused = BackOff(failures=1, until=NOW + 1, reason="SliceInUse", why="it is held")
        assert self.after(back_offs={key("3g.20gb@4"): refused}) == Restore(slice_id=sid("3g.20gb@4"), why="it is held")

    def test_a_place_that_is_wanted_is_cleared_first(self) -> None:
        gone = Mark(withdrawn_since=90.0, lowered_at=92.0)
        known = facts(
            kubelet=kubelet(asked_at=93.0),
            node=node(91.0),
            marks={sid("1g.5gb@0"): gone, sid("3g.20gb@4"): gone},
        )
        action = decide(gpu("1g.5gb@0", "3g.20gb@4"), wanted("2g.10gb@4"), known).action
        assert isinstance(action, Destroy)
        assert action.seen.place == place("3g.20gb@4")

    def test_it_is_not_withdrawn_while_the_kubelet_is_away_or_the_journal_full(self) -> None:
        for known in (facts(kubelet=None), facts(journal_writable=False)):
            assert isinstance(decide(gpu("3g.20gb@4"), wanted(), known).action, Wait)


class TestReleased:
    """A pod whose engine has gone holds the id of 3g.20gb@4 still."""

    MARKS: Mapping[SliceId, Mark] = {sid("3g.20gb@4"): Mark(release=Release(since=90.0, mig_uuid="MIG-3g.20gb@4"))}
    HELD = kubelet("3g.20gb@4", held=("3g.20gb@4",), asked_at=95.0)

    def test_another_profile_takes_its_place_at_once(self) -> None:
        known = facts(kubelet=self.HELD, marks=self.MARKS)
        action = decide(gpu("3g.20gb@4"), wanted("2g.10gb@4"), known).action
        assert isinstance(action, Destroy)
        action = decide(gpu(), wanted("2g.10gb@4"), known).action
        assert isinstance(action, Create)

    def test_not_while_a_process_is_on_it(self) -> None:
        known = facts(kubelet=self.HELD, marks=self.MARKS)
        assert isinstance(decide(gpu("3g.20gb@4 pid 7"), wanted("2g.10gb@4"), known).action, EndRelease)

    def test_the_same_identity_is_not_made_again_until_the_kubelet_has_dropped_the_pod(self) -> None:
        known = facts(kubelet=self.HELD, marks=self.MARKS)
        assert isinstance(decide(gpu(), wanted("3g.20gb@4"), known).action, Wait)

        dropped = replace(known, kubelet=kubelet("3g.20gb@4", asked_at=96.0))
        assert isinstance(decide(gpu(), wanted("3g.20gb@4"), dropped).action, EndRelease)
        assert isinstance(decide(gpu(), wanted("3g.20gb@4"), replace(dropped, marks={})).action, Create)

    def test_it_ends_also_on_a_gpu_of_which_nothing_is_wanted_any_more(self) -> None:
        known = facts(kubelet=kubelet(asked_at=96.0), marks=self.MARKS)
        assert isinstance(decide(gpu("3g.20gb@4"), None, known).action, EndRelease)

    def test_processes_that_were_seen_before_the_release_have_not_come_back(self) -> None:
        known = facts(kubelet=self.HELD, marks=self.MARKS)
        before = replace(gpu("3g.20gb@4 pid 7"), read_at=89.0)
        assert not isinstance(decide(before, wanted("2g.10gb@4"), known).action, EndRelease | Destroy)

    def test_a_kubelet_that_was_asked_before_the_release_has_dropped_nothing(self) -> None:
        known = facts(kubelet=kubelet("3g.20gb@4", asked_at=89.0), marks=self.MARKS)
        assert isinstance(decide(gpu(), wanted("3g.20gb@4"), known).action, Wait)

    def test_one_that_is_still_wanted_stays_for_the_next_pod(self) -> None:
        known = facts(kubelet=self.HELD, marks=self.MARKS)
        assert decide(gpu("3g.20gb@4"), wanted("3g.20gb@4"), known).action == Settled()

    def test_another_slice_at_its_place_is_not_the_one_that_was_released(self) -> None:
        successor = replace(gpu("3g.20gb@4"), slices=(replace(seen("3g.20gb@4"), mig_uuid="MIG-new"),))
        action = decide(successor, wanted(), facts(kubelet=self.HELD, marks=self.MARKS)).action
        assert not isinstance(action, Destroy)


class TestBroken:
    MARKS: Mapping[SliceId, Mark] = {sid("3g.20gb@4"): Mark(broken="XID 94")}

    def test_a_broken_slice_that_is_wanted_goes_its_way_out_to_be_made_anew(self) -> None:
        action = decide(gpu("3g.20gb@4"), wanted("3g.20gb@4"), facts(marks=self.MARKS)).action
        assert action == Withdraw(slice_id=sid("3g.20gb@4"), why="it is to be made anew: XID 94")

    def test_its_pod_is_waited_for(self) -> None:
        known = facts(marks=self.MARKS, kubelet=kubelet(held=("3g.20gb@4",)))
        decision = decide(gpu("3g.20gb@4"), wanted("3g.20gb@4"), known)
        assert not isinstance(decision.action, Withdraw | Destroy)
        assert decision.complaints[0].reason == "PlaceBusy"


def test_a_refusal_is_waited_out_for_longer_each_time_and_a_minute_at_most() -> None:
    waits: list[float] = []
    last: BackOff | None = None
    for _ in range(9):
        last = back_off(last, NOW, "SliceInUse", "held")
        waits.append(last.until - NOW)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
