"""A move as its source lives it: step by step, and who goes on when somebody is gone."""

from typing import Any

from services.relay.link_messages import FromTarget, Go, Leave, Onward, Open, Prompt, Refuse, Said, Stays, Tokens, Warm
from services.relay.link_messages import Stuck as StuckThere
from services.relay.resumable import Verdict
from services.relay.source_side import COMPARED, MOST_ROUNDS, SourceSide
from services.relay.source_words import (
    Action,
    Break,
    CallOff,
    ClientLeft,
    Dial,
    Emit,
    Failed,
    Finish,
    Heard,
    Kind,
    Link,
    Move,
    Moved,
    NotMoved,
    Quiet,
    Reached,
    Resume,
    Send,
    Silence,
    Spoke,
    Stuck,
    Tokenized,
    Unreached,
)

PATH, BODY = "/v1/completions", {"prompt": "Once"}
OWN, TARGET = 0, 1


def a_side(**verdict: Any) -> SourceSide:
    return SourceSide(PATH, BODY, Verdict(**{"repeats": True, **verdict}))


def own(side: SourceSide, *ids: int, last: bool = False) -> tuple[Action, ...]:
    return side.take(Spoke(voice=OWN, ids=ids, chunks=tuple(f"t{each}" for each in ids), last=last))


def target(side: SourceSide, message: FromTarget) -> tuple[Action, ...]:
    return side.take(Heard(voice=TARGET, message=message))


def said(at: int, *ids: int, last: bool = False) -> Said:
    return Said(at=at, ids=ids, chunks=tuple(f"t{each}" for each in ids), last=last)


def needs_engine(side: SourceSide) -> bool:
    return side.needs_engine


def waited_for(side: SourceSide) -> int | None:
    return side.waited_for


def on_its_way(count: int = 3, **verdict: Any) -> SourceSide:
    """Told to go on from `count` tokens, 0 and on."""
    side = a_side(**verdict)
    for each in range(count):
        own(side, each)
    side.take(Move())
    target(side, Warm(count=count))
    return side


def compared(side: SourceSide, at: int, voice: int = TARGET, other: int = OWN) -> tuple[Action, ...]:
    """What comes next is said by both: first by the one, and then by the other, which is believed with the last."""
    ids = tuple(range(at, at + COMPARED))
    for each in ids:
        spoken = Said(at=each, ids=(each,), chunks=(f"t{each}",))
        side.take(
            Spoke(voice=OWN, ids=(each,), chunks=spoken.chunks) if other == OWN else Heard(voice=other, message=spoken)
        )
    *before, last = [side.take(Heard(voice=voice, message=said(each, each))) for each in ids]
    assert before == [()] * (COMPARED - 1)
    return last


def test_a_move_from_its_first_word_to_its_last() -> None:
    side = a_side()
    assert own(side, 0) == (Emit(chunks=("t0",)),)
    assert side.take(Move()) == (
        Link(voice=TARGET),
        Send(voice=TARGET, message=Open(path=PATH, body=BODY)),
        Send(voice=TARGET, message=Tokens(at=0, ids=(0,))),
    )
    assert own(side, 1) == (Emit(chunks=("t1",)),)
    assert target(side, Warm(count=1)) == (Send(voice=TARGET, message=Go(at=1, ids=(1,))),)
    assert own(side, 2) == (Emit(chunks=("t2",)),), "the own engine goes on until the target has said the same"
    assert needs_engine(side)
    assert target(side, said(2, 2)) == (), "a token may be the same by chance"
    for each in (3, 4, 5, 6):
        own(side, each)
    assert target(side, said(3, 3, 4)) == ()
    assert target(side, said(5, 5)) == (Silence(voice=OWN), Moved()), "both said them, and the client has them"
    assert not needs_engine(side)
    assert own(side, 7) == (), "late"
    assert target(side, said(6, 6)) == ()
    assert target(side, said(7, 7)) == (Emit(chunks=("t7",)),)
    end = target(side, said(8, 8, last=True))
    assert end[0] == Emit(chunks=("t8",))
    assert end[-1] == Finish()


def test_a_target_that_is_faster_is_waited_with_until_the_own_engine_has_said_the_same() -> None:
    side = on_its_way()
    assert target(side, said(3, 3, 4, 5)) == ()
    assert target(side, said(6, 6)) == ()
    assert target(side, said(7, 7)) == ()
    for each in (3, 4, 5):
        assert own(side, each) == (Emit(chunks=(f"t{each}",)),)
    assert own(side, 6) == (Emit(chunks=("t6",)), Silence(voice=OWN), Moved(), Emit(chunks=("t7",)))
    assert target(side, said(8, 8)) == (Emit(chunks=("t8",)),)


