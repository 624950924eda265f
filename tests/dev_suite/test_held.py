"""A thousand requests to a function at zero are held, and each is answered."""

import contextlib
import http.client
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.function import Function
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.running import At

_REQUESTS = 1000


@pytest.fixture
def files() -> Iterator[None]:
    """As many as this process may have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.long
def test_a_thousand_requests_are_held_and_answered(
    kn: Client, handle: Callable[[str], Function], dev: At, files: None
) -> None:
    kn("service", "create", "held", *QUICK, "--timeout", "300", "--scale-init", "0")
    held = handle("held")
    request = f"GET / HTTP/1.1\r\nHost: {held.host}\r\n\r\n".encode()
    with contextlib.ExitStack() as connections:
        asked = []
        for _ in range(_REQUESTS):
            one = connections.enter_context(socket.create_connection(("127.0.0.1", dev.port), timeout=250))
            one.sendall(request)
            asked.append(one)
        assert Counter(_status(each) for each in asked) == {200: _REQUESTS}


def _status(connection: socket.socket) -> int:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status
