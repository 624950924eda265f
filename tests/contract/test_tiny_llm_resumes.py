"""A generation that tiny_llm goes on with from another replica's tokens: the rest is what that one's was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.tiny_llm.process import TinyLlm
from tests.rigs.tiny_server import Client, asks, chats, served

PATHS = {"/v1/completions": asks, "/v1/chat/completions": chats}
HOT = {"temperature": 1.5, "seed": 11, "max_tokens": 24, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlm]:
    with served(tmp_path_factory.mktemp("weights")) as server:
        yield server


def chunks_of(server: TinyLlm, path: str, body: dict[str, Any]) -> list[Any]:
    """With what differs for each answer taken out."""
    with Client(server) as client:
        client.send("POST", path, {**body, "stream": True})
        status, _ = client.head()
        assert status == 200
        *chunks, done = client.events()
    assert done == "[DONE]"
    return [{name: value for name, value in chunk.items() if name not in {"id", "created"}} for chunk in chunks]


def token_ids(chunk: dict[str, Any]) -> list[int]:
    return [token for choice in chunk["choices"] for token in choice.get("token_ids", [])]


def shows_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta", {})
    return bool(choice.get("text") or delta.get("content") or "role" in delta or choice["finish_reason"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "how", [{}, {"logprobs": True}, {"stop": ["\ufffd\ufffd", "e"]}, {"stream_options": {"include_usage": True}}]
)
def test_from_every_token_the_rest_is_the_same(server: TinyLlm, path: str, how: dict[str, Any]) -> None:
    if "logprobs" in how and path == "/v1/completions":
        how = {"logprobs": 2}
    body = {**PATHS[path](), **HOT, **how, "return_token_ids": True}
    whole = chunks_of(server, path, body)
    said: list[int] = []
    for place, chunk in enumerate(whole):
        said += token_ids(chunk)
        if not said or not any(map(token_ids, whole[place + 1 :])):
            continue
        assert chunks_of(server, path, {**body, "resume_token_ids": said}) == whole[place + 1 :], f"from {len(said)}"
    assert said


@pytest.mark.parametrize("path", PATHS)
def test_tokens_are_told_to_who_asks_and_change_nothing_else(server: TinyLlm, path: str) -> None:
    body = {**PATHS[path](), **HOT}
    told = chunks_of(server, path, {**body, "return_token_ids": True})
    assert sum(len(token_ids(chunk)) for chunk in told) == HOT["max_tokens"]
    prompts = [each for chunk in told for choice in chunk["choices"] if (each := choice.pop("prompt_token_ids", None))]
    assert len(prompts) == 1, "and those of the prompt with the first"
    for chunk in told:
        for choice in chunk["choices"]:
            choice.pop("token_ids", None)
    shown = [chunk for chunk in told if any(map(shows_something, chunk["choices"]))]
    assert json.dumps(shown) == json.dumps(chunks_of(server, path, body))


@pytest.mark.parametrize(
    "wrong",
    [
        {"resume_token_ids": "text"},
        {"resume_token_ids": [1, -1]},
        {"resume_token_ids": [1, True]},
        {"resume_token_ids": [257]},
        {"resume_token_ids": [1], "n": 2},
        {"resume_token_ids": [1], "stream": False},
        {"resume_token_ids": [1] * 8},
    ],
)
def test_what_cannot_be_gone_on_with_is_refused(server: TinyLlm, wrong: dict[str, Any]) -> None:
    with Client(server) as client:
        status, _, body = client.call("POST", "/v1/completions", {**asks(), "stream": True, **wrong})
    assert status == 400
    assert body["error"]["param"] == "resume_token_ids"


def test_tokens_of_a_long_generation_come_to_no_more_than_the_context(tmp_path: Path) -> None:
    with served(tmp_path) as server, Client(server) as client:
        most = server.engine.longest - 5
        said = [1] * (most - 1)
        body = asks(max_tokens=most, resume_token_ids=said, stream=True)
        client.send("POST", "/v1/completions", body)
        assert client.head()[0] == 200
        *chunks, _ = client.events()
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