def test_a_faster_target_of_another_model_says_nothing_to_the_client() -> None:
    side = on_its_way()
    assert target(side, said(3, 3, 4, 5, 9)) == ()
    assert target(side, said(7, 7, last=True)) == ()
    assert side.take(Failed(voice=TARGET, why="it hung up")) == (Silence(voice=TARGET),), "it has said all that it will"
    for each in (3, 4, 5):
        own(side, each)
    emitted, silenced, report = own(side, 6)
    assert (emitted, silenced) == (Emit(chunks=("t6",)), Silence(voice=TARGET))
    assert isinstance(report, NotMoved)


def test_a_piece_of_which_the_client_has_a_part_waits_for_the_rest() -> None:
    side = on_its_way()
    target(side, said(3, *range(3, 9)))
    for each in range(3, 8):
        assert own(side, each) == (Emit(chunks=(f"t{each}",)),)
    assert own(side, 8) == (Emit(chunks=("t8",)), Silence(voice=OWN), Moved())


def test_when_the_own_engine_dies_before_enough_was_compared_the_target_says_again_what_the_client_has() -> None:
    side = on_its_way(6)
    assert target(side, said(6, 6)) == ()
    assert side.take(Failed(voice=OWN, why="killed")) == (
        Silence(voice=OWN),
        Send(voice=TARGET, message=Go(at=2, ids=())),
    )
    assert target(side, said(7, 7)) == (), "it had crossed with that"
    assert target(side, said(2, 2, 3, 4)) == ()
    assert target(side, said(5, 5)) == (Moved(),)
    assert target(side, said(6, 6)) == (Emit(chunks=("t6",)),)
    liar = on_its_way(6)
    liar.take(Failed(voice=OWN, why="killed"))
    *_, away = target(liar, said(2, 2, 9))
    assert away == Resume(voice=2, kind=Kind.ELSEWHERE, path=PATH, body=BODY, prompt=None, ids=(0, 1))


def test_when_it_dies_after_enough_was_said_nothing_is_said_twice() -> None:
    side = on_its_way()
    for each in (3, 4, 5, 6):
        own(side, each)
    assert side.take(Failed(voice=OWN, why="killed")) == (Silence(voice=OWN),)
    assert target(side, said(3, 3, 4, 5)) == ()
    assert target(side, said(6, 6)) == (Moved(),)


def test_a_move_that_is_called_off_leaves_it_where_it_is() -> None:
    side = on_its_way()
    off = side.take(CallOff(why="slow"))
    assert off == (Send(voice=TARGET, message=Leave()), Silence(voice=TARGET), NotMoved(why="slow"))
    assert own(side, 3) == (Emit(chunks=("t3",)),)
    assert side.take(Move())[0] == Link(voice=2), "another may be tried"
    alone = on_its_way()
    alone.take(Failed(voice=OWN, why="killed"))
    assert alone.take(CallOff(why="slow")) == (), "nobody else speaks"


def test_an_own_engine_that_hangs_while_a_target_is_ahead_is_not_waited_for() -> None:
    side = on_its_way(6)
    assert waited_for(side) is None
    target(side, said(6, 6))
    assert waited_for(side) == OWN
    assert side.take(Quiet()) == (Silence(voice=OWN), Send(voice=TARGET, message=Go(at=2, ids=())))


def test_rounds_go_on_while_they_bring_it_nearer_and_no_longer() -> None:
    side = a_side()
    side.take(Move())
    sent, rounds = 0, 0
    for behind in (100, 60, 30):
        for _ in range(behind):
            own(side, 5)
        (action,) = target(side, Warm(count=sent))
        assert action == Send(voice=TARGET, message=Tokens(at=sent, ids=(5,) * behind))
        sent, rounds = sent + behind, rounds + 1
    for _ in range(30):
        own(side, 5)
    assert target(side, Warm(count=sent))[-1] == Send(voice=TARGET, message=Go(at=sent, ids=(5,) * 30))
    assert rounds < MOST_ROUNDS


def test_rounds_that_bring_it_hardly_nearer_come_to_an_end() -> None:
    side = a_side()
    side.take(Move())
    sent, rounds = 0, 1
    for behind in range(900, 100, -100):
        for _ in range(behind):
            own(side, 5)
        rounds += 1
        actions = target(side, Warm(count=sent))
        sent += behind
        if actions[-1] == Send(voice=TARGET, message=Go(at=sent - behind, ids=(5,) * behind)):
            break
    assert rounds == MOST_ROUNDS + 1


