"""The tiny model's server, over raw sockets: what a client of OpenAI's API gets, and who cannot hold it up."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters import bounded_http
from knative_mig.adapters.cloud_events import decode
from knative_mig.core.events import Event
from services.tiny_llm.event_door import FINISHED
from services.tiny_llm.process import TinyLlm
from tests.rigs.tiny_server import PATIENCE_S, Client, asks, chats, served

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlm]:
    with served(tmp_path_factory.mktemp("weights")) as server:
        yield server


@pytest.fixture
def client(server: TinyLlm) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def wait_until(come_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not come_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def wait_until_idle(server: TinyLlm) -> None:
    wait_until(lambda: server.engine.is_idle and not server.engine.scheduler.blocks.used, "blocks are still taken")


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_completion(client: Client) -> None:
    status, _, body = client.call("POST", COMPLETIONS, asks())
    assert status == 200
    assert body["object"] == "text_completion"
    assert body["usage"] == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    [choice] = body["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["text"]) > 0


def test_a_chat(client: Client) -> None:
    status, _, body = client.call("POST", CHAT, chats())
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_a_stream_says_what_the_whole_answer_says(client: Client, path: str) -> None:
    body = (asks if path == COMPLETIONS else chats)(n=2, max_tokens=20)
    _, _, whole = client.call("POST", path, body)
    client.send("POST", path, {**body, "stream": True, "stream_options": {"include_usage": True}})
    status, headers = client.head()
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = client.events()
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]
    assert {chunk["id"] for chunk in chunks} == {usage["id"]}
    for number, choice in enumerate(whole["choices"]):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == number]
        if path == COMPLETIONS:
            assert "".join(each["text"] for each in own) == choice["text"]
        else:
            assert own[0]["delta"] == {"role": "assistant", "content": ""}
            assert "".join(each["delta"].get("content", "") for each in own) == choice["message"]["content"]
        assert [each["finish_reason"] for each in own][-1] == choice["finish_reason"]
        assert {each["finish_reason"] for each in own[:-1]} == {None}
    # The connection goes on.
    assert client.call("GET", "/version")[0] == 200


def test_the_choices_differ_and_the_seed_repeats_them(client: Client) -> None:
    first, again = (client.call("POST", COMPLETIONS, asks(n=3))[2]["choices"] for _ in range(2))
    assert first == again
    assert len({choice["text"] for choice in first}) == 3
    [alone] = client.call("POST", COMPLETIONS, asks(seed=2))[2]["choices"]
    assert alone["text"] == first[1]["text"]


def test_several_prompts_as_text_and_as_tokens(client: Client) -> None:
    texts = client.call("POST", COMPLETIONS, asks(prompt=["Once", "Twice"], temperature=0))[2]
    tokens = client.call("POST", COMPLETIONS, asks(prompt=[[256, *b"Once"], [256, *b"Twice"]], temperature=0))[2]
    assert texts["choices"] == tokens["choices"]
    assert [choice["index"] for choice in texts["choices"]] == [0, 1]
    assert texts["usage"]["prompt_tokens"] == 5 + 6


def test_logprobs_of_completions_and_of_chats(client: Client) -> None:
    logprobs = client.call("POST", COMPLETIONS, asks(logprobs=2))[2]["choices"][0]["logprobs"]
    assert {len(each) for each in logprobs.values()} == {8}
    assert all(len(each) == 2 for each in logprobs["top_logprobs"])
    content = client.call("POST", CHAT, chats(logprobs=True, top_logprobs=3))[2]["choices"][0]["logprobs"]["content"]
    assert all(len(each["top_logprobs"]) == 3 and each["logprob"] <= 0 for each in content)
    client.send("POST", CHAT, chats(logprobs=True, top_logprobs=3, stream=True))
    client.head()
    parts = [event["choices"][0]["logprobs"] for event in client.events() if event != "[DONE]"]
    assert [each for part in parts if part for each in part["content"]] == content


def test_an_echo_comes_first(client: Client) -> None:
    assert client.call("POST", COMPLETIONS, asks(echo=True))[2]["choices"][0]["text"].startswith("Once")


def test_models_version_and_health(client: Client) -> None:
    [model] = client.call("GET", "/v1/models")[2]["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny-llm", 512)
    assert client.call("GET", "/v1/models/tiny-llm")[2] == model
    assert client.call("GET", "/v1/models/other")[2]["error"]["code"] == "model_not_found"
    assert client.call("GET", "/version")[2].keys() == {"version"}
    assert client.call("GET", "/health")[0] == 200


def test_metrics_tell_of_what_was_done(server: TinyLlm, client: Client) -> None:
    def value(name: str) -> float:
        lines = client.call("GET", "/metrics")[2].decode().splitlines()
        [line] = [each for each in lines if each.startswith(f'vllm:{name}{{engine="0",model_name="tiny-llm"}}')]
        return float(line.split()[-1])

    prompts, generated = value("prompt_tokens_total"), value("generation_tokens_total")
    client.call("POST", COMPLETIONS, asks())
    wait_until_idle(server)
    assert value("prompt_tokens_total") == prompts + 5
    assert value("generation_tokens_total") == generated + 8


def test_http_1_0_gets_its_stream_to_the_connections_end(client: Client) -> None:
    body = b'{"model": "tiny-llm", "prompt": "a", "stream": true}'
    client.socket.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert client.head()[0] == 200
    assert client.file.read().endswith(b"data: [DONE]\n\n")


# -- events ------------------------------------------------------------------------------------------------------------

ATTRIBUTES = "ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /shop\r\nce-type: shop.asked\r\nce-subject: s\r\n"
BINARY = f"{ATTRIBUTES}content-type: application/json\r\n"
STRUCTURED = "content-type: application/cloudevents+json\r\n"


def test_an_event_has_the_same_reply_in_both_modes_and_each_time(client: Client) -> None:
    data = {"prompt": "Once", "max_tokens": 5, "seed": 3}
    whole = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.asked", "subject": "s", "data": data}
    replies = []
    for headers, body in ((BINARY, data), (STRUCTURED, whole), (BINARY, data)):
        client.send("POST", "/", body, headers)
        status, answered = client.head()
        assert status == 200
        event = decode(answered.items(), client.file.read(int(answered["content-length"])))
        assert isinstance(event, Event)
        replies.append((event.type, event.id, event.source, event.subject, event.data["choices"]))
    assert replies[0] == replies[1] == replies[2]
    assert replies[0][0] == FINISHED


def test_an_event_with_messages_is_a_chat(client: Client) -> None:
    _, _, body = client.call(
        "POST", "/", {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 3}, BINARY
    )
    assert body["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param(BINARY, {"text": "no prompt"}, 400, id="no prompt"),
        pytest.param(BINARY, {"prompt": "a", "stream": True}, 400, id="streamed"),
        pytest.param(BINARY, b"{", 400, id="broken"),
        pytest.param(BINARY, {"prompt": "a", "model": "gpt"}, 400, id="another model, which a Broker must not repeat"),
        pytest.param("content-type: application/json\r\n", {"prompt": "a"}, 400, id="no event"),
        pytest.param(BINARY.replace("application/json", "text/plain"), b"a", 415, id="another type"),
        pytest.param(BINARY, b'{"prompt": "%b"}' % (b"a" * 70_000), 413, id="too long for an event"),
    ],
)
def test_an_event_that_asks_for_nothing_is_refused(client: Client, headers: str, body: object, status: int) -> None:
    assert client.call("POST", "/", body, headers)[0] == status


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("POST", COMPLETIONS, b"{", 400, None, id="broken JSON"),
        pytest.param("POST", COMPLETIONS, b"", 400, None, id="no body"),
        pytest.param("POST", COMPLETIONS, b"\xff", 400, None, id="no UTF-8"),
        pytest.param("POST", COMPLETIONS, b"[" * 100_000, 400, None, id="nested"),
        pytest.param("POST", COMPLETIONS, asks(model="gpt"), 404, "model_not_found", id="unknown model"),
        pytest.param("POST", COMPLETIONS, asks(prompt="a" * 600), 400, "context_length_exceeded", id="too long"),
        pytest.param("POST", COMPLETIONS, asks(max_tokens=-1), 400, "integer_below_min_value", id="negative"),
        pytest.param("POST", "/v1/embeddings", {}, 404, "unknown_url", id="unknown URL"),
        pytest.param("GET", "/nothing", None, 404, "unknown_url", id="nothing there"),
        pytest.param("GET", COMPLETIONS, None, 405, "method_not_supported", id="read a completion"),
        pytest.param("POST", "/v1/models", {}, 405, "method_not_supported", id="write the models"),
    ],
)
def test_what_is_wrong_is_told_as_openai_tells_it(
    client: Client, *, method: str, path: str, body: object, status: int, code: str | None
) -> None:
    told, _, answer = client.call(method, path, body)
    assert told == status
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["code"] == code


def test_a_body_of_a_gigabyte_is_refused_before_it_comes(client: Client) -> None:
    client.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n")
    assert client.whole()[0] == 413


def test_a_body_that_is_chunked_without_an_end_is_refused_at_its_limit(client: Client) -> None:
    client.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(65):
        client.socket.sendall(piece)
    assert client.whole()[0] == 413


def test_who_sends_a_byte_now_and_then_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.2)
    client.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Le")
    dripping = threading.Event()
    thread = threading.Thread(target=_drip, args=(client.socket, dripping))
    thread.start()
    try:
        assert client.file.read() == b""
    finally:
        dripping.set()
        thread.join(PATIENCE_S)


def _drip(connection: socket.socket, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        try:
            connection.sendall(b"x")
        except OSError:
            return


# -- who hangs up, and who comes in crowds -----------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [True, False], ids=["in mid-stream", "while it waits"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_who_hangs_up_leaves_no_block_behind(server: TinyLlm, *, streamed: bool, reset: bool) -> None:
    given_up = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny-llm"}'

    def count() -> float:
        with Client(server) as client:
            lines = client.call("GET", "/metrics")[2].decode().splitlines()
        return float(next(line for line in lines if line.startswith(given_up)).split()[-1])

    before = count()
    with Client(server) as client:
        client.send("POST", COMPLETIONS, asks(max_tokens=500, stream=streamed))
        if streamed:
            client.head()
            next(client.events())
        wait_until(lambda: not server.engine.is_idle, "it was not taken up")
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until_idle(server)
    wait_until(lambda: count() == before + 1, "it was not given up, but came to its end")


def test_a_thousand_clients_of_a_server_for_eight_are_answered_or_told_to_come_again(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    with served(tmp_path, most_waiting=40) as server:
        clients: list[Client] = []
        try:
            for _ in range(1000):
                clients.append(Client(server))
                clients[-1].send("POST", COMPLETIONS, asks(max_tokens=4))
            for client in clients:
                status, headers, body = client.whole()
                statuses[status] += 1
                if status == 429:
                    assert headers["retry-after"] == "1"
                    assert body["error"]["type"] == "rate_limit_error"
                else:
                    assert body["usage"]["completion_tokens"] == 4
        finally:
            for client in clients:
                client.__exit__()
        assert statuses.keys() <= {200, 429}
        assert statuses[200] >= 48
        with Client(server) as client:
            assert client.call("POST", COMPLETIONS, asks())[0] == 200


def test_generations_count_each_and_all_or_none_are_taken(tmp_path: Path) -> None:
    with served(tmp_path, most_waiting=0) as server, Client(server) as first, Client(server) as client:
        first.send("POST", COMPLETIONS, asks(n=5, max_tokens=500, stream=True))
        assert first.head()[0] == 200
        assert client.call("POST", COMPLETIONS, asks(n=4))[0] == 429
        assert len(client.call("POST", COMPLETIONS, asks(n=3))[2]["choices"]) == 3
        assert client.call("POST", COMPLETIONS, asks(n=9))[0] == 400, "it would never be taken"


def test_who_drains_finishes_what_has_begun_and_takes_no_more(tmp_path: Path) -> None:
    with served(tmp_path) as server, Client(server) as old, Client(server) as new:
        new.call("GET", "/version")
        old.send("POST", COMPLETIONS, asks(max_tokens=300, stream=True))
        old.head()
        events = old.events()
        next(events)
        drained = threading.Thread(target=server.drain)
        drained.start()
        while not server.loop.is_draining:
            time.sleep(0.001)
        status, _, body = new.call("POST", COMPLETIONS, asks())
        assert (status, body["error"]["type"]) == (503, "server_error")
        assert new.call("GET", "/health")[0] == 503
        rest: list[Any] = list(events)
        assert rest[-1] == "[DONE]"
        drained.join(PATIENCE_S)
        assert not drained.is_alive()
