"""What an engine is asked to go on with, and that what it answers is the rest of what the client is reading."""

import json
from typing import Any

import pytest

from services.relay.dialect import Question, question
from services.relay.resumable import CHAT, COMPLETIONS, TINY_LLM, Traits
from services.relay.stream_events import Reading

VLLM = Traits(tells_tokens=True, resumes=False, longest=100)
TELLS = {"stream": True, "return_token_ids": True}
PROMPT = (1, 2, 3)
ASKED = {"model": "m", "prompt": "Once", "temperature": 0, "user": None, "stream_options": {"include_usage": True}}


def body_of(what: Question) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(what.body)
    return read


def test_one_that_resumes_is_asked_as_the_client_asked_and_given_the_tokens_beside() -> None:
    assert body_of(question(CHAT, {"a": 1}, (), TINY_LLM)) == {"a": 1, **TELLS}
    assert body_of(question(CHAT, {"a": 1}, (4,), TINY_LLM)) == {"a": 1, "resume_token_ids": [4], **TELLS}
    warming = question(CHAT, {"resume_token_ids": None}, (3,), TINY_LLM, only_warms=True)
    assert body_of(warming) == {"resume_token_ids": [3], "only_warms": True, **TELLS}
    assert warming == Question(path=CHAT, body=warming.body, reading=Reading())


def test_tokens_follow_those_that_the_asking_relay_had_already() -> None:
    assert body_of(question(CHAT, {"resume_token_ids": [1, 2]}, (3,), TINY_LLM))["resume_token_ids"] == [1, 2, 3]


def test_one_that_does_not_is_asked_for_the_rest_of_a_longer_prompt() -> None:
    what = question(COMPLETIONS, {**ASKED, "max_tokens": 50}, (7, 8), VLLM, prompt=PROMPT)
    assert what.path == COMPLETIONS
    assert body_of(what) == {
        "model": "m",
        "prompt": [1, 2, 3, 7, 8],
        "max_tokens": 48,
        "temperature": 0,
        "stream_options": {"include_usage": True},
        **TELLS,
    }
    assert what.reading == Reading(has_nulls=True, said_before=2)


def test_a_chat_is_gone_on_with_as_a_completion_and_read_as_a_chat() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "tool_choice": "none", "logprobs": False}
    what = question(CHAT, {**body, "return_token_ids": True}, (7,), VLLM, prompt=PROMPT)
    assert what.path == COMPLETIONS
    assert body_of(what) == {"model": "m", "prompt": [1, 2, 3, 7], "max_tokens": 96, **TELLS}
    assert what.reading == Reading(keeps_tokens=True, has_nulls=True, said_before=1, as_chat=True)


@pytest.mark.parametrize(
    ("path", "limits", "left"),
    [
        (COMPLETIONS, {}, 14),
        (COMPLETIONS, {"max_tokens": 3}, 1),
        (COMPLETIONS, {"max_tokens": 2}, 0),
        (CHAT, {"max_tokens": 3}, 1),
        (CHAT, {"max_tokens": 3, "max_completion_tokens": 9}, 7),
        (CHAT, {}, 100 - 3 - 2),
    ],
)
def test_what_was_said_is_taken_off_the_limit(path: str, limits: dict[str, int], left: int) -> None:
    assert body_of(question(path, limits, (7, 8), VLLM, prompt=PROMPT))["max_tokens"] == left


def test_before_any_token_it_is_asked_from_its_beginning() -> None:
    chat = {"messages": [], "max_completion_tokens": 9}
    for prompt in (None, PROMPT):
        what = question(CHAT, chat, (), VLLM, prompt=prompt)
        assert (what.path, body_of(what)) == (CHAT, {**chat, **TELLS})
        assert what.reading == Reading(has_nulls=True)


def test_to_warm_up_is_to_say_one_token() -> None:
    chat = {"messages": [], "max_completion_tokens": 9}
    assert body_of(question(CHAT, chat, (), VLLM, only_warms=True)) == {"messages": [], "max_tokens": 1, **TELLS}
    warming = body_of(question(CHAT, chat, (7,), VLLM, prompt=PROMPT, only_warms=True))
    assert warming == {"prompt": [1, 2, 3, 7], "max_tokens": 1, **TELLS}