def test_a_target_that_says_something_else_is_not_believed_and_costs_nothing() -> None:
    side = on_its_way()
    own(side, 3)
    silenced, report = target(side, said(3, 9))
    assert silenced == Silence(voice=TARGET)
    assert isinstance(report, NotMoved)
    assert own(side, 4) == (Emit(chunks=("t4",)),)


def test_a_target_that_dies_before_its_first_token_costs_nothing() -> None:
    side = on_its_way()
    assert [type(each) for each in side.take(Failed(voice=TARGET, why="gone"))] == [Silence, NotMoved]
    assert own(side, 3) == (Emit(chunks=("t3",)),)
    assert side.take(Move())[0] == Link(voice=2), "it may be moved again"


def test_a_target_that_dies_later_is_gone_on_from_by_the_own_engine_and_else_by_anybody() -> None:
    side = on_its_way()
    assert compared(side, 3) == (Silence(voice=OWN), Moved())
    back = Resume(voice=2, kind=Kind.OWN, path=PATH, body=BODY, prompt=None, ids=(0, 1, 2))
    assert side.take(Failed(voice=TARGET, why="gone")) == (Silence(voice=TARGET), back)
    away = Resume(voice=3, kind=Kind.ELSEWHERE, path=PATH, body=BODY, prompt=None, ids=(0, 1, 2))
    assert side.take(Failed(voice=2, why="has ended")) == (Silence(voice=2), away)
    assert side.take(Spoke(voice=3, ids=(3, 4, 5, 6), chunks=("t",))) == (), "it too is compared"
    assert side.take(Spoke(voice=3, ids=(7,), chunks=("t7",))) == (Emit(chunks=("t7",)),)
    assert isinstance(side.take(Failed(voice=3, why="gone"))[-1], Break)
    assert side.is_over


def test_when_the_own_engine_dies_the_target_is_told_to_go_at_once() -> None:
    side = a_side()
    side.take(Move())
    for each in range(6):
        own(side, each)
    assert side.take(Failed(voice=OWN, why="killed")) == (
        Silence(voice=OWN),
        Send(voice=TARGET, message=Go(at=0, ids=(0, 1))),
    )
    assert target(side, Warm(count=0)) == (), "it had crossed with that"
    assert target(side, said(2, 2, 3, 4)) == ()
    assert target(side, said(5, 5)) == (Moved(),)
    assert target(side, said(6, 6)) == (Emit(chunks=("t6",)),)


def test_what_two_draws_would_say_differently_is_said_by_one() -> None:
    side = a_side(repeats=False)
    side.take(Move())
    own(side, 0)
    assert target(side, Warm(count=0))[-1] == Silence(voice=OWN)
    resumed = side.take(Failed(voice=TARGET, why="gone"))[-1]
    assert isinstance(resumed, Resume)
    assert resumed.kind is Kind.OWN


def test_who_ends_first_is_not_moved() -> None:
    side = on_its_way()
    actions = own(side, 3, last=True)
    assert Send(voice=TARGET, message=Leave()) in actions
    assert NotMoved(why="it is over") in actions
    assert actions[-1] == Finish()
    assert isinstance(side.take(Move())[0], NotMoved)


def test_what_cannot_go_on_elsewhere_stays_and_says_why() -> None:
    side = a_side(why_not="it has several choices in one stream", repeats=False)
    assert side.take(Move()) == (NotMoved(why="it has several choices in one stream"),)
    own(side, 0)
    assert isinstance(side.take(Failed(voice=OWN, why="killed"))[-1], Break)


def test_but_before_its_first_byte_anything_can_be_asked_elsewhere() -> None:
    side = a_side(why_not="it is guided", repeats=False)
    assert isinstance(side.take(Failed(voice=OWN, why="killed"))[-1], Resume)


def test_a_target_that_refuses_or_lies_about_places_is_left() -> None:
    for message in (Refuse(why="full"), Warm(count=7), said(0, 1)):
        side = a_side()
        own(side, 0)
        side.take(Move())
        assert isinstance(target(side, message)[-1], NotMoved)
        assert own(side, 1) == (Emit(chunks=("t1",)),)


def test_a_target_cannot_end_it_without_a_token() -> None:
    side = on_its_way()
    assert isinstance(target(side, said(3, last=True))[-1], NotMoved)


