"""The port of a relay's clients, over raw sockets and before the tiny model: what it passes on, and what it refuses."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters import bounded_http
from knative_mig.adapters.threads import Threads
from services.relay import user_port, wire
from services.relay.desk import Desk, Guest
from services.relay.engine_call import Address
from services.relay.passing import LEAVING
from services.relay.replica import EngineEnded, Leave
from services.relay.resumable import TINY_LLM
from services.relay.user_port import UserPort
from services.tiny_llm.process import TinyLlm
from tests.rigs.tiny_server import PATIENCE_S, asks, served

COMPLETIONS = "/v1/completions"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlm]:
    with served(tmp_path_factory.mktemp("weights")) as server:
        yield server


@contextmanager
def relayed(engine: TinyLlm, elsewhere: TinyLlm | None = None) -> Iterator[UserPort]:
    with relayed_to(engine.http.port, None if elsewhere is None else elsewhere.http.port) as port:
        yield port


@contextmanager
def relayed_to(engine: int, elsewhere: int | None = None) -> Iterator[UserPort]:
    """By their ports."""
    desk = Desk(
        engine=Address(host="127.0.0.1", port=engine),
        traits=TINY_LLM,
        elsewhere=None if elsewhere is None else Address(host="127.0.0.1", port=elsewhere),
        end_engine=lambda: None,
    )
    port = UserPort("127.0.0.1", 0, desk, at_most=100)
    threads = Threads(threading.Event())
    threads.run("user", lambda _: port.serve())
    try:
        yield port
    finally:
        port.stop()
        threads.join("user", time.monotonic() + PATIENCE_S)


def answered(port: int, request: bytes) -> tuple[int, dict[str, str], Any]:
    """To one request that is the connection's last."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(request)
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("content-type") == "application/json":
        return int(first.split()[1]), headers, json.loads(body)
    return int(first.split()[1]), headers, body


def posted(body: bytes, path: str = COMPLETIONS) -> bytes:
    return f"POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# -- what only the engine can answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *(asks(stream=True, resume_token_ids=wrong) for wrong in (5, True, "ab", {"1": 2}, [[1]])),
        asks(stream=True) | {"return_token_ids": "yes"},
        asks(stream=True, temperature=float("nan")),
        json.dumps(asks(stream=True, temperature=9)).replace("9", "1e400").encode(),
        json.dumps(asks(stream=True)).encode("utf-16"),
        b"[" * 100_000,
        b"{",
    ],
)
def test_what_the_relay_does_not_understand_is_refused_by_the_engine_in_its_words(engine: TinyLlm, body: Any) -> None:
    request = posted(body if isinstance(body, bytes) else json.dumps(body).encode())
    with relayed(engine) as relay:
        through = answered(relay.port, request)
    direct = answered(engine.http.port, request)
    assert through[0] == direct[0] == 400
    assert through[2] == direct[2]


def test_json_of_any_depth_has_an_answer(engine: TinyLlm) -> None:
    """Near the depth where Python reads it and does not write it any more."""
    body = json.dumps(asks(stream=True, max_tokens=1, metadata=0))
    with relayed(engine) as relay:
        for deep in (20, 500, *range(940, 1000)):
            nested = body.replace('"metadata": 0', '"metadata": ' + "[" * deep + "]" * deep)
            assert answered(relay.port, posted(nested.encode()))[0] in {200, 400}


# -- what it refuses itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", 413),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"BREW /v1/completions HTTP/1.1\r\n\r\n", 405),
    ],
    ids=["too large", "no length", "no HTTP", "too long a head", "no method"],
)
def test_what_could_not_be_read_is_refused_alike_with_a_relay_before_the_model_and_without(
    engine: TinyLlm, request_: bytes, status: int
) -> None:
    with relayed(engine) as relay:
        for port in (relay.port, engine.http.port):
            told, headers, body = answered(port, request_)
            assert told == status
            assert body["error"].keys() == {"message", "type", "param", "code"}
            assert body["error"]["type"] == "invalid_request_error"
            assert ("POST" in headers.get("allow", "")) == (status == 405)


@pytest.mark.parametrize("with_relay", [True, False])
def test_a_body_that_the_engine_refuses_is_refused_in_its_words_however_large_it_is(
    engine: TinyLlm, *, with_relay: bool
) -> None:
    body = bytes(20_000_000)
    with relayed(engine) as relay:
        told, _, said = answered(relay.port if with_relay else engine.http.port, posted(body))
    assert told == 413
    assert "legal are 4194304 bytes" in said["error"]["message"]


@pytest.mark.parametrize("body", [bytes(20_000_000), json.dumps(asks(stream=True, user="x" * 4_000_000)).encode()])
def test_what_an_engine_says_before_it_hangs_up_on_a_request_is_the_clients(body: bytes) -> None:
    """The first is passed on as it is, the second is a generation that could move."""
    with socket.create_server(("127.0.0.1", 0)) as listening, relayed_to(listening.getsockname()[1]) as relay:

        def hangs_up(_: threading.Event) -> None:
            """With its request unread, so that the rest of it is reset."""
            connection, _ = listening.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")

        threads = Threads(threading.Event())
        threads.run("engine", hangs_up)
        told, _, said = answered(relay.port, posted(body))
        threads.join("engine", time.monotonic() + PATIENCE_S)
    assert (told, said) == (413, b"no!")


