"""Which events are sent when, over virtual time, as a sink takes them, is away, or will have none of it."""

import gc
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from types import FrameType

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.events import Delivered, Delivery, PendingRevision
from knative_mig.core.inventory import Function
from knative_mig.core.pending.asks import Ask, Asks, Rhythm
from knative_mig.core.pending.demand import Cause, Demand, Replica, RevisionFacts, Scale, Stand
from knative_mig.core.pending.event import event_of, id_of
from knative_mig.core.pending.known import Known
from knative_mig.core.profile import ProfileName

BIG = ProfileName.parse("3g.20gb")
TINY = Function("team", "tiny-00001")
TAKEN = Delivery(outcome=Delivered.TAKEN)
FAILED = Delivery(outcome=Delivered.FAILED, reason="away")
REFUSED = Delivery(outcome=Delivered.REFUSED, reason="400")


def want(count: int, function: Function = TINY, *, since: float = 500.0, generation: int = 1) -> Demand:
    return Demand(
        function=function,
        uid=f"uid-{function.name}",
        generation=generation,
        profile=BIG,
        count=count,
        cause=Cause.NO_SLICE,
        why="",
        since=since,
    )


@dataclass
class Source:
    """Asks, a clock, and a sink that answers as the test says."""

    at: float = 0.0
    answer: Delivery = TAKEN
    answers: dict[Function, Delivery] = field(default_factory=dict)
    rhythm: Rhythm = field(default_factory=Rhythm)
    sent: list[tuple[float, str, int, int]] = field(default_factory=list)  # when, of whom, how many, which attempt
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asks = Asks(self.rhythm)

    def see(self, demand: Demand | None, function: Function = TINY) -> None:
        self.asks.see(function if demand is None else demand.function, demand, self.at)
        self.settle()

    def settle(self) -> None:
        while (ask := self.asks.next(self.at)) is not None:
            self.send(ask)

    def send(self, ask: Ask) -> None:
        name = ask.demand.function.name
        self.sent.append((round(self.at, 3), name, ask.demand.count, ask.attempt))
        self.ids.append(id_of(ask))
        self.asks.answered(ask, self.answers.get(ask.demand.function, self.answer), self.at)

    def until(self, at: float) -> None:
        """Wakes when it said that it would, and never without having something to do."""
        while (wait_s := self.asks.wait_s(self.at)) is not None and self.at + wait_s <= at:
            self.at += wait_s
            before = len(self.sent)
            self.settle()
            assert len(self.sent) > before
        self.at = at

    def take_sent(self) -> list[tuple[float, str, int, int]]:
        sent, self.sent = self.sent, []
        return sent


def times(source: Source) -> list[float]:
    return [each[0] for each in source.take_sent()]


class TestWhenAllIsWell:
    def test_a_revision_that_wants_more_is_told_of_at_once_and_again_ever_more_rarely(self) -> None:
        source = Source()
        source.see(want(1))
        source.until(1000.0)
        assert times(source) == [0.0, 2.0, 6.0, 14.0, 30.0, 62.0, 126.0, 254.0, 510.0, 810.0]
        assert [each.rpartition("-")[2] for each in source.ids] == [str(number) for number in range(10)]

    def test_a_state_that_does_not_change_is_no_news_however_often_it_is_seen(self) -> None:
        source = Source()
        for _ in range(100):
            source.see(want(1, since=source.at))
            source.at += 0.01
        assert times(source) == [0.0]

    def test_when_the_slice_has_come_nothing_is_sent_any_more(self) -> None:
        source = Source()
        source.see(want(1))
        source.at = 1.0
        source.see(None)
        source.until(10_000.0)
        assert times(source) == [0.0]
        assert source.asks.wait_s(source.at) is None

    def test_from_one_to_three_is_told_at_once_and_each_slice_that_comes_puts_off_the_next_word(self) -> None:
        source = Source()
        source.see(want(2))
        source.at = 1.5
        source.see(want(1))
        source.until(3.0)
        assert source.take_sent() == [(0.0, "tiny-00001", 2, 0)]
        source.until(3.5)
        assert source.take_sent() == [(3.5, "tiny-00001", 1, 1)]

    def test_more_of_it_is_told_at_once_in_the_middle_of_a_pause(self) -> None:
        source = Source()
        source.see(want(1))
        source.until(100.0)
        source.take_sent()
        source.see(want(2, since=600.0))
        assert source.take_sent() == [(100.0, "tiny-00001", 2, 0)]

    def test_the_next_cold_start_is_another_event_though_all_but_its_time_is_alike(self) -> None:
        source = Source()
        source.see(want(1, since=500.0))
        source.see(None)
        source.at = 60.0
        source.see(want(1, since=560.0))
        assert times(source) == [0.0, 60.0]
        assert len(set(source.ids)) == 2

    def test_a_state_that_comes_back_before_the_api_server_notes_anything_is_not_taken_for_the_former(self) -> None:
        source = Source()
        for demand in (want(1), None, want(1), want(2), want(1), want(2)):
            source.see(demand)
            source.at += 0.1
        source.until(3.0)
        assert [each.rpartition("-")[2] for each in source.ids] == ["0", "1", "2", "3", "4"]
        source.asks.forget(TINY)
        source.see(want(1))
        assert source.ids[-1].endswith("-0")

    def test_two_copies_of_the_source_send_the_same_events(self) -> None:
        one, other = Source(), Source(at=7000.0)  # their clocks have nothing to do with each other
        for source in (one, other):
            source.see(want(2))
            source.until(source.at + 8)
            source.see(want(3, since=508.0))
            source.until(source.at + 1)
            source.see(want(1, since=509.0))
            source.until(source.at + 20)
        assert one.ids == other.ids
        assert len(set(one.ids)) == len(one.ids)