def test_an_opening_comes_once_whoever_has_it() -> None:
    side = a_side()
    opening = Spoke(voice=OWN, ids=(), chunks=("role",))
    assert side.take(opening) == (Emit(chunks=("role",)),)
    side.take(Move())
    target(side, Warm(count=0))
    assert target(side, Said(at=0, ids=(), chunks=("role",))) == ()
    assert own(side, 0) == (Emit(chunks=("t0",)),), "an opening is no token: the own engine is still asked"


def half(side: SourceSide, *ids: int) -> tuple[Action, ...]:
    """A part of a character, of which the client sees nothing."""
    return side.take(Spoke(voice=OWN, ids=ids, chunks=("",), whole=False))


def test_a_target_that_needs_the_prompt_is_told_it_before_any_token() -> None:
    side = a_side()
    assert side.take(Tokenized(ids=(9,))) == ()
    own(side, 0)
    assert [each.message for each in side.take(Move()) if isinstance(each, Send)] == [
        Open(path=PATH, body=BODY),
        Prompt(ids=(9,)),
        Tokens(at=0, ids=(0,)),
    ]
    early = a_side()
    early.take(Move())
    assert early.take(Tokenized(ids=(9,))) == (Send(voice=TARGET, message=Prompt(ids=(9,))),)


def test_a_target_that_was_asked_from_the_beginning_tells_the_prompt_or_that_nobody_could_go_on() -> None:
    side = on_its_way(0)
    assert target(side, Prompt(ids=(9,))) == ()
    target(side, said(0, 0))
    assert target(side, StuckThere(why="it thinks")) == (), "it speaks on"
    assert isinstance(side.take(Failed(voice=TARGET, why="gone"))[-1], Break)
    side = on_its_way(0)
    target(side, Prompt(ids=(9,)))
    target(side, said(0, *range(6)))
    *_, back = side.take(Failed(voice=TARGET, why="gone"))
    assert back == Resume(voice=2, kind=Kind.OWN, path=PATH, body=BODY, prompt=(9,), ids=())


def test_half_a_character_is_said_again_by_the_target_and_compared() -> None:
    side = a_side()
    own(side, 0)
    side.take(Move())
    half(side, 1)
    assert target(side, Warm(count=1)) == (Send(voice=TARGET, message=Go(at=1, ids=())),)
    assert target(side, Said(at=1, ids=(1,), chunks=("",), whole=False)) == ()
    for each in (2, 3, 4):
        own(side, each)
    assert target(side, said(2, 2, 3, 4)) == (Silence(voice=OWN), Moved())
    assert target(side, said(5, 5)) == (Emit(chunks=("t5",)),)


def test_where_it_cannot_be_compared_it_is_drawn_again() -> None:
    side = a_side(repeats=False)
    own(side, 0)
    half(side, 1)
    side.take(Move())
    assert target(side, Warm(count=1))[0] == Send(voice=TARGET, message=Go(at=1, ids=()))
    assert target(side, said(1, 7)) == (Moved(), Emit(chunks=("t7",)))
    assert side.said == [0, 7]


def test_whoever_goes_on_in_need_does_so_from_whole_text() -> None:
    side = a_side()
    side.take(Tokenized(ids=(9,)))
    own(side, 0)
    half(side, 1)
    for each in (2, 3, 4):
        own(side, each)
    *_, away = side.take(Failed(voice=OWN, why="killed"))
    assert away == Resume(voice=1, kind=Kind.ELSEWHERE, path=PATH, body=BODY, prompt=(9,), ids=(0,))


def test_what_turns_out_to_be_stuck_stays_from_then_on() -> None:
    side = a_side()
    own(side, 0)
    side.take(Move())
    leave = Send(voice=TARGET, message=Leave())
    assert side.take(Stuck(why="it thinks")) == (leave, Silence(voice=TARGET), NotMoved(why="it thinks"))
    assert own(side, 1) == (Emit(chunks=("t1",)),)
    assert side.take(Move()) == (NotMoved(why="it thinks"),)
    assert isinstance(side.take(Failed(voice=OWN, why="killed"))[-1], Break)


NEXT = 2


