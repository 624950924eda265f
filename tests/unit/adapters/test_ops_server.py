"""Probes and metrics answer on a port of their own, over real sockets."""

import errno
import logging
import socket
import socketserver
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter

from knative_mig.adapters.ops_server import MOST_CONNECTIONS, OpsServer, WhyNot


@contextmanager
def served(unhealthy: WhyNot = lambda: "", unready: WhyNot = lambda: "") -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("boiled_eggs_total", "Eggs.", registry=registry).inc(3)
    server = OpsServer("127.0.0.1", 0, registry, unhealthy=unhealthy, unready=unready)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  the URL is this test's own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_a_process_that_is_well_says_ok_and_its_counters() -> None:
    with served() as url:
        assert get(f"{url}/healthz") == (200, "ok\n")
        assert get(f"{url}/readyz?verbose") == (200, "ok\n")
        status, text = get(f"{url}/metrics")
        assert (status, "boiled_eggs_total 3.0" in text) == (200, True)


def test_a_probe_says_why_not() -> None:
    with served(unready=lambda: "the GPUs have not been read yet") as url:
        assert get(f"{url}/healthz") == (200, "ok\n")
        assert get(f"{url}/readyz") == (503, "the GPUs have not been read yet\n")


def test_a_probe_that_fails_is_an_answer() -> None:
    def broken() -> str:
        raise RuntimeError("no idea")

    with served(unhealthy=broken) as url:
        assert get(f"{url}/healthz") == (503, "the probe failed: no idea\n")


def test_a_probe_that_hangs_up_before_its_answer_is_no_error(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = threading.Event()

    def slow() -> str:
        gone.wait(60)
        return "x" * 10_000_000  # more than a socket keeps for a client that does not read

    caplog.set_level(logging.DEBUG)
    with served(unready=slow) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        client = socket.create_connection((host, int(port)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        client.close()
        gone.set()
        deadline = time.monotonic() + 60
        while "hung up" not in caplog.text and time.monotonic() < deadline:
            assert get(f"{url}/healthz") == (200, "ok\n")
    assert "hung up" in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_anything_else_is_not_here() -> None:
    with served() as url:
        assert get(f"{url}/secrets")[0] == 404


def test_only_reading_is_offered() -> None:
    with served() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 60) as client:
            client.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


def test_probes_are_answered_whoever_holds_connections_open() -> None:
    with served() as url, ExitStack() as idle:
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(MOST_CONNECTIONS):
            idle.enter_context(socket.create_connection((host, int(port)), 60))
        for _ in range(3):
            assert get(f"{url}/healthz") == (200, "ok\n")


def test_where_no_file_is_left_for_a_connection_it_is_not_asked_for_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_file(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    slept: list[float] = []
    monkeypatch.setattr(socketserver.TCPServer, "get_request", no_file)
    server = OpsServer("127.0.0.1", 0, CollectorRegistry(), unhealthy=lambda: "", unready=lambda: "")
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", slept.append)
        with pytest.raises(OSError, match="Too many"):
            server.get_request()
    server.server_close()
    assert slept == [0.1]
