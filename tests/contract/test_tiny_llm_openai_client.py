"""OpenAI's own client, unmodified, against the tiny model's server, and against a relay before it.

It takes most of a second to import, so only who runs these tests does, not each worker that lists them.
"""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from services.relay.desk import Desk
from services.relay.engine_call import Address
from services.relay.resumable import TINY_LLM
from services.relay.user_port import UserPort
from services.tiny_llm.process import TinyLlm
from tests.rigs.tiny_server import PATIENCE_S, served

if TYPE_CHECKING:
    import openai

MODEL = "tiny-llm"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlm]:
    with served(tmp_path_factory.mktemp("weights"), most_waiting=0) as server:
        yield server


@pytest.fixture(scope="module")
def relay(server: TinyLlm) -> Iterator[UserPort]:
    engine = Address(host="127.0.0.1", port=server.http.port)
    desk = Desk(engine=engine, traits=TINY_LLM, elsewhere=None, end_engine=lambda: None)
    port = UserPort("127.0.0.1", 0, desk, at_most=32)
    thread = threading.Thread(target=port.serve)
    thread.start()
    yield port
    port.stop()
    thread.join(PATIENCE_S)


@pytest.fixture(scope="module", params=["direct", "relayed"])
def client(request: pytest.FixtureRequest, server: TinyLlm, relay: UserPort) -> "Iterator[openai.OpenAI]":
    import openai  # noqa: PLC0415

    port = relay.port if request.param == "relayed" else server.http.port
    address = f"http://127.0.0.1:{port}/v1"
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=PATIENCE_S) as client:
        yield client


def test_models(client: "openai.OpenAI") -> None:
    import openai  # noqa: PLC0415

    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "knative-mig"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_completions(client: "openai.OpenAI") -> None:
    completion = client.completions.create(
        model=MODEL, prompt=["Once", "Twice"], n=2, max_tokens=6, seed=1, logprobs=2, extra_body={"ignore_eos": True}
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert {choice.finish_reason for choice in completion.choices} == {"length"}
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert len(logprobs.tokens) == 6
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 24


def test_a_completion_in_a_stream(client: "openai.OpenAI") -> None:
    whole = client.completions.create(model=MODEL, prompt="Once", max_tokens=20, seed=1)
    stream = client.completions.create(model=MODEL, prompt="Once", max_tokens=20, seed=1, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_chats(client: "openai.OpenAI") -> None:
    chat = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}],
        max_completion_tokens=5,
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    [choice] = chat.choices
    assert choice.message.role == "assistant"
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert len(choice.logprobs.content[0].top_logprobs) == 2


def test_a_chat_in_a_stream_with_its_usage(client: "openai.OpenAI") -> None:
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hello!"}],
        max_tokens=12,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    *chunks, last = stream
    assert last.usage is not None
    assert last.usage.completion_tokens == 12
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"


def test_a_stream_that_is_left_is_given_up(client: "openai.OpenAI", server: TinyLlm) -> None:
    import openai  # noqa: PLC0415

    with client.completions.create(
        model=MODEL, prompt="a", max_tokens=500, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))
    # All eight places are free again, or these would be refused.
    for _ in range(200):
        try:
            client.completions.create(model=MODEL, prompt="a", n=8, max_tokens=1)
        except openai.RateLimitError:
            continue
        break
    else:
        pytest.fail("the places stay taken")
    assert server.engine.is_idle


def test_errors_are_those_that_the_client_knows(client: "openai.OpenAI") -> None:
    import openai  # noqa: PLC0415

    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="gpt", prompt="a")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=MODEL, prompt="a" * 600)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as negative:
        client.completions.create(model=MODEL, prompt="a", max_tokens=-1)
    assert negative.value.param == "max_tokens"
    with (
        client.completions.create(
            model=MODEL, prompt="a", n=8, max_tokens=500, stream=True, extra_body={"ignore_eos": True}
        ),
        pytest.raises(openai.RateLimitError) as crowded,
    ):
        client.completions.create(model=MODEL, prompt="a")
    assert crowded.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.APIStatusError) as big:
        client.completions.create(model=MODEL, prompt="a" * 5_000_000)
    assert big.value.status_code == 413