class TestWhatNobodyWasTold:
    @pytest.mark.parametrize("later", [want(2, generation=2), want(1), want(1, generation=2)])
    def test_is_news_though_it_is_less_or_only_of_another_generation(self, later: Demand) -> None:
        asks = Asks()
        asks.see(TINY, want(2), 0.0)  # and no sender was free
        asks.see(TINY, later, 0.01)
        ask = asks.next(0.02)
        assert ask is not None
        assert ask.demand is later

    @pytest.mark.parametrize("later", [want(2, generation=2), want(1)])
    def test_is_sent_as_soon_as_a_sink_that_failed_is_tried_again(self, later: Demand) -> None:
        source = Source(answer=FAILED)
        source.see(want(2))
        source.answer, source.at = TAKEN, 0.05
        source.see(later)
        source.until(0.2)
        assert source.take_sent() == [(0.0, "tiny-00001", 2, 0), (0.1, "tiny-00001", later.count, 1)]

    def test_is_told_in_the_end_though_its_generation_changes_all_the_time(self) -> None:
        asks = Asks()
        for generation in range(40):
            asks.see(TINY, want(1, generation=generation), 1.5 * generation)  # and no sender was free
            assert asks.wait_s(1.5 * generation) == 0.0

    def test_covers_nothing_until_it_is_taken_and_all_that_is_no_more_from_then_on(self) -> None:
        source = Source()
        source.see(want(3))
        for count, at in ((2, 0.5), (1, 1.0)):
            source.at = at
            source.see(want(count))
        source.until(2.9)
        assert times(source) == [0.0]
        source.until(3.0)
        assert times(source) == [3.0]


def test_a_generation_that_changes_all_the_time_does_not_put_off_the_next_word() -> None:
    source = Source()
    for generation in range(8):
        source.see(want(1, generation=generation))
        source.until(source.at + 1.5)
    assert times(source) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


