"""A move as its target lives it: it warms up, goes on when told, and works for nobody who is gone."""

from dataclasses import replace

from services.relay.link_messages import (
    FromSource,
    Go,
    Leave,
    Onward,
    Open,
    Prompt,
    Refuse,
    Said,
    Stays,
    Stuck,
    Tokens,
    Warm,
)
from services.relay.resumable import TINY_LLM, VLLM, Traits
from services.relay.target_side import (
    Action,
    Ask,
    Came,
    Failed,
    Gone,
    HangUp,
    Leaving,
    LinkLost,
    Say,
    Spoke,
    Stayed,
    StopAsking,
    TargetSide,
    Told,
    Warmed,
)

PATH = "/v1/completions"
BODY = {"prompt": "Once", "stream": True}


def ask(run: int, *ids: int, only_warms: bool, prompt: tuple[int, ...] | None = None) -> Ask:
    return Ask(run=run, path=PATH, body=BODY, prompt=prompt, ids=ids, only_warms=only_warms)


def came(side: TargetSide, message: FromSource) -> tuple[Action, ...]:
    return side.take(Came(message=message))


def opened(engine: Traits = TINY_LLM) -> TargetSide:
    side = TargetSide(engine)
    assert came(side, Open(path=PATH, body=BODY)) == ()
    return side


def refused(actions: tuple[Action, ...]) -> bool:
    *_, said, end = actions
    return isinstance(said, Say) and isinstance(said.message, Refuse) and end == HangUp()


def test_from_the_first_round_to_the_last_token() -> None:
    side = opened()
    assert came(side, Tokens(at=0, ids=(1, 2))) == (ask(1, 1, 2, only_warms=True),)
    assert side.take(Warmed(run=1)) == (Say(message=Warm(count=2)),)
    assert came(side, Tokens(at=2, ids=(3,))) == (ask(2, 1, 2, 3, only_warms=True),)
    assert came(side, Go(at=3, ids=(4,))) == (StopAsking(run=2), ask(3, 1, 2, 3, 4, only_warms=False))
    assert side.take(Warmed(run=2)) == (), "late"
    assert side.take(Spoke(run=3, ids=(5,), chunks=("a",))) == (Say(message=Said(at=4, ids=(5,), chunks=("a",))),)
    assert side.take(Spoke(run=3, ids=(6,), chunks=("b",), last=True)) == (
        Say(message=Said(at=5, ids=(6,), chunks=("b",), last=True)),
        HangUp(),
    )
    assert side.is_over


def test_an_engine_that_goes_on_from_a_prompt_is_given_the_sources() -> None:
    side = opened(VLLM)
    assert came(side, Tokens(at=0, ids=())) == (ask(1, only_warms=True),)
    assert came(side, Prompt(ids=(9, 8))) == ()
    side.take(Warmed(run=1))
    assert came(side, Go(at=0, ids=(4,))) == (ask(2, 4, only_warms=False, prompt=(9, 8)),)
    half = side.take(Spoke(run=2, ids=(5,), chunks=("",), whole=False))
    assert half == (Say(message=Said(at=1, ids=(5,), chunks=("",), whole=False)),)


def test_who_is_asked_from_the_beginning_tells_what_its_engine_tells() -> None:
    side = opened(VLLM)
    came(side, Tokens(at=0, ids=()))
    assert side.take(Told(run=1, message=Prompt(ids=(9,)))) == (), "the source's own engine tells it, while it speaks"
    came(side, Go(at=0, ids=()))
    assert side.take(Told(run=2, message=Prompt(ids=(9,)))) == (Say(message=Prompt(ids=(9,))),)
    assert side.take(Told(run=2, message=Stuck(why="it thinks"))) == (Say(message=Stuck(why="it thinks")),)
    further = opened(VLLM)
    came(further, Prompt(ids=(9,)))
    came(further, Go(at=0, ids=(1,)))
    assert further.take(Told(run=1, message=Prompt(ids=(9, 1)))) == (), "of a prompt that is longer by what was said"


