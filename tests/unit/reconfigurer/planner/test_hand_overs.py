"""Hand-overs that take their time, seen from rounds that do not wait for them."""

import logging
import threading
from collections.abc import Callable

import pytest

from knative_mig.ports.kube import Key
from knative_mig.ports.relays import HandedOver, PodAt
from reconfigurer.planner.hand_overs import HandOvers
from tests.rigs.planner_replica import FakeRelays

TO = PodAt(key=Key("team", "new"), uid="uid-new")
OLD, OTHER = (PodAt(key=Key("team", name), uid=f"uid-{name}") for name in ("old", "other"))


class SlowRelays:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_asked = threading.Semaphore(0)
        self.gate = threading.Event()

    def hand_over(self, leaving: PodAt, to: PodAt, *, is_wanted: Callable[[], bool]) -> HandedOver:
        assert to == TO
        self.asked.append(leaving.uid)
        self.is_asked.release()
        while is_wanted() and not self.gate.wait(0.01):
            pass
        return HandedOver(moved=len(self.asked))


@pytest.fixture(name="relays")
def _relays() -> SlowRelays:
    return SlowRelays()


def test_it_is_asked_once_and_its_answer_wakes_who_asked(relays: SlowRelays) -> None:
    woken, stop = threading.Event(), threading.Event()
    hand_overs = HandOvers(relays, wake=woken.set)
    thread = threading.Thread(target=hand_overs.run, args=(stop,), daemon=True)
    thread.start()
    hand_overs.begin(OLD, TO)
    hand_overs.begin(OLD, TO)
    assert relays.is_asked.acquire(timeout=30)
    assert not hand_overs.over()
    assert not woken.is_set()
    relays.gate.set()
    assert woken.wait(30)
    assert hand_overs.over() == {"uid-old": HandedOver(moved=1)}
    hand_overs.begin(OLD, TO)
    stop.set()
    thread.join(30)
    assert relays.asked == ["uid-old"]


def test_what_was_forgotten_is_asked_no_more_and_may_be_begun_anew(relays: SlowRelays) -> None:
    relays.gate.set()
    hand_overs = HandOvers(relays, wake=lambda: None)
    for each in (OLD, OTHER):
        hand_overs.begin(each, TO)
    hand_overs.forget_but({"uid-other"})
    while hand_overs.ask_next():
        pass
    assert hand_overs.over() == {"uid-other": HandedOver(moved=1)}
    hand_overs.begin(OLD, TO)
    assert hand_overs.ask_next()
    assert hand_overs.over().keys() == {"uid-old", "uid-other"}


def test_an_answer_that_comes_when_nobody_wants_it_is_nobodys(relays: SlowRelays) -> None:
    hand_overs = HandOvers(relays, wake=lambda: None)
    hand_overs.begin(OLD, TO)
    thread = threading.Thread(target=hand_overs.ask_next, daemon=True)
    thread.start()
    assert relays.is_asked.acquire(timeout=30)
    hand_overs.forget_but(())
    thread.join(30)
    assert not thread.is_alive(), "whose pod is gone keeps no thread"
    assert not hand_overs.over()


def test_a_relay_that_says_a_lot_has_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hand_overs = HandOvers(FakeRelays(answer=HandedOver(moved=1, stay=("it is mine",) * 40_000)), wake=lambda: None)
    hand_overs.begin(OLD, TO)
    assert hand_overs.ask_next()
    assert "1 moved, 40000 stay: it is mine" in caplog.text
    assert len(caplog.text) < 500