class TestWhatIsOnItsWay:
    def test_of_a_revision_one_event_at_most_is_on_its_way_whatever_changes_meanwhile(self) -> None:
        asks = Asks()
        asks.see(TINY, want(1), 0.0)
        first = asks.next(0.0)
        assert first is not None
        asks.see(TINY, want(2), 0.1)
        asks.see(TINY, None, 0.2)
        asks.see(TINY, want(3), 0.3)
        assert asks.next(5.0) is None
        asks.answered(first, TAKEN, 5.0)
        second = asks.next(5.0)
        assert second is not None
        assert (second.demand.count, second.attempt) == (3, 1)
        assert asks.next(1e9) is None

    def test_an_answer_to_what_is_no_more_says_nothing_of_what_came_after(self) -> None:
        asks = Asks()
        asks.see(TINY, want(1), 0.0)
        first = asks.next(0.0)
        assert first is not None
        asks.see(TINY, want(2), 0.1)
        asks.answered(first, REFUSED, 0.2)
        second = asks.next(0.2)
        assert second is not None
        assert second.demand.count == 2

    def test_once_taken_it_covers_the_less_that_is_wanted_since_it_was_sent(self) -> None:
        asks = Asks()
        asks.see(TINY, want(3), 0.0)
        first = asks.next(0.0)
        assert first is not None
        asks.see(TINY, want(2), 0.1)
        asks.see(TINY, want(2, generation=2), 0.2)
        asks.answered(first, TAKEN, 0.3)
        assert asks.next(2.2) is None
        assert asks.wait_s(0.3) == pytest.approx(2.0)

    @pytest.mark.parametrize("meanwhile", [None, want(1)])
    def test_but_not_what_is_wanted_anew_after_less_was(self, meanwhile: Demand | None) -> None:
        asks = Asks()
        asks.see(TINY, want(3), 0.0)
        first = asks.next(0.0)
        assert first is not None
        asks.see(TINY, meanwhile, 0.1)
        asks.see(TINY, want(2), 0.2)
        asks.answered(first, TAKEN, 0.3)
        second = asks.next(0.3)
        assert second is not None
        assert second.demand.count == 2

    def test_when_it_comes_to_nothing_the_less_that_is_wanted_since_is_news(self) -> None:
        asks = Asks()
        asks.see(TINY, want(3), 0.0)
        first = asks.next(0.0)
        assert first is not None
        asks.see(TINY, want(2), 0.1)
        asks.answered(first, FAILED, 0.3)
        assert asks.wait_s(0.3) == pytest.approx(0.1)
        second = asks.next(0.41)
        assert second is not None
        assert second.demand.count == 2

    def test_others_are_sent_meanwhile(self) -> None:
        asks = Asks()
        other = Function("team", "other-00001")
        asks.see(TINY, want(1), 0.0)
        asks.see(other, want(1, other), 0.0)
        found = [asks.next(0.0), asks.next(0.0), asks.next(0.0)]
        assert [each and each.demand.function for each in found] == [TINY, other, None]


class TestWhenTheSinkIsInTrouble:
    def test_one_that_is_away_is_tried_again_with_the_same_event_and_longer_pauses(self) -> None:
        source = Source(answer=FAILED)
        source.see(want(1))
        source.until(20.0)
        assert times(source) == [0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3, 16.3]
        assert len(set(source.ids)) == 1
        source.answer = TAKEN
        source.until(30.0)
        assert source.take_sent() == [
            (21.3, "tiny-00001", 1, 0),
            (23.3, "tiny-00001", 1, 1),
            (27.3, "tiny-00001", 1, 2),
        ]

    def test_it_is_not_stormed_by_all_who_wait(self) -> None:
        source = Source(answer=FAILED)
        for number in range(1000):
            function = Function("team", f"f-{number}")
            source.asks.see(function, want(1, function), 0.0)
        source.until(60.0)
        assert len(source.take_sent()) < 20
        source.answer = TAKEN
        source.until(66.0)
        assert {name for _, name, _, _ in source.take_sent()} == {f"f-{number}" for number in range(1000)}

    def test_an_event_that_a_sink_chokes_on_keeps_no_other_back(self) -> None:
        poison = Function("team", "poison")
        source = Source(answers={poison: FAILED})
        source.see(want(1, poison))
        for number in range(50):
            source.at += 0.5
            function = Function("team", f"f-{number}")
            source.see(want(1, function))
            source.until(source.at + 0.2)
            first = next(at for at, name, _, _ in source.sent if name == function.name)
            assert first - source.at < 0.0 + 0.1

    def test_who_waits_in_vain_keeps_nobody_back_whose_function_has_just_been_called(self) -> None:
        source = Source()
        for number in range(1000):
            source.see(want(1, Function("team", f"f-{number}")))
        source.take_sent()
        source.at = 2.0  # all of them are due again
        source.asks.see(TINY, want(1), source.at)
        source.settle()
        assert source.take_sent()[0] == (2.0, "tiny-00001", 1, 0)

    def test_what_is_refused_is_not_repeated_until_the_state_changes(self) -> None:
        source = Source(answer=REFUSED)
        source.see(want(1))
        source.until(10_000.0)
        assert times(source) == [0.0]
        source.see(want(2))
        assert times(source) == [10_000.0]

    def test_a_sink_that_names_a_time_is_left_alone_so_long(self) -> None:
        source = Source(answer=replace(FAILED, retry_after_s=30.0))
        source.see(want(1))
        source.until(29.0)
        assert times(source) == [0.0]
        source.until(31.0)
        assert times(source) == [30.0]

    def test_several_that_fail_together_are_one_failure(self) -> None:
        asks = Asks()
        functions = [Function("team", f"f-{number}") for number in range(4)]
        for function in functions:
            asks.see(function, want(1, function), 0.0)
        flying = [asks.next(0.0) for _ in functions]
        for ask in flying:
            assert ask is not None
            asks.answered(ask, FAILED, 5.0)
        assert asks.wait_s(5.0) == pytest.approx(0.1)