def moved_on(**verdict: Any) -> SourceSide:
    """It was moved, and its new replica is wanted too: the next relay is reached, and computes four tokens."""
    side = on_its_way(0, **verdict)
    for each in range(4):
        target(side, said(each, each))
    assert target(side, Onward(to="http://next:1")) == (Dial(voice=TARGET, to="http://next:1"),)
    assert side.take(Reached(voice=TARGET)) == (
        Link(voice=NEXT),
        Send(voice=NEXT, message=Open(path=PATH, body=BODY)),
        Send(voice=NEXT, message=Tokens(at=0, ids=(0, 1, 2, 3))),
    )
    return side


def next_one(side: SourceSide, message: FromTarget) -> tuple[Action, ...]:
    return side.take(Heard(voice=NEXT, message=message))


def test_what_was_moved_is_moved_on_and_its_client_stays_here() -> None:
    side = moved_on()
    assert target(side, said(4, 4)) == (Emit(chunks=("t4",)),), "the one before speaks on"
    assert next_one(side, Warm(count=4)) == (Send(voice=NEXT, message=Go(at=4, ids=(4,))),)
    left = (Send(voice=TARGET, message=Leave()), Silence(voice=TARGET), Moved())
    assert compared(side, 5, NEXT, other=TARGET) == left
    assert target(side, said(9, 9)) == (), "late"
    assert next_one(side, said(9, 9)) == (Emit(chunks=("t9",)),)
    assert next_one(side, Onward(to="b")) == (Dial(voice=NEXT, to="b"),), "and on, as often as it is wanted"


def test_one_that_catches_up_is_not_taken_for_the_next() -> None:
    side = on_its_way()
    own(side, 3, 4, 5, 6, 7)
    target(side, said(3, 3, 4, 5, 6))
    target(side, Onward(to="http://next:1"))
    side.take(Reached(voice=TARGET))
    next_one(side, Warm(count=8))
    assert target(side, said(7, 7)) == (), "it says again what the own engine has said"
    assert compared(side, 8, NEXT, other=TARGET)[1:] == (Silence(voice=TARGET), Moved())


def test_a_next_one_that_fails_leaves_it_where_it_is_and_that_one_is_told() -> None:
    side = moved_on()
    left = side.take(Failed(voice=NEXT, why="gone"))
    why = "the target: gone"
    assert left == (Silence(voice=NEXT), Send(voice=TARGET, message=Stays(why=why)), NotMoved(why=why))
    assert target(side, said(4, 4)) == (Emit(chunks=("t4",)),)
    away = Unreached(voice=TARGET, why="away")
    assert side.take(away) == (Send(voice=TARGET, message=Stays(why="away")),)
    assert target(side, Onward(to="b")) == (Dial(voice=TARGET, to="b"),), "it may ask again"


def test_when_the_one_before_dies_the_next_is_told_to_go_at_once() -> None:
    side = moved_on()
    target(side, said(4, 4))
    gone = side.take(Failed(voice=TARGET, why="killed"))
    assert gone == (Silence(voice=TARGET), Send(voice=NEXT, message=Go(at=1, ids=())))
    assert next_one(side, said(1, 1, 2, 3, 4)) == (Moved(),)
    assert next_one(side, said(5, 5)) == (Emit(chunks=("t5",)),)


def test_what_is_drawn_is_drawn_by_one_of_them() -> None:
    side = moved_on(repeats=False)
    go, leave, silence = next_one(side, Warm(count=4))
    assert go == Send(voice=NEXT, message=Go(at=4, ids=()))
    assert (leave, silence) == (Send(voice=TARGET, message=Leave()), Silence(voice=TARGET))


def test_whose_replica_is_wanted_before_it_has_begun_is_let_go() -> None:
    side = on_its_way()
    leave, *left = target(side, Onward(to="b"))
    assert leave == Send(voice=TARGET, message=Leave())
    assert isinstance(left[-1], NotMoved)
    assert own(side, 3) == (Emit(chunks=("t3",)),)
    alone = on_its_way(repeats=False)
    (stays,) = target(alone, Onward(to="b"))
    assert isinstance(stays, Send)
    assert isinstance(stays.message, Stays), "nobody else speaks"


def test_it_is_moved_on_once_at_a_time() -> None:
    side = moved_on()
    (stays,) = side.take(Reached(voice=TARGET))
    assert stays == Send(voice=TARGET, message=Stays(why="it is being moved already"))


def test_a_client_that_leaves_leaves_nobody_at_work() -> None:
    side = on_its_way()
    actions = side.take(ClientLeft())
    assert {Silence(voice=OWN), Silence(voice=TARGET)} <= set(actions)
    assert Send(voice=TARGET, message=Leave()) in actions
    assert side.take(Failed(voice=OWN, why="late")) == ()
