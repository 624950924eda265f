"""How long a generation waits for a target that lives and says nothing: over sockets, in as long as a test waits."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

import pytest

from services.relay import conversation as waits
from services.relay.client_end import ClientEnd
from services.relay.conversation import Asked, Conversation, Order
from services.relay.dialling import Dialled
from services.relay.engine_call import Address
from services.relay.resumable import TINY_LLM, Verdict
from services.relay.source_words import Moved, NotMoved
from tests.rigs.tiny_server import PATIENCE_S

COMPLETIONS: Final = "/v1/completions"
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def chunk(token: int) -> str:
    choice = {"index": 0, "text": f"t{token}", "finish_reason": None, "token_ids": [token]}
    return json.dumps({"id": "x", "created": 1, "model": "m", "choices": [choice]})


class Engine:
    """It says a token when it is told to."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connection: socket.socket | None = None

    def say(self, *tokens: int) -> None:
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self._connection.sendall(HEAD)
        self._connection.sendall("".join(f"data: {chunk(token)}\n\n" for token in tokens).encode())

    def end(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


class Target:
    """A relay that says what it is told to, on a link that is not dialled."""

    def __init__(self) -> None:
        here, self.link = socket.socketpair()
        self.link.settimeout(PATIENCE_S)
        self._lines = self.link.makefile("rb")
        self.order = Order(dialled=Dialled(link=here))

    def hear(self, name: str) -> Any:
        for line in self._lines:
            if name in (said := json.loads(line)):
                return said[name]
        raise ConnectionResetError(f"it hung up before {name}")

    def say(self, name: str, **fields: Any) -> None:
        self.link.sendall(json.dumps({name: fields}).encode() + b"\n")

    def warm_up(self) -> int:
        """The place that it is to go on from."""
        tokens = self.hear("tokens")
        self.say("warm", count=tokens["at"] + len(tokens["ids"]))
        go = self.hear("go")
        return int(go["at"] + len(go["ids"]))

    def said(self, at: int, *ids: int) -> None:
        self.say("said", at=at, ids=ids, chunks=[chunk(each) for each in ids], last=False, whole=True)

    def close(self) -> None:
        """The other end is the relay's to close."""
        self._lines.close()
        self.link.close()

    @property
    def report(self) -> Moved | NotMoved:
        return self.order.reports.get(timeout=PATIENCE_S)


def _read(client: socket.socket, into: "SimpleQueue[bytes]") -> None:
    while data := client.recv(65536):
        into.put(data)


def _needs_engine(*, need: bool) -> None:
    del need


@contextmanager
def a_generation() -> Iterator[tuple[Conversation, Engine, SimpleQueue[bytes]]]:
    """With what its client reads, piece by piece."""
    read: SimpleQueue[bytes] = SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server, client = socket.socketpair()
        host, port = listener.getsockname()
        conversation = Conversation(
            Asked(path=COMPLETIONS, body={"max_tokens": 99}, headers=(), verdict=Verdict(repeats=True)),
            ClientEnd(server, chunked=False, keeps=False),
            engine=Address(host=host, port=port),
            traits=TINY_LLM,
            elsewhere=None,
            needs_engine=_needs_engine,
        )
        threads = [
            threading.Thread(target=conversation.run),
            threading.Thread(target=_read, args=(client, read)),
        ]
        engine = Engine(listener)
        for thread in threads:
            thread.start()
        try:
            yield conversation, engine, read
        finally:
            client.shutdown(socket.SHUT_WR)
            threads[0].join(PATIENCE_S)
            server.close()
            threads[1].join(PATIENCE_S)
            client.close()
            engine.end()


def until_read(read: "SimpleQueue[bytes]", wanted: bytes) -> None:
    data = b""
    while wanted not in data:
        try:
            data += read.get(timeout=PATIENCE_S)
        except Empty:
            raise AssertionError(f"{wanted!r} never came: {data!r}") from None


def test_a_target_that_never_gets_warm_is_left_and_another_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "_BEGINS_WITHIN_S", 0.2)
    with a_generation() as (conversation, engine, read):
        engine.say(0)
        until_read(read, b"t0")
        with closing(Target()) as hangs, closing(Target()) as other:
            conversation.move(hangs.order)
            assert hangs.report == NotMoved(why="the target: it said nothing for 0.2 s")
            conversation.move(other.order)
            assert other.hear("open")["path"] == COMPLETIONS


def test_what_a_mover_waits_for_no_longer_is_withdrawn_and_another_one_tried() -> None:
    with a_generation() as (conversation, engine, read):
        engine.say(0)
        until_read(read, b"t0")
        with closing(Target()) as slow, closing(Target()) as other:
            conversation.move(slow.order)
            slow.hear("tokens")
            conversation.withdraw(slow.order, "slow")
            assert slow.report == NotMoved(why="slow")
            slow.hear("leave")
            conversation.withdraw(slow.order, "late")
            conversation.move(other.order)
            assert other.hear("open")["path"] == COMPLETIONS


def test_empty_words_do_not_keep_a_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "_SAYS_WITHIN_S", 2.5)
    with a_generation() as (conversation, engine, read):
        engine.say(0)
        until_read(read, b"t0")
        with closing(Target()) as target:
            conversation.move(target.order)
            assert target.warm_up() == 1
            engine.say(1, 2, 3, 4)
            target.said(1, 1, 2, 3, 4)
            assert target.report == Moved()
            engine.end()
            until_read(read, b"t4")
            with suppress(OSError):  # it is hung up on
                for _ in range(9):
                    target.said(5)
                    target.hear("alive")
                raise AssertionError("it is listened to for ever")
            until_read(read, b"broke off")


def test_an_own_engine_that_hangs_is_not_waited_for_by_a_target_that_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "_QUIET_FOR_S", 0.2)
    with a_generation() as (conversation, engine, read):
        engine.say(0, 1, 2, 3, 4, 5)
        until_read(read, b"t5")
        with closing(Target()) as target:
            conversation.move(target.order)
            assert target.warm_up() == 6
            target.said(6, 6)
            assert target.hear("go") == {"at": 2, "ids": []}
            target.said(2, 2, 3, 4, 5)
            target.said(6, 6)
            until_read(read, b"t6")
            assert target.report == Moved()