def test_an_engine_that_reads_no_request_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TAKES_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening, relayed_to(listening.getsockname()[1]) as relay:
        assert answered(relay.port, posted(bytes(20_000_000)))[0] == 503


@pytest.mark.parametrize("with_relay", [True, False])
def test_an_upload_that_comes_on_is_waited_for_and_one_that_drips_is_told_so(
    engine: TinyLlm, monkeypatch: pytest.MonkeyPatch, *, with_relay: bool
) -> None:
    body = json.dumps(asks(max_tokens=1, user="x" * 5000)).encode()

    def sent(port: int) -> tuple[int, Any]:
        """A tenth each 40 ms."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client, client.makefile("rb") as answer:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
            for begin in range(0, len(body), len(body) // 10):
                with suppress(OSError):
                    client.sendall(body[begin : begin + len(body) // 10])
                time.sleep(0.04)
            status = int(answer.readline().split()[1])
            while answer.readline().strip():
                pass
            return status, json.loads(answer.read1())

    with relayed(engine) as relay:
        port = relay.port if with_relay else engine.http.port
        monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.2)
        status, answer = sent(port)
        assert status == 408
        assert answer["error"]["message"] == "The request could not be read: the body comes too slowly."
        monkeypatch.setattr(bounded_http, "LEAST_RATE", 5000)  # so that each piece is worth a tenth of a second
        # Between two pieces this machine may be busy elsewhere for longer than is waited: not each time.
        assert any(sent(port)[0] == 200 for _ in range(5))
        monkeypatch.setattr("services.tiny_llm.http_server._Handler.uploaded_within_s", 0.3)
        monkeypatch.setattr("services.relay.user_port._Handler.uploaded_within_s", 0.3)
        assert sent(port)[0] == 408


# -- a replica that leaves ---------------------------------------------------------------------------------------------


def test_a_relay_without_an_engine_answers_for_no_other_replica(engine: TinyLlm) -> None:
    event = b"ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /s\r\nce-type: t\r\ncontent-type: application/json\r\n"
    asked = b'{"prompt": "Once", "max_tokens": 1}'
    with relayed(engine, elsewhere=engine) as relay:
        relay.desk.take(Leave(now=time.monotonic()))
        relay.desk.take(EngineEnded())
        for path in ("/health", "/ping", "/load", "/metrics", "/version", "/metrics?a=b"):
            status, _, body = answered(relay.port, f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
            assert (status, body["error"]["type"]) == (503, "server_error"), path
        models = answered(relay.port, b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (models[0], models[2]["data"][0]["id"]) == (200, "tiny-llm"), "any replica's would do"
        assert answered(relay.port, posted(json.dumps(asks()).encode()))[0] == 200
        assert answered(relay.port, posted(b"{}", "/v1/embeddings"))[0] == 404, "the other's answer"
        head = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n" % len(asked)
        assert answered(relay.port, head + event + b"\r\n" + asked)[0] == 200


def test_a_relay_that_leaves_answers_for_its_own_engine_while_there_is_one(engine: TinyLlm, tmp_path: Path) -> None:
    with served(tmp_path, model="other") as other, relayed(engine, elsewhere=other) as relay:
        guest = Guest()
        relay.desk.where(guest, was_sent_on=False)
        relay.desk.take(Leave(now=time.monotonic()))
        with relay.desk.left_after(guest):
            metrics = answered(relay.port, b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")[2]
            assert b'model_name="tiny-llm"' in metrics
            assert answered(relay.port, posted(json.dumps(asks(model="other")).encode()))[0] == 200


# -- what comes late, to who leaves ------------------------------------------------------------------------------------


@contextmanager
def gateway(*answers: tuple[float, str]) -> Iterator[tuple[int, list[str]]]:
    """Before replicas: each request is held for so long, and then answered by this one, who leaves; the last is not."""
    asked: list[str] = []

    def serve() -> None:
        for held_s, leaves in answers:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                asked.append(leaves)
                time.sleep(held_s)
                line = f"503 Service Unavailable\r\n{LEAVING}: {leaves}" if leaves else "200 OK"
                client.sendall(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked


_KNOWN_S = 1.0


@pytest.mark.parametrize(
    ("answers", "status", "by"),
    [
        ([(0.0, "a"), (_KNOWN_S, "b"), (0.0, "b"), (0.0, "")], 200, ["a", "b", "b", ""]),
        ([(0.0, "a"), (_KNOWN_S, "a"), (0.0, "")], 503, ["a", "a"]),
    ],
    ids=["another that leaves", "the same one still"],
)
def test_what_is_late_is_not_lost_where_it_was_held_for_long_and_then_came_to_another_that_leaves(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[float, str]], status: int, by: list[str]
) -> None:
    monkeypatch.setattr(user_port, "_KNOWN_WITHIN_S", _KNOWN_S)
    with gateway(*answers) as (port, asked), relayed_to(1, elsewhere=port) as relay:
        relay.desk.take(Leave(now=time.monotonic()))
        relay.desk.take(EngineEnded())
        assert answered(relay.port, b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")[0] == status
        assert asked == by
