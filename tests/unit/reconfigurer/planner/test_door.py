"""What the planner's door makes of each event: it wakes the leader once, and never has a sender send again in vain."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from knative_mig.core.events import PENDING, Event, PendingRevision, RawEvent, Rejected, Why
from reconfigurer.planner.door import Door, DoorSettings, Outcome, Recent
from tests.rigs.planner_replica import Clock

EVENT = Event(
    source="/apis/v1/namespaces/team/services/tiny",
    id="uid-1/7/3g.20gb/1/0",
    type=PENDING,
    subject="team/tiny-00001",
    extensions={"migprofile": "3g.20gb", "count": "1", "revisionuid": "uid-1"},
)
RAW = RawEvent(headers=(("ce-id", EVENT.id),), body=b"{}")
SENT_ON = replace(RAW, forwarded=True)
PENDING_ONE = PendingRevision.of(EVENT)


def event(number: int) -> Event:
    return replace(EVENT, id=f"uid-1/{number}")


@dataclass
class House:
    """What is behind the door."""

    clock: Clock
    leads: bool = False
    leader: str = "10.0.0.2:8080"
    why_not: str = ""
    settings: DoorSettings = field(default_factory=DoorSettings)
    woken: list[PendingRevision] = field(default_factory=list)
    sent: list[tuple[str, RawEvent]] = field(default_factory=list)
    counted: Counter[Outcome] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.door = Door(
            leads=lambda: self.leads,
            leader=lambda: self.leader,
            wake=self.woken.append,
            send_on=self._send_on,
            count=lambda outcome: self.counted.update([outcome]),
            clock=self.clock.monotonic,
            settings=self.settings,
        )

    def _send_on(self, address: str, raw: RawEvent, within_s: float) -> str:
        assert within_s <= 1.0
        self.sent.append((address, raw))
        return self.why_not

    def send_all(self) -> None:
        while self.door.send_next():
            pass


@pytest.fixture
def leader(clock: Clock) -> House:
    return House(clock, leads=True)


@pytest.fixture
def standby(clock: Clock) -> House:
    return House(clock)


def test_the_leader_is_woken_once_however_often_an_event_comes(leader: House) -> None:
    assert [leader.door.take(EVENT, RAW) for _ in range(3)] == [None, None, None]
    assert leader.woken == [PENDING_ONE]
    assert leader.counted == {Outcome.WOKE: 1, Outcome.DUPLICATE: 2}


def test_an_event_is_another_one_by_its_source_or_its_id(leader: House) -> None:
    for each in (EVENT, replace(EVENT, id="uid-1/8"), replace(EVENT, source="/another")):
        leader.door.take(each, RAW)
    assert leader.counted == {Outcome.WOKE: 3}


def test_an_event_of_another_type_is_accepted_and_wakes_nobody(leader: House) -> None:
    assert leader.door.take(replace(EVENT, type="dev.knative-mig.slice.provisioned.v1"), RAW) is None
    assert (leader.woken, leader.counted) == ([], {Outcome.IGNORED: 1})


def test_poison_is_refused_with_its_reason_and_never_remembered(leader: House) -> None:
    refused = leader.door.take(replace(EVENT, extensions={}), RAW)
    assert isinstance(refused, Rejected)
    assert (refused.status, "migprofile" in refused.reason) == (Why.MALFORMED, True)
    unread = Rejected(status=Why.UNSUPPORTED, reason="this is a batch")
    assert leader.door.take(unread, RAW) == unread
    assert (leader.woken, leader.counted) == ([], {Outcome.REJECTED: 2})
    assert leader.door.take(EVENT, RAW) is None
    assert leader.woken == [PENDING_ONE]


def test_a_standby_sends_the_event_on_as_it_came(standby: House) -> None:
    assert standby.door.take(EVENT, RAW) is None
    assert standby.sent == []  # the answer has not waited for it
    standby.send_all()
    assert standby.sent == [("10.0.0.2:8080", RAW)]
    assert (standby.woken, standby.counted) == ([], {Outcome.FORWARDED: 1})


def test_an_event_that_was_sent_on_is_not_sent_on_again(standby: House) -> None:
    assert standby.door.take(EVENT, SENT_ON) is None
    standby.send_all()
    assert (standby.sent, standby.counted) == ([], {Outcome.NO_LEADER: 1})


def test_while_nobody_is_known_to_lead_events_are_accepted(standby: House) -> None:
    standby.leader = ""
    assert standby.door.take(EVENT, RAW) is None
    standby.send_all()
    assert (standby.sent, standby.counted) == ([], {Outcome.NO_LEADER: 1})


def test_what_did_not_reach_the_leader_is_tried_again_when_it_comes_again(standby: House) -> None:
    standby.why_not = "10.0.0.2:8080: connection refused"
    standby.door.take(EVENT, RAW)
    standby.send_all()
    standby.why_not = ""
    standby.door.take(EVENT, RAW)
    standby.send_all()
    assert standby.counted == {Outcome.NOT_FORWARDED: 1, Outcome.FORWARDED: 1}


def test_what_waited_for_a_leader_that_hangs_is_not_sent_when_the_resync_has_been_faster(standby: House) -> None:
    standby.door.take(EVENT, RAW)
    standby.clock.at += 5.1
    standby.send_all()
    assert (standby.sent, standby.counted) == ([], {Outcome.NOT_FORWARDED: 1})


def test_a_standby_that_has_become_the_leader_acts_itself(standby: House) -> None:
    standby.door.take(EVENT, RAW)
    standby.leads = True
    standby.send_all()
    assert (standby.sent, standby.woken, standby.counted) == ([], [PENDING_ONE], {Outcome.WOKE: 1})


def test_more_events_than_can_wait_are_accepted_and_left_to_the_resync(clock: Clock) -> None:
    standby = House(clock, settings=DoorSettings(waiting=2))
    assert [standby.door.take(event(number), RAW) for number in range(3)] == [None, None, None]
    standby.send_all()
    assert standby.counted == {Outcome.FORWARDED: 2, Outcome.NOT_FORWARDED: 1}
    standby.door.take(event(2), RAW)
    standby.send_all()
    assert standby.counted[Outcome.FORWARDED] == 3


# -- what has been here ------------------------------------------------------------------------------------------------


def test_an_event_is_forgotten_after_its_time_even_if_it_keeps_coming() -> None:
    recent = Recent(600, 10)
    assert [recent.is_new(EVENT, now) for now in (0, 300, 599, 600, 700)] == [True, False, False, True, False]


def test_the_oldest_are_forgotten_first_when_there_are_too_many() -> None:
    recent = Recent(600, 3)
    for number in range(1_000):
        assert recent.is_new(event(number), 0)
        assert len(recent) <= 3
    assert [recent.is_new(event(number), 0) for number in (997, 998, 999, 996)] == [False, False, False, True]


def test_source_and_id_do_not_run_into_one_another() -> None:
    recent = Recent(600, 10)
    assert recent.is_new(replace(EVENT, source="/a", id="bc"), 0)
    assert recent.is_new(replace(EVENT, source="/ab", id="c"), 0)
