"""A generation moves while anybody may die or lie at any moment: its client gets each token once, in order, or is told.

The worlds are those of `tests.rigs.relay_world`: any order of who acts, deaths in between, and then everybody acts in
turn until nothing is left to do. Whoever would wait for somebody that never comes is found by that.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.relay.source_side import Phase
from services.relay.source_words import Kind, Moved
from tests.rigs.relay_world import StoryTeller, World, is_complete, story_of, story_world, text_with_ends

ACTS = (
    "own speaks", "source takes", "to target", "target takes", "target speaks", "to source", "elsewhere speaks",
    "second target speaks", "dial",
)  # fmt: skip
HARMS = (
    "own dies", "target dies", "target's engine dies", "link is cut", "elsewhere dies", "client leaves", "source dies",
    "target lies", "second target dies", "second target's engine dies",
)  # fmt: skip
BODIES = st.builds(
    lambda seed, prompt, most: {"seed": seed, "prompt": "x" * prompt, "max_tokens": most, "stream": True},
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.integers(1, 120),
)
TURNS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 12)), max_size=40)

HARMED = st.lists(st.tuples(TURNS, st.sampled_from(HARMS)), max_size=4)


def play(world: World, turns: list[tuple[str, int]]) -> None:
    for what, times in turns:
        for _ in range(times):
            world.act(what)


def suffer(world: World, harms: list[tuple[list[tuple[str, int]], str]]) -> None:
    """It is moved, and moved on, and again after each harm."""
    world.act("move")
    for turns, harm in harms:
        play(world, turns)
        world.act("move on")
        play(world, turns)
        world.harm(harm)
        world.act("move")
    play_out(world)


def move_and_move_on(world: World, own: int) -> None:
    """The second when the first is done: nothing of it has gone anywhere yet."""
    play(world, [("own speaks", own), ("source takes", own)])
    world.act("move")
    while not (world.source.phase is Phase.MOVED or world.outcome):
        play(world, [(what, 1) for what in ACTS])
    world.act("move on")


def play_out(world: World) -> None:
    for _ in range(5_000):
        if not sum(world.act(what) for what in ACTS):
            return
    raise AssertionError("it never ends")


def check_story(world: World, harms: list[str]) -> None:
    got = tuple(world.got)
    if world.repeats:
        assert got == story_of(world.body)[: len(got)], "the client got something else"
    if world.outcome == "finished":
        assert got == text_with_ends(tuple(world.source.said)), "the client did not get all"
        assert is_complete(world.body, tuple(world.source.said))
    elif world.outcome == "broken":
        whole = is_complete(world.body, tuple(world.source.said))  # what is left to say is that it is the end
        assert whole or "elsewhere dies" in harms or "source dies" in harms, "somebody could have gone on"
    else:
        assert "client leaves" in harms, "the client is left waiting"
    check_quiet(world)


def check_quiet(world: World) -> None:
    assert world.source.is_over or not world.source_is_up
    engines = [*world.engines.values(), *(target.engine for target in world.targets.values())]
    assert not any(engine.runs for engine in engines), "an engine works for nobody"
    assert all(link.side.is_over or not link.target.is_up for link in world.links.values())


@settings(max_examples=200, deadline=None)
@given(
    body=BODIES,
    repeats=st.booleans(),
    caches=st.booleans(),
    ends_apart=st.booleans(),
    before=TURNS,
    harms=HARMED,
)
def test_whoever_dies_whenever_the_client_gets_the_right_text_or_a_clean_end(
    *,
    body: dict[str, Any],
    repeats: bool,
    caches: bool,
    ends_apart: bool,
    before: list[tuple[str, int]],
    harms: list[tuple[list[tuple[str, int]], str]],
) -> None:
    world = story_world(body, repeats=repeats, caches=caches, ends_apart=ends_apart)
    play(world, before)
    suffer(world, harms)
    check_story(world, [harm for _, harm in harms])


@settings(max_examples=100, deadline=None)
@given(body=BODIES, caches=st.booleans(), ends_apart=st.booleans(), before=TURNS, during=TURNS)
def test_unharmed_it_moves_and_the_client_does_not_notice(
    *,
    body: dict[str, Any],
    caches: bool,
    ends_apart: bool,
    before: list[tuple[str, int]],
    during: list[tuple[str, int]],
) -> None:
    world = story_world(body, repeats=True, caches=caches, ends_apart=ends_apart)
    play(world, before)
    world.act("move")
    play(world, during)
    play_out(world)
    assert world.outcome == "finished"
    assert tuple(world.got) == story_of(body)
    check_story(world, [])
    elsewhere = world.engines[Kind.ELSEWHERE]
    assert isinstance(elsewhere, StoryTeller)
    assert not elsewhere.known, "nobody else was asked"


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), repeats=st.booleans(), caches=st.booleans(), own=st.integers(0, 30))
def test_what_has_come_by_a_link_is_moved_on_and_its_replica_is_free_before_it_ends(
    *, seed: int, repeats: bool, caches: bool, own: int
) -> None:
    body = {"seed": seed, "prompt": "x" * 9, "max_tokens": 4000, "stream": True}
    world = story_world(body, repeats=repeats, caches=caches, ends_apart=False)
    first = world.targets["first"]
    move_and_move_on(world, own)
    while not (len(world.reports) > 1 or world.outcome):
        play(world, [(what, 1) for what in ACTS])
    if not world.outcome:
        play(world, [(what, 1) for what in ("to target", "target takes") for _ in range(20)])
        assert world.reports == [Moved(), Moved()]
        assert not first.engine.runs
        assert all(link.side.is_over for link in world.links.values() if link.target is first)
    play_out(world)
    assert not repeats or tuple(world.got) == story_of(body)
    check_story(world, [])


@settings(max_examples=200, deadline=None)
@given(
    body=BODIES,
    repeats=st.booleans(),
    own=st.integers(0, 30),
    acts=st.lists(st.sampled_from(ACTS), max_size=160),
    harm=st.sampled_from(HARMS),
)
def test_whoever_dies_while_it_is_moved_on_the_client_gets_the_right_text_or_a_clean_end(
    *, body: dict[str, Any], repeats: bool, own: int, acts: list[str], harm: str
) -> None:
    world = story_world(body, repeats=repeats, caches=True, ends_apart=False)
    move_and_move_on(world, own)
    play(world, [(what, 1) for what in acts])
    world.harm(harm)
    world.act("move on")
    play_out(world)
    check_story(world, [harm])


@settings(max_examples=100, deadline=None)
@given(
    body=BODIES,
    own=st.integers(1, 30),
    turns=TURNS,
    harm=st.sampled_from(["", "own dies", "target dies", "link is cut"]),
)
def test_of_a_target_with_another_model_the_client_reads_nothing_however_fast_it_is(
    *, body: dict[str, Any], own: int, turns: list[tuple[str, int]], harm: str
) -> None:
    world = story_world(body, repeats=True, caches=True, ends_apart=False)
    first = world.targets["first"].engine
    assert isinstance(first, StoryTeller)
    first.luck = 7
    play(world, [("own speaks", own + 60), ("source takes", own)])
    if not world.source.said:
        return
    world.act("move")
    play(world, turns)
    world.harm(harm)
    play_out(world)
    assert world.outcome == "finished"
    assert tuple(world.got) == story_of(body)
    assert not any(isinstance(report, Moved) for report in world.reports)