def test_one_whose_replica_is_wanted_asks_to_be_left_for_another_and_speaks_until_it_is() -> None:
    side = opened()
    came(side, Go(at=0, ids=(1,)))
    assert side.take(Leaving(to="http://next:1")) == (Say(message=Onward(to="http://next:1")),)
    assert side.take(Spoke(run=1, ids=(2,), chunks=("a",))) == (Say(message=Said(at=1, ids=(2,), chunks=("a",))),)
    assert came(side, Stays(why="away")) == (Stayed(why="away"),)
    assert refused(came(side, Stays(why="again")))
    side = opened()
    came(side, Go(at=0, ids=(1,)))
    side.take(Leaving(to="http://next:1"))
    assert came(side, Leave()) == (Gone(), StopAsking(run=1), HangUp())


def test_one_that_was_not_told_to_go_on_goes_back_to_where_it_comes_from() -> None:
    side = opened()
    came(side, Tokens(at=0, ids=(1,)))
    first, *rest = side.take(Leaving(to="http://next:1"))
    assert first == Gone()
    assert refused(tuple(rest))


def test_without_it_or_with_another_one_later_it_refuses() -> None:
    assert refused(came(opened(VLLM), Tokens(at=0, ids=(1,))))
    assert refused(came(opened(VLLM), Go(at=0, ids=(1,))))
    side = opened(VLLM)
    came(side, Prompt(ids=(9,)))
    assert refused(came(side, Prompt(ids=(8,))))
    side = opened()
    came(side, Tokens(at=0, ids=(1,)))
    assert refused(came(side, Prompt(ids=(9,))))


def test_what_came_while_it_warmed_up_is_warmed_next() -> None:
    side = opened()
    came(side, Tokens(at=0, ids=(1,)))
    assert came(side, Tokens(at=1, ids=(2,))) == ()
    assert side.take(Warmed(run=1)) == (Say(message=Warm(count=1)), ask(2, 1, 2, only_warms=True))


def test_who_is_gone_is_not_worked_for() -> None:
    for end in (LinkLost(), Came(message=Leave())):
        side = opened()
        came(side, Tokens(at=0, ids=(1,)))
        assert side.take(end) == (StopAsking(run=1), HangUp())
        assert came(side, Go(at=1, ids=())) == ()


def test_an_engine_that_fails_is_told_of() -> None:
    side = opened()
    came(side, Tokens(at=0, ids=(1,)))
    assert side.take(Failed(run=1, why="full")) == (Say(message=Refuse(why="full")), HangUp())


def test_a_source_that_lies_is_refused() -> None:
    assert refused(came(TargetSide(TINY_LLM), Go(at=0, ids=())))
    assert refused(came(TargetSide(TINY_LLM), Tokens(at=0, ids=())))
    assert refused(came(opened(), Open(path=PATH, body=BODY)))
    assert refused(came(opened(), Tokens(at=1, ids=(1,))))
    assert refused(came(opened(), Go(at=1, ids=())))
    running = opened()
    came(running, Go(at=0, ids=()))
    actions = came(running, Tokens(at=0, ids=(1,)))
    assert actions[0] == StopAsking(run=1)
    assert refused(actions)


def test_a_generation_of_another_model_is_refused_and_told_why() -> None:
    traits = replace(TINY_LLM, models=(("m", "m, fingerprint 1"),))
    side = TargetSide(traits)
    assert came(side, Open(path=PATH, body={**BODY, "model": "m"}, model="m, fingerprint 1")) == ()
    for other in ("m, fingerprint 2", ""):
        side = TargetSide(traits)
        actions = came(side, Open(path=PATH, body={**BODY, "model": "m"}, model=other))
        assert refused(actions)
        assert "m, fingerprint 1" in str(actions)
    assert refused(came(TargetSide(TINY_LLM), Open(path=PATH, body=BODY, model="m")))


def test_told_to_go_a_second_time_it_begins_anew_further_back() -> None:
    side = opened()
    came(side, Tokens(at=0, ids=(1, 2, 3)))
    came(side, Go(at=3, ids=(4,)))
    side.take(Spoke(run=2, ids=(5,), chunks=("a",)))
    assert came(side, Go(at=2, ids=())) == (StopAsking(run=2), ask(3, 1, 2, only_warms=False))
    assert side.take(Spoke(run=2, ids=(6,), chunks=("b",))) == (), "late"
    assert side.take(Spoke(run=3, ids=(3,), chunks=("a",))) == (Say(message=Said(at=2, ids=(3,), chunks=("a",))),)


def test_what_cannot_go_on_here_is_refused_at_once() -> None:
    side = TargetSide(TINY_LLM)
    assert refused(came(side, Open(path=PATH, body={**BODY, "n": 2})))
