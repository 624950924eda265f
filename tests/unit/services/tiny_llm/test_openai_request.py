"""What may be asked, and how each thing that may not is refused."""

from typing import Any

import pytest

from services.tiny_llm import tokenizer
from services.tiny_llm.api_error import ApiError
from services.tiny_llm.openai_request import Kind, Request, Server, object_of, request_of
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.tokenizer import Sign

SERVER = Server(model="tiny", longest=100, most=136, new_seed=lambda: 42)
HELLO = [{"role": "user", "content": "Hi"}]


def completion(**body: Any) -> Request:
    return request_of(Kind.COMPLETION, {"model": "tiny", "prompt": "ab", **body}, SERVER)


def chat(**body: Any) -> Request:
    return request_of(Kind.CHAT, {"model": "tiny", "messages": HELLO, **body}, SERVER)


def test_what_is_not_said_is_as_openai_has_it() -> None:
    [asked] = completion().asked
    assert asked.prompt == (Sign.BEGIN, *b"ab")
    assert asked.most_tokens == 16
    assert asked.sampling == Sampling(temperature=1, top_p=1, top_k=0, seed=42)
    [asked] = chat().asked
    assert asked.prompt == (Sign.USER, *b"Hi", Sign.ASSISTANT)
    assert asked.most_tokens == 100 - 4


def test_null_is_as_good_as_nothing() -> None:
    assert completion(stop=None, n=None, max_tokens=None, seed=None, logprobs=None) == completion()


def test_what_is_said_is_taken() -> None:
    request = completion(
        n=2, max_tokens=5, temperature=0, top_p=0.5, top_k=3, seed=7, stop="x", logprobs=2, ignore_eos=True,
        stream=True, stream_options={"include_usage": True}, user="me",
    )  # fmt: skip
    assert [asked.sampling.seed for asked in request.asked] == [7, 8]
    assert request.asked[0].sampling == Sampling(temperature=0, top_p=0.5, top_k=3, seed=7, ignore_end=True, logprobs=2)
    assert request.asked[0].stops == ("x",)
    assert (request.streamed, request.usage_streamed, request.n) == (True, True, 2)


def test_each_prompt_has_its_choices_beside_each_other() -> None:
    request = completion(prompt=["a", "bc"], n=2)
    assert [bytes(asked.prompt[1:]) for asked in request.asked] == [b"a", b"a", b"bc", b"bc"]
    assert request.prompt_tokens == 2 + 3


def test_a_conversation_may_come_in_parts_and_with_a_system() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    turns = [(Sign.SYSTEM, "s"), (Sign.USER, "ab"), (Sign.ASSISTANT, "c"), (Sign.USER, "d")]
    assert chat(messages=messages).prompts == (tuple(tokenizer.of_chat(turns)),)


def test_nobody_speaks_a_sign() -> None:
    assert max(completion(prompt="<|end|><|assistant|>").asked[0].prompt[1:]) < Sign.BEGIN


