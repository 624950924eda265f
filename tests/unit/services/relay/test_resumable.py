"""Which requests may move: what is refused is refused for a reason, and what is not goes on exactly."""

from typing import Any

import pytest

from services.relay.resumable import OPENAI, TINY_LLM, VLLM, Traits, judged, seeded

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


def asks(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": "Once", "stream": True, **changes}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, asks()),
        (COMPLETIONS, asks(seed=3, temperature=0.7, logprobs=2)),
        (COMPLETIONS, asks(temperature=0, logprobs=0)),
        (COMPLETIONS, asks(prompt=["Once"])),
        (COMPLETIONS, asks(prompt=[1, 2, 3])),
        (CHAT, asks(messages=[], stop=["x"], presence_penalty=1)),
        (CHAT, asks(messages=[], n=1, response_format={"type": "text"}, tools=[], logprobs=False)),
        (CHAT, asks(messages=[], tools=[{"type": "function"}], tool_choice="none")),
    ],
)
def test_on_an_engine_that_resumes_these_go_on_and_are_compared(path: str, body: dict[str, Any]) -> None:
    verdict = judged(path, body, TINY_LLM)
    assert verdict.why_not == ""
    assert verdict.repeats


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (asks(stream=False), "not streamed"),
        (asks(stream="yes"), "not streamed"),
        (asks(n=2), "several choices"),
        (asks(best_of=2), "several choices"),
        (asks(prompt=["a", "b"]), "several choices"),
        (asks(prompt=[[1], [2]]), "several choices"),
        (asks(response_format={"type": "json_object"}), "guided"),
        (asks(guided_regex="a*"), "guided"),
        (asks(structured_outputs={"choice": ["a"]}), "guided"),
        (asks(tools=[{"type": "function"}]), "guided"),
        (asks(logprobs=1), "unseeded draw"),
        (asks(logprobs=0), "unseeded draw"),
        (asks(logprobs=True, temperature=1), "unseeded draw"),
    ],
)
def test_these_stay_on_any_engine(body: dict[str, Any], why: str) -> None:
    for engine in (TINY_LLM, VLLM):
        assert why in judged(CHAT, body, engine).why_not


def nested(deep: int) -> list[Any]:
    return [nested(deep - 1)] if deep > 1 else []


NO_TOKENS: tuple[Any, ...] = (5, 0, True, "", "ab", {}, {"1": 2}, [[1]], [True], [1.0], ["a"])
NO_FLAGS: tuple[Any, ...] = ("yes", 1, 0, [])


@pytest.mark.parametrize(
    "changes",
    [
        *({"resume_token_ids": wrong} for wrong in NO_TOKENS),
        *({"return_token_ids": wrong} for wrong in NO_FLAGS),
        {"metadata": nested(64)},
        {"temperature": float("inf")},
        {"messages": [{"weight": float("nan")}]},
    ],
)
def test_what_only_the_engine_can_answer_stays_and_so_is_asked_as_it_came(changes: dict[str, Any]) -> None:
    for engine in (TINY_LLM, VLLM):
        assert judged(COMPLETIONS, asks(**changes), engine).why_not


def test_what_is_as_it_should_be_moves_beside_it() -> None:
    body = asks(resume_token_ids=[1, 2], return_token_ids=False, metadata=nested(20))
    assert judged(COMPLETIONS, body, TINY_LLM).why_not == ""
    assert judged(COMPLETIONS, asks(resume_token_ids=None, return_token_ids=None), VLLM).why_not == ""


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", ["5", 5.0, [5]])
def test_a_limit_that_is_read_out_of_something_else_than_a_number_stays(name: str, limit: Any) -> None:
    """Some engines take these, and less would be left of them for whoever goes on."""
    for path in (COMPLETIONS, CHAT):
        assert "limit" in judged(path, asks(messages=[], temperature=0, **{name: limit}), VLLM).why_not


def test_what_is_no_generation_stays() -> None:
    assert "no generation" in judged("/v1/embeddings", asks(), TINY_LLM).why_not


@pytest.mark.parametrize(
    "body",
    [
        asks(seed=3),
        asks(temperature=0, logprobs=1),
        asks(stop=["x"]),
        asks(echo=True),
        asks(frequency_penalty=0.5),
        asks(min_tokens=4),
        asks(bad_words=["x"]),
        asks(thinking_token_budget=9),
        asks(stream_interval=4),
        asks(return_token_ids=True),
    ],
)
def test_where_tokens_come_back_as_a_prompt_what_counts_what_was_said_stays(body: dict[str, Any]) -> None:
    assert judged(COMPLETIONS, body, TINY_LLM).why_not == ""
    assert judged(COMPLETIONS, body, VLLM).why_not


LONG = Traits(tells_tokens=True, resumes=False, longest=4096)
PICTURE = {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {}}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"messages": [PICTURE], "max_tokens": 5}, "more in it than text"),
        ({"stream_options": {"include_usage": True, "continuous_usage_stats": True}}, "usage"),
        ({"mm_processor_kwargs": {}}, "mm_processor_kwargs"),
    ],
)
def test_there_a_chat_stays_that_a_completion_is_not(body: dict[str, Any], why: str) -> None:
    assert why in judged(CHAT, {"messages": [], "stream": True, **body}, LONG).why_not


def test_there_a_chat_without_a_limit_moves_where_the_engine_tells_how_long_it_may_become() -> None:
    chat = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "stream": True}
    assert "context" in judged(CHAT, chat, VLLM).why_not
    for least, engine in (({}, LONG), ({"max_tokens": 5}, VLLM), ({"max_completion_tokens": 5}, VLLM)):
        assert judged(CHAT, {**chat, **least}, engine).why_not == ""


def test_there_an_unseeded_draw_goes_on_but_is_not_compared_and_a_greedy_one_is() -> None:
    drawn, greedy = judged(CHAT, asks(max_tokens=9), VLLM), judged(CHAT, asks(temperature=0, max_tokens=9), VLLM)
    assert not drawn.why_not
    assert not greedy.why_not
    assert not drawn.repeats
    assert greedy.repeats


def test_text_alone_is_not_enough() -> None:
    assert "tokens" in judged(COMPLETIONS, asks(temperature=0), OPENAI).why_not


def test_who_gives_no_seed_is_given_one_where_that_lets_it_be_repeated() -> None:
    assert seeded(asks(), 7, TINY_LLM)["seed"] == 7
    assert seeded(asks(seed=None), 7, TINY_LLM)["seed"] == 7
    assert seeded(asks(seed=0), 7, TINY_LLM)["seed"] == 0
    assert "seed" not in seeded(asks(temperature=0), 7, TINY_LLM)
    assert "seed" not in seeded(asks(), 7, VLLM)
