"""What a Broker's dead letter says of a subscriber that ends the connection without an answer: Go's words."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.sending import Sender

EVENT = Event(source="/s", id="1", type="t", content_type="text/plain", content=b"hello")


class _Nowhere:
    def of(self, host: str) -> None:
        """No name is known: it is dialed as it is."""


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """A subscriber that reads an event and then does as it is told; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serves(then: Callable[[socket.socket], None]) -> str:
        def serve() -> None:
            client, _ = listening.accept()
            with client:
                heard = b""
                while not heard.endswith(EVENT.content):
                    heard += client.recv(4096)
                then(client)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield serves
    for each in threads:
        each.join(10)
    listening.close()


def _resets(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _begins_and_resets(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
    _resets(client)


@pytest.mark.parametrize("then", [_resets, _begins_and_resets], ids=["at once", "in its answer"])
def test_a_reset_is_told_as_such(
    served: Callable[[Callable[[socket.socket], None]], str], then: Callable[[socket.socket], None]
) -> None:
    answered = Sender(_Nowhere()).to_subscriber(served(then), EVENT, (), 10.0)
    assert re.fullmatch(r"read tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: read: connection reset by peer", answered.why), (
        answered.why
    )


def test_an_end_without_an_answer_is_the_end_of_a_file(
    served: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    assert Sender(_Nowhere()).to_subscriber(served(lambda _: None), EVENT, (), 10.0).why == "EOF"


def test_a_port_where_nobody_listens_is_a_dial_that_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answered = Sender(_Nowhere()).to_subscriber(f"http://127.0.0.1:{port}/", EVENT, (), 10.0)
    assert answered.why == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