def test_a_rhythm_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(BadInput, match="no most below its first"):
        Rhythm(again_s=10.0, again_most_s=1.0)


class TestEvents:
    ASK = Ask(demand=want(2, generation=7), attempt=3, seen_at=0.0)

    def test_an_event_is_what_the_planners_door_reads(self) -> None:
        event = event_of(self.ASK, "2026-01-31T12:00:00Z")
        assert PendingRevision.of(event) == PendingRevision(
            namespace="team",
            revision="tiny-00001",
            profile=BIG,
            count=2,
            revision_uid="uid-tiny-00001",
            told_by="uid-tiny-00001/7/3g.20gb/2/500-3",
            traceparent=event.traceparent,
        )
        assert event.source == "/apis/serving.knative.dev/v1/namespaces/team/revisions/tiny-00001"
        assert event.data == {"cause": "NoSlice"}

    def test_it_tells_what_the_quota_said(self) -> None:
        denied = replace(want(2), cause=Cause.QUOTA_EXCEEDED, why="exceeded quota: gpus")
        event = event_of(replace(self.ASK, demand=denied), "")
        assert event.data == {"cause": "QuotaExceeded", "message": "exceeded quota: gpus"}
        assert event.id == "uid-tiny-00001/1/3g.20gb/2/QuotaExceeded-500-3"

    def test_attempts_are_spans_of_one_trace(self) -> None:
        again = replace(self.ASK, attempt=4)
        first, second = (event_of(each, "").traceparent.split("-") for each in (self.ASK, again))
        assert [len(part) for part in first] == [2, 32, 16, 2]
        assert first[1] == second[1]
        assert first[2] != second[2]

    def test_more_than_a_door_takes_is_told_as_the_most_that_it_takes(self) -> None:
        assert PendingRevision.of(event_of(replace(self.ASK, demand=want(1_000_000)), "")).count == 10_000


# -- many --------------------------------------------------------------------------------------------------------------


def many(number: int) -> Source:
    source = Source()
    for index in range(number):
        function = Function("team", f"f-{index:05}")
        source.asks.see(function, want(1, function), 0.0)
    source.settle()
    return source


@pytest.mark.no_cover
def test_ten_thousand_revisions_that_change_all_the_time_take_no_more_room() -> None:
    source = many(10_000)
    functions = [Function("team", f"f-{index:05}") for index in range(10_000)]
    most = 0
    blocks = []
    for turn in range(1, 7):
        for function in functions:
            source.asks.see(function, want(1 + turn % 3, function, since=500.0 + turn), source.at)
            most = max(most, source.asks.queued)
        source.settle()
        source.take_sent()
        source.ids.clear()
        source.at += 0.1
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    settled, after = blocks[1], blocks[-1]
    assert most <= 2 * 10_000 + 64 + 1
    assert after < settled + 10_000  # less than one more for each of them
    for function in functions:
        source.asks.see(function, None, source.at)
    assert len(source.asks) == 0
    assert source.asks.queued <= 64
    for function in functions:
        source.asks.forget(function)
    assert not source.asks._next_attempt


def calls_of_a_change(revisions: int) -> int:
    """How many calls, of Python's functions and of C's, it takes to judge one pod's change and send what follows."""
    known, asks = Known(), Asks()
    for index in range(revisions):
        function = Function("team", f"f-{index:05}")
        known.put_revision(function, RevisionFacts(uid=str(index), profile=BIG))
        known.put_scale(function, Scale(generation=1, desired=2, told_at=1.0))
        known.put_pod(("team", f"p-{index}"), Replica(function, Stand.BOUND, 1.0))
        asks.see(function, known.demand(function), 0.0)
    changed = Function("team", f"f-{revisions // 2:05}")
    counted = Counter[str]()

    def profile(_: FrameType, event: str, __: object) -> None:
        counted[event] += 1

    sys.setprofile(profile)
    try:
        for touched in known.put_pod(("team", f"p-{revisions // 2}"), Replica(changed, Stand.GONE, 1.0)):
            asks.see(touched, known.demand(touched), 1.0)
        ask = asks.next(1.0)
        assert ask is not None
        asks.answered(ask, TAKEN, 1.0)
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


def test_a_change_costs_the_same_among_ten_thousand_as_among_a_hundred() -> None:
    assert calls_of_a_change(10_000) < 2 * calls_of_a_change(100)
