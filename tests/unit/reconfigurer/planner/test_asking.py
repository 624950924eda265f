"""What moves ask of the floor stands again, whoever takes it away; over what somebody else insists on nobody fights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from knative_mig.core.floor.values import Request
from knative_mig.core.inventory import Function
from knative_mig.ports.kube import ApiUnreachable, Conflict, Key
from reconfigurer.planner.asking import AGAIN_MOST_S, AGAIN_S, Asking
from reconfigurer.planner.clocks import Now
from tests.rigs.fake_cluster import FakeMirror

OURS = Key("knative-mig", "floor-move")
LLM = Request(
    component="move",
    name="team.llm",
    namespace="team",
    revision="llm",
    value=2.0,
    until=1_700_000_000.123_456_7,
    reason="makes room for team/whole",
)
MORE = replace(LLM, name="team.more", revision="more")
OF_ANOTHER = replace(LLM, component="prewarm", value=3.0)


@dataclass
class Mover:
    """Asks in rounds, of objects that others change too."""

    at: float = 100.0
    objects: dict[Key, tuple[Request, ...]] = field(default_factory=dict)
    puts: list[float] = field(default_factory=list)
    refuses: type[Exception] | None = None
    woken: int = 0

    def __post_init__(self) -> None:
        self.mirror: FakeMirror[tuple[Request, ...]] = FakeMirror(self.objects)
        self.asking = Asking(self, self.mirror, "move", mirror_age_limit_s=45.0)
        self.asking.wake_on_changes(self._wake)

    @property
    def asked(self) -> Mapping[Function, float] | None:
        return self.asking.asked

    def _wake(self) -> None:
        self.woken += 1

    def put(self, requests: Iterable[Request]) -> None:
        self.puts.append(self.at)
        if self.refuses:
            raise self.refuses("no")
        # The text that stands has microseconds.
        self.objects[OURS] = tuple(replace(each, until=round(each.until, 6)) for each in requests)
        self.mirror.changed(OURS)

    def ask(self, *requests: Request, after_s: float = 0.0) -> bool:
        self.at += after_s
        return self.asking.ask(requests, Now(monotonic=self.at, wall=self.at + 1.7e9))

    def somebody_puts(self, *requests: Request) -> None:
        self.objects[OURS] = requests
        self.mirror.changed(OURS)

    def somebody_deletes(self) -> None:
        self.objects.pop(OURS, None)
        self.mirror.changed(OURS)

    def take_puts(self) -> list[float]:
        puts, self.puts = self.puts, []
        return puts


@pytest.fixture
def mover() -> Mover:
    """It has asked, a long time ago."""
    made = Mover()
    assert made.ask(LLM)
    made.at += 1000.0
    made.take_puts()
    return made


def test_what_stands_is_put_once_and_wakes_nobody(mover: Mover) -> None:
    for _ in range(100):
        assert mover.ask(LLM, after_s=0.1)
    assert mover.take_puts() == []
    assert mover.woken == 0


@pytest.mark.parametrize(
    "there",
    [
        (),
        (replace(LLM, value=7.0),),
        (replace(LLM, until=1.0),),
        (replace(LLM, reason="mine"),),
        (LLM, MORE),
    ],
    ids=["nothing", "another value", "run out", "another reason", "more"],
)
def test_what_somebody_changed_is_put_right_at_once(mover: Mover, there: tuple[Request, ...]) -> None:
    mover.somebody_puts(*there)
    assert mover.woken == 1
    assert mover.ask(LLM)
    assert mover.take_puts() == [mover.at]
    assert mover.asked == {Function("team", "llm"): 2.0}
    assert mover.ask(LLM)
    assert mover.take_puts() == []


def test_and_so_is_an_object_that_is_gone_and_what_nothing_asks_for_any_more(mover: Mover) -> None:
    mover.somebody_deletes()
    assert mover.ask(LLM)
    assert mover.ask()
    mover.somebody_puts(LLM)
    assert mover.ask(after_s=1.0)
    assert mover.objects[OURS] == ()
    assert len(mover.take_puts()) == 3


def test_what_others_ask_is_theirs(mover: Mover) -> None:
    key = Key("knative-mig", "floor-prewarm")
    mover.objects[key] = (OF_ANOTHER,)
    mover.mirror.changed(key)
    assert mover.ask(LLM)
    assert mover.take_puts() == []
    assert mover.woken == 0


def test_who_fights_over_it_is_answered_ever_more_rarely_and_wakes_nobody_meanwhile(mover: Mover) -> None:
    began = mover.at
    for _ in range(6000):  # ten minutes
        mover.somebody_deletes()
        mover.ask(LLM, after_s=0.1)
    puts = mover.take_puts()
    pauses = [later - earlier for earlier, later in pairwise(puts)]
    assert puts[0] == pytest.approx(began + 0.1)
    assert pauses[:6] == pytest.approx([AGAIN_S * 2**times for times in range(6)], abs=0.11)
    assert pauses[6:] == pytest.approx([AGAIN_MOST_S] * len(pauses[6:]), abs=0.11)
    assert len(puts) < 600 / AGAIN_MOST_S + 8
    assert mover.woken <= 2 * len(puts)


def test_when_they_leave_it_alone_it_stands_and_the_next_change_is_put_right_at_once(mover: Mover) -> None:
    for _ in range(50):
        mover.somebody_deletes()
        mover.ask(LLM, after_s=0.1)
    mover.take_puts()
    mover.ask(LLM, after_s=AGAIN_MOST_S)
    assert len(mover.take_puts()) == 1
    mover.somebody_deletes()
    assert not mover.ask(LLM, after_s=0.1), "so it is called again"
    mover.ask(LLM, after_s=AGAIN_MOST_S)
    mover.take_puts()
    mover.at += 3 * AGAIN_MOST_S
    mover.somebody_deletes()
    assert mover.ask(LLM)
    assert len(mover.take_puts()) == 1


def test_what_is_wanted_anew_waits_for_no_pause(mover: Mover) -> None:
    for _ in range(50):
        mover.somebody_deletes()
        mover.ask(LLM, after_s=0.1)
    mover.take_puts()
    assert mover.ask(LLM, MORE)
    assert mover.ask()
    assert len(mover.take_puts()) == 2


def test_a_mirror_that_does_not_show_our_write_yet_is_nobodys_change(mover: Mover) -> None:
    mover.mirror.lagging = True
    assert mover.ask(LLM, MORE)
    assert not mover.ask(LLM, MORE, after_s=0.01)
    mover.mirror.lagging = False
    assert mover.ask(LLM, MORE, after_s=1.0)
    assert len(mover.take_puts()) == 1


def test_of_a_mirror_that_is_old_or_was_never_whole_nothing_is_believed(mover: Mover) -> None:
    mover.somebody_deletes()
    mover.mirror.age = 46.0
    assert mover.ask(LLM)
    mover.mirror.age, mover.mirror.is_synced = 0.0, False
    assert mover.ask(LLM)
    assert mover.take_puts() == []


@pytest.mark.parametrize("error", [ApiUnreachable, Conflict])
def test_what_could_not_be_put_is_put_again_after_a_pause_and_may_stand_until_then(
    mover: Mover, error: type[Exception]
) -> None:
    mover.refuses = error
    assert not mover.ask()
    assert mover.asking.asked is None
    assert not mover.ask(after_s=0.1)
    assert len(mover.take_puts()) == 1
    mover.refuses = None
    assert mover.ask(after_s=AGAIN_S)
    assert mover.asked == {}
    assert mover.objects[OURS] == ()


def test_a_new_leader_puts_what_it_wants_whatever_stands(mover: Mover) -> None:
    mover.asking.drop()
    mover.somebody_deletes()
    assert mover.woken == 0
    assert mover.asked is None
    assert mover.ask(LLM)
    assert len(mover.take_puts()) == 1