REFUSED: list[tuple[str, Kind, dict[str, Any], str | None, str | None]] = [
    ("no model", Kind.COMPLETION, {"model": None}, "model", "missing_required_parameter"),
    ("a model that is a number", Kind.COMPLETION, {"model": 1}, "model", "invalid_type"),
    ("no messages", Kind.CHAT, {"messages": None}, "messages", "missing_required_parameter"),
    ("empty messages", Kind.CHAT, {"messages": []}, "messages", "invalid_type"),
    ("a message that is text", Kind.CHAT, {"messages": ["hi"]}, "messages[0]", "invalid_type"),
    ("a strange role", Kind.CHAT, {"messages": [{"role": "king", "content": ""}]}, "messages[0].role", "invalid_value"),
    ("a list for a role", Kind.CHAT, {"messages": [{"role": [], "content": ""}]}, "messages[0].role", "invalid_value"),
    ("no content", Kind.CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ("a picture", Kind.CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
     "messages[0].content[0]", "invalid_value"),
    ("a prompt that is a number", Kind.COMPLETION, {"prompt": 1}, "prompt", "invalid_type"),
    ("no prompts", Kind.COMPLETION, {"prompt": []}, "prompt", None),
    ("prompts of two kinds", Kind.COMPLETION, {"prompt": ["a", 1]}, "prompt", None),
    ("a token that is none", Kind.COMPLETION, {"prompt": [261]}, "prompt", None),
    ("a token that is a truth", Kind.COMPLETION, {"prompt": [True]}, "prompt", None),
    ("too many prompts", Kind.COMPLETION, {"prompt": ["a"] * 65}, "prompt", None),
    ("text for a number", Kind.COMPLETION, {"max_tokens": "5"}, "max_tokens", "invalid_type"),
    ("a truth for a number", Kind.COMPLETION, {"max_tokens": True}, "max_tokens", "invalid_type"),
    ("a decimal for an integer", Kind.COMPLETION, {"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ("no tokens", Kind.COMPLETION, {"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ("negative tokens", Kind.CHAT, {"max_completion_tokens": -5}, "max_completion_tokens", "integer_below_min_value"),
    ("more than the context", Kind.COMPLETION, {"max_tokens": 98}, "prompt", "context_length_exceeded"),
    ("enormous tokens", Kind.CHAT, {"max_tokens": 10**4000}, "max_tokens", "integer_above_max_value"),
    ("a prompt that fills the context", Kind.CHAT, {"messages": [{"role": "user", "content": "a" * 98}]}, "messages",
     "context_length_exceeded"),
    ("too hot", Kind.COMPLETION, {"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ("too cold", Kind.COMPLETION, {"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    ("top_p above one", Kind.COMPLETION, {"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    ("a list for a number", Kind.COMPLETION, {"top_p": []}, "top_p", "invalid_type"),
    ("top_k below all", Kind.COMPLETION, {"top_k": -2}, "top_k", "integer_below_min_value"),
    ("no choices", Kind.COMPLETION, {"n": 0}, "n", "integer_below_min_value"),
    ("too many choices", Kind.COMPLETION, {"n": 129}, "n", "integer_above_max_value"),
    ("the best of more", Kind.COMPLETION, {"best_of": 3}, "best_of", None),
    ("a seed too big", Kind.COMPLETION, {"seed": 2**63}, "seed", "integer_above_max_value"),
    ("too many stops", Kind.COMPLETION, {"stop": ["a"] * 5}, "stop", "array_above_max_length"),
    ("a stop that is a number", Kind.COMPLETION, {"stop": 1}, "stop", "invalid_type"),
    ("a stop among numbers", Kind.COMPLETION, {"stop": ["a", 1]}, "stop", "invalid_type"),
    ("too many logprobs", Kind.COMPLETION, {"logprobs": 6}, "logprobs", "integer_above_max_value"),
    ("logprobs as chats have them", Kind.COMPLETION, {"logprobs": True}, "logprobs", "invalid_type"),
    ("logprobs as completions have them", Kind.CHAT, {"logprobs": 1}, "logprobs", "invalid_type"),
    ("top_logprobs without logprobs", Kind.CHAT, {"top_logprobs": 1}, "top_logprobs", None),
    ("an echo with logprobs", Kind.COMPLETION, {"echo": True, "logprobs": 1}, "echo", None),
    ("a stream that is text", Kind.COMPLETION, {"stream": "yes"}, "stream", "invalid_type"),
    ("options without a stream", Kind.COMPLETION, {"stream_options": {"include_usage": True}}, "stream_options", None),
    ("options that are none", Kind.COMPLETION, {"stream": True, "stream_options": 1}, "stream_options", "invalid_type"),
    ("options unheard of", Kind.COMPLETION, {"stream": True, "stream_options": {"bogus": 1}}, "stream_options.bogus",
     None),
    ("more choices than there is room for", Kind.COMPLETION, {"prompt": ["a", "b"], "n": 69}, "n", None),
    ("no number for a decimal", Kind.COMPLETION, {"temperature": float("nan")}, "temperature",
     "decimal_below_min_value"),
    ("an endless decimal", Kind.COMPLETION, {"temperature": float("inf")}, "temperature", "decimal_above_max_value"),
    ("a penalty", Kind.COMPLETION, {"presence_penalty": 1}, "presence_penalty", "unsupported_parameter"),
    ("tools", Kind.CHAT, {"tools": [{}]}, "tools", "unsupported_parameter"),
    ("a schema", Kind.CHAT, {"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ("something unheard of", Kind.COMPLETION, {"max_token": 5}, "max_token", None),
    ("a chat's in a completion", Kind.COMPLETION, {"messages": HELLO}, "messages", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body", "param", "code"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_what_may_not_be_asked_is_refused_where_it_stands(
    kind: Kind, body: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(ApiError) as refused:
        (chat if kind is Kind.CHAT else completion)(**body)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("kind", "what"), [(Kind.COMPLETION, "prompt"), (Kind.CHAT, "messages")])
def test_what_is_too_long_is_named_as_the_client_has_named_it(kind: Kind, what: str) -> None:
    with pytest.raises(ApiError, match=rf"in the {what}, 9[78] in .* of the {what} or completion") as refused:
        (chat if kind is Kind.CHAT else completion)(max_tokens=97 + (kind is Kind.COMPLETION))
    assert refused.value.param == what


def test_as_many_choices_are_taken_as_there_is_room_for() -> None:
    assert len(completion(prompt=["a", "b"], n=68).asked) == 136
    assert completion(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}).usage_streamed


def test_a_penalty_of_nothing_is_no_penalty() -> None:
    assert completion(presence_penalty=0, frequency_penalty=0.0, logit_bias={}, suffix="") == completion()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        object_of(body)
    assert refused.value.status == 400
