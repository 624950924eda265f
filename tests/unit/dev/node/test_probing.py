"""What a probe is answered, in the kubelet's words."""

import errno
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from knative_mig.adapters.certificates import SERVER, SERVER_KEY, after
from knative_mig.core.admission.renewal import Step
from knative_mig.dev.node import container
from knative_mig.dev.node.container import Command
from knative_mig.dev.node.pod_spec import Check, Exec, HttpGet, NoPort, TcpSocket
from knative_mig.dev.node.probing import Result, ask


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(f"asked by {self.headers['User-Agent']} {self.headers['X-Own']}".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: pytest's output is for the tests."""


@contextmanager
def served(certificate: Path | None = None) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asked(check: Check, timeout_s: float = 10.0) -> Result:
    return ask(check, "127.0.0.1", timeout_s, lambda argv: Command(argv=argv, cwd=Path("/")))


@pytest.mark.parametrize(("code", "well"), [(200, True), (204, True), (302, True), (404, False), (503, False)])
def test_by_http_what_is_no_error_is_well(code: int, *, well: bool) -> None:
    with served() as port:
        found = asked(HttpGet(port=port, path=f"/{code}", headers=(("X-Own", "header"),)))
    assert found.succeeded is well
    assert found.output == (
        ""
        if code == 204
        else "asked by kube-probe/1.36 header"
        if well
        else f"HTTP probe failed with statuscode: {code}"
    )


def test_of_a_certificate_nothing_is_asked(tmp_path: Path) -> None:
    names = ["somebody.else"]
    files = after(Step.SIGN, after(Step.NEW_AUTHORITY, {}, names, 0.0), names, 0.0)
    (tmp_path / "both").write_bytes(files[SERVER] + files[SERVER_KEY])
    with served(tmp_path / "both") as port:
        assert asked(HttpGet(port=port, path="/200", https=True)).succeeded
        assert not asked(HttpGet(port=port, path="/200")).succeeded


def test_nobody_there_and_nobody_who_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        assert asked(TcpSocket(port=port)) == Result(succeeded=True)
        assert "context deadline exceeded" in asked(HttpGet(port=port), 0.05).output
    gone = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert asked(TcpSocket(port=port)) == Result(succeeded=False, output=gone)
    assert asked(HttpGet(port=port)) == Result(succeeded=False, output=f'Get "http://127.0.0.1:{port}/": {gone}')


def test_by_a_command_what_ends_well_is_well() -> None:
    assert asked(Exec(argv=(sys.executable, "-c", "print('fine')"))) == Result(succeeded=True, output="fine\n")
    assert not asked(Exec(argv=("/bin/sh", "-c", "exit 1"))).succeeded
    assert "no such file" in asked(Exec(argv=("/nowhere",))).output
    late = asked(Exec(argv=("/bin/sh", "-c", "sleep 600")), 0.05)
    assert late.output == 'command timed out: "/bin/sh -c sleep 600" timed out after 0.05s'


def test_a_command_for_which_there_is_no_process_to_be_had_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_SHIM", ("/no/such/shim",))
    found = asked(Exec(argv=("true",)))
    assert found == Result(
        succeeded=False, output='unable to start container process: exec: "true": no such file or directory'
    )


@pytest.mark.parametrize(
    "check",
    [TcpSocket(port=1), HttpGet(port=1), Exec(argv=("/bin/true",))],
    ids=["a connection", "HTTP", "a command"],
)
def test_where_there_is_no_file_to_ask_by_nobody_was_asked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", no_file)
    monkeypatch.setattr(subprocess, "Popen", no_file)
    found = asked(check)
    assert (found.succeeded, found.was_asked) == (False, False)


def test_a_port_of_no_such_name_is_told() -> None:
    def no_command(argv: tuple[str, ...]) -> Command:
        raise AssertionError(argv)

    assert ask(NoPort(name="web"), "127.0.0.1", 1.0, no_command) == Result(succeeded=False, output="port web not found")
