"""A generation of vLLM's moves, while anybody may die: its client's chunks are those of a vLLM with nothing before it.

As in `test_relay_moves`, but for the engine: it goes on from a prompt of tokens, so all that it is asked and answers
goes through the relay's words for it, and its characters are of several tokens, in the middle of which it may move.
"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.relay.resumable import CHAT, COMPLETIONS
from services.relay.source_words import Kind
from tests.property.test_relay_moves import (
    ACTS,
    HARMED,
    HARMS,
    TURNS,
    check_quiet,
    move_and_move_on,
    play,
    play_out,
    suffer,
)
from tests.rigs import vllm_model
from tests.rigs.relay_world import World, vllm_story_of, vllm_world

PROMPTS = st.text(alphabet="ab é語", min_size=1, max_size=6)
USAGE = st.sampled_from([{}, {"stream_options": {"include_usage": True}}])
GREEDY = st.builds(
    lambda usage, ignores, tells: {
        "model": "stub", "stream": True, "temperature": 0, "ignore_eos": ignores, "return_token_ids": tells, **usage,
    },
    USAGE,
    st.booleans(),
    st.booleans(),
)  # fmt: skip
COMPLETION = st.builds(
    lambda body, prompt, most, each: (
        COMPLETIONS,
        {
            **body,
            "prompt": prompt,
            "max_tokens": most,
            **({"stream_options": {"include_usage": True, "continuous_usage_stats": True}} if each else {}),
        },
    ),
    GREEDY,
    PROMPTS,
    st.integers(1, 90),
    st.booleans(),
)
A_CHAT = st.builds(
    lambda body, text, limit: (CHAT, {**body, "messages": [{"role": "user", "content": text}], **limit}),
    GREEDY,
    PROMPTS,
    st.sampled_from([{"max_tokens": 70}, {"max_completion_tokens": 55, "max_tokens": 3}]),
)
ENDLESS = st.builds(
    lambda text: (
        CHAT,
        {"model": "stub", "stream": True, "temperature": 0, "messages": [{"role": "user", "content": text}]},
    ),
    PROMPTS,
)
ASKED = st.one_of(COMPLETION, A_CHAT, ENDLESS)


def text_of(chunks: list[str]) -> str:
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


def check_broken(world: World, harms: list[str]) -> None:
    if world.outcome == "broken":
        assert "elsewhere dies" in harms or "source dies" in harms, "somebody could have gone on"
    else:
        assert world.outcome == "finished" or "client leaves" in harms, "the client is left waiting"
    check_quiet(world)


@settings(max_examples=100, deadline=None)
@given(asked=ASKED, before=TURNS, harms=HARMED)
def test_whoever_dies_whenever_the_client_gets_the_right_chunks_or_a_clean_end(
    *, asked: tuple[str, dict[str, Any]], before: list[tuple[str, int]], harms: list[tuple[list[tuple[str, int]], str]]
) -> None:
    world = vllm_world(*asked)
    play(world, before)
    suffer(world, harms)
    whole = vllm_story_of(*asked)
    assert tuple(world.got) == whole[: len(world.got)], "the client got something else"
    assert world.outcome != "finished" or len(world.got) == len(whole), "the client did not get all"
    check_broken(world, [harm for _, harm in harms])


@settings(max_examples=60, deadline=None)
@given(asked=ASKED, before=TURNS, during=TURNS)
def test_unharmed_it_moves_and_the_client_does_not_notice(
    *, asked: tuple[str, dict[str, Any]], before: list[tuple[str, int]], during: list[tuple[str, int]]
) -> None:
    world = vllm_world(*asked)
    play(world, before)
    world.act("move")
    play(world, during)
    play_out(world)
    assert tuple(world.got) == vllm_story_of(*asked)
    assert not any(voice is Kind.ELSEWHERE for voice, _ in world.asked), "nobody else was asked"
    check_broken(world, [])


@settings(max_examples=60, deadline=None)
@given(asked=ASKED, before=TURNS, harms=HARMED)
def test_what_is_drawn_is_one_text_whoever_draws_it(
    *, asked: tuple[str, dict[str, Any]], before: list[tuple[str, int]], harms: list[tuple[list[tuple[str, int]], str]]
) -> None:
    path, body = asked
    drawn = {**body, "temperature": 1.0, "return_token_ids": False}
    world = vllm_world(path, drawn)
    assert not world.repeats
    play(world, before)
    # Who says another token than is drawn cannot be found out.
    harms = [(turns, harm) for turns, harm in harms if harm != "target lies"]
    suffer(world, harms)
    prompt = vllm_model.Saying.of(path, drawn).prompt
    told = vllm_model.Text(prompt)
    text = "".join([told.step(token) for token in world.source.said])
    assert text_of(world.got) == text
    if world.outcome == "finished":
        *_, last = [chunk for chunk in map(json.loads, world.got) if chunk["choices"]]
        ended = world.source.said[-1] == vllm_model.ENDS and not body.get("ignore_eos")
        assert last["choices"][0]["finish_reason"] == ("stop" if ended else "length")
        usage = json.loads(world.got[-1]).get("usage")
        assert usage is None or usage["completion_tokens"] == len(world.source.said)
    check_broken(world, [harm for _, harm in harms])


@settings(max_examples=30, deadline=None)
@given(asked=ASKED, drawn=st.booleans(), steps=st.integers(1, 30))
def test_a_target_that_was_asked_before_the_own_engine_spoke_is_gone_on_from_too(
    *, asked: tuple[str, dict[str, Any]], drawn: bool, steps: int
) -> None:
    path, body = asked
    body = {**body, "temperature": 1.0, "return_token_ids": False} if drawn else body
    world = vllm_world(path, body)
    world.act("move")
    acts = ("source takes", "to target", "target takes", "target speaks", "to source")
    play(world, [(act, 1) for _ in range(20 + steps) for act in acts])
    world.harm("target dies")
    play_out(world)
    assert world.outcome == "finished"
    if drawn:
        told = vllm_model.Text(vllm_model.Saying.of(path, body).prompt)
        assert text_of(world.got) == "".join([told.step(token) for token in world.source.said])
    else:
        assert tuple(world.got) == vllm_story_of(path, body)


@settings(max_examples=100, deadline=None)
@given(
    asked=ASKED,
    own=st.integers(0, 30),
    acts=st.lists(st.sampled_from(ACTS), max_size=160),
    harm=st.sampled_from(HARMS),
)
def test_whoever_dies_while_it_is_moved_on_the_client_gets_the_right_chunks_or_a_clean_end(
    *, asked: tuple[str, dict[str, Any]], own: int, acts: list[str], harm: str
) -> None:
    world = vllm_world(*asked)
    move_and_move_on(world, own)
    play(world, [(what, 1) for what in acts])
    world.harm(harm)
    world.act("move on")
    play_out(world)
    whole = vllm_story_of(*asked)
    assert tuple(world.got) == whole[: len(world.got)], "the client got something else"
    assert world.outcome != "finished" or len(world.got) == len(whole), "the client did not get all"
    check_broken(world, [harm])
