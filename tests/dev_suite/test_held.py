"""A thousand requests to a function at zero are held, and each is answered, in turn where files are few."""

import contextlib
import http.client
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.function import Function
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.own import OPTIONS, client_of, function_of
from tests.dev_suite.running import At, interrupted, refused, started

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
    assert _asked_at_once(handle("held"), dev.port) == {200: _REQUESTS}


def test_they_are_where_a_process_may_have_1024_files_and_its_user_is_told(home: Path, files: None) -> None:
    with started(*OPTIONS, files=1024) as dev:
        client_of(dev, "kn", home)("service", "create", "held", *QUICK, "--timeout", "300", "--scale-init", "0")
        held = function_of(dev, "held")
        assert _asked_at_once(held, dev.port) == {200: _REQUESTS}
        dev.hear("a process may have 1024 files open here (ulimit -n)")
        dev.hear("there are enough files again")

        # Whoever takes them, none is missing to the node for long.
        with contextlib.ExitStack() as connections:
            for _ in range(_REQUESTS):
                connections.enter_context(socket.create_connection(("127.0.0.1", int(dev.api.rpartition(":")[2]))))
            dev.hear("a process may have 1024 files open here (ulimit -n)", times=2)
        dev.hear("there are enough files again", times=2)
        assert held.ask().text == "hello\n"
        assert "ending" not in dev.said
        assert interrupted(dev) == 0


@pytest.mark.parametrize("files", [32, 64, 100])
def test_a_dev_that_may_have_too_few_files_says_so_at_once(files: int) -> None:
    said = refused(files=files).splitlines()
    assert len(said) == 1
    assert f"a process may have {files} files open here (ulimit -Hn)" in said[0]


def _asked_at_once(function: Function, port: int) -> Counter[int]:
    """How many had which status."""
    request = f"GET / HTTP/1.1\r\nHost: {function.host}\r\n\r\n".encode()
    with contextlib.ExitStack() as connections:
        asked = []
        for _ in range(_REQUESTS):
            one = connections.enter_context(socket.create_connection(("127.0.0.1", port), timeout=250))
            one.sendall(request)
            asked.append(one)
        return Counter(_status(each) for each in asked)


def _status(connection: socket.socket) -> int:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status
