"""What the planner asks of a relay, over the wire: of a real one, and of whatever else may listen on its port."""

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters.kube.kinds import POD, SECRET
from knative_mig.adapters.kube.relay_secrets import KubeRelaySecrets
from knative_mig.adapters.relay_calls import RelayCalls
from knative_mig.ports.kube import Key
from knative_mig.ports.relays import HandedOver, NotHandedOver, PodAt
from tests.fake_api import FakeApi
from tests.rigs.kept_ports import kept_ports
from tests.rigs.relay_processes import SECRET as KNOWN
from tests.rigs.relay_processes import Reader, RelayProcess, slowly, until
from tests.rigs.tiny_server import PATIENCE_S, asks

OLD, NEW = (PodAt(key=Key("team", name), uid=f"uid-{name}") for name in ("old", "new"))
OLD_IP, NEW_IP = "127.0.0.1", "127.0.0.2"
EMPTY = b'{"generations": []}'


@pytest.fixture(name="api")
def _api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        assert KubeRelaySecrets(api.client()).ensure("team")
        put_pod(api, "old", OLD_IP)
        put_pod(api, "new", NEW_IP)
        yield api


def put_pod(
    api: FakeApi, name: str, address: str, uid: str = "", *, phase: str = "Running", of_its_node: bool = False
) -> None:
    about = {"namespace": "team", "name": name, "uid": uid or f"uid-{name}"}
    spec = {"hostNetwork": True} if of_its_node else {}
    status = {"phase": phase, "podIP": address} if address else {"phase": phase}
    api.put_object({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec, "status": status})


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Listener:
    """Says one thing to whoever comes, and then hangs up, or not."""

    def __init__(self, says: bytes, *, hangs: bool = False) -> None:
        self.heard = b""
        self._says, self._hangs = says, hangs
        self._over = threading.Event()
        self._socket = socket.create_server((OLD_IP, 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            while b'"}' not in self.heard:
                self.heard += connection.recv(4096)
            try:
                connection.sendall(self._says)
            except OSError:
                return  # it has had enough
            if self._hangs:
                self._over.wait(PATIENCE_S)

    def end(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)
        self._socket.close()


def called(api: FakeApi, says: bytes, *, hangs: bool = False, within_s: float = 30.0) -> tuple[Any, bytes]:
    listener = Listener(says, hangs=hangs)
    try:
        return RelayCalls(api.client(), within_s=within_s, port=listener.port).hand_over(
            OLD, NEW, is_wanted=lambda: True
        ), listener.heard
    finally:
        listener.end()


def test_a_relay_is_asked_with_its_namespaces_secret_for_the_new_pods_relay(api: FakeApi) -> None:
    told = b'{"generations": [{"moved": true, "why": ""}, {"moved": false, "why": "it is over"}]}'
    outcome, heard = called(api, ok(told))
    assert outcome == HandedOver(moved=1, stay=("'it is over'",))
    assert heard.startswith(b"POST /migrate HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {KubeRelaySecrets(api.client()).read('team')}\r\n".encode() in heard
    assert b'{"to": "http://127.0.0.2:' in heard


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "in no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "in no HTTP"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno\n", "answers 401: 'no'"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere\r\n\r\n", "answers 302"),
        (ok(b"[]"), "does not say what became"),
        (ok(b'{"generations": [{"moved": true}]}'), "does not say what became"),
        (ok(b"{"), "does not say what became"),
        (ok(b"[" * 100_000), "does not say what became"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "in no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000, "has no end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", "in no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 30 + b"\r\n", "in no HTTP"),
    ],
    ids=[
        "nothing", "no HTTP", "no", "elsewhere", "a list", "half", "broken", "nested", "cut off", "without an end",
        "longer than can be counted", "a piece that is",
    ],
)  # fmt: skip
def test_whatever_else_it_answers_is_told_and_nothing_more(api: FakeApi, says: bytes, why: str) -> None:
    outcome, _ = called(api, says)
    assert isinstance(outcome, NotHandedOver)
    assert outcome.has_relay
    assert why in outcome.why
    assert len(outcome.why) < 200


def test_one_that_says_back_what_it_hears_has_no_secret_told_in_events_and_logs(api: FakeApi) -> None:
    secret = KubeRelaySecrets(api.client()).read("team").encode()
    for says in (b"HTTP/1.1 404 Not Found\r\n\r\nBearer %b", ok(b'{"generations": [{"moved": false, "why": "%b"}]}')):
        outcome, _ = called(api, says.replace(b"%b", secret))
        assert isinstance(outcome, NotHandedOver)
        assert secret.decode()[:8] not in outcome.why


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_one_that_never_comes_to_an_end_has_its_time(api: FakeApi, says: bytes) -> None:
    outcome, _ = called(api, says, hangs=True, within_s=0.2)
    assert isinstance(outcome, NotHandedOver)
    assert outcome.has_relay


def test_one_that_says_nothing_is_left_when_nobody_wants_its_answer_any_more(api: FakeApi) -> None:
    listener = Listener(b"", hangs=True)
    try:
        calls = RelayCalls(api.client(), within_s=PATIENCE_S, port=listener.port)
        outcome = calls.hand_over(OLD, NEW, is_wanted=lambda: not listener.heard)
    finally:
        listener.end()
    assert outcome == NotHandedOver(why="its relay gives no answer: nobody waits for it any more", has_relay=True)


@pytest.mark.parametrize("pod", ["old", "new"])
@pytest.mark.parametrize("what", ["it has ended", "it has failed", "it shares its node's"])
def test_an_address_that_may_be_a_strangers_is_told_no_secret(api: FakeApi, pod: str, what: str) -> None:
    """A pod that is over keeps its address in its status, while the network gives it to the next pod, of anybody."""
    listener = Listener(ok(EMPTY))
    phase = {"it has ended": "Succeeded", "it has failed": "Failed"}.get(what, "Running")
    address = OLD_IP if pod == "old" else NEW_IP
    put_pod(api, pod, address, phase=phase, of_its_node=what == "it shares its node's")
    try:
        outcome = RelayCalls(api.client(), within_s=30.0, port=listener.port).hand_over(
            OLD, NEW, is_wanted=lambda: True
        )
        with socket.create_connection((OLD_IP, listener.port)) as first_who_comes:
            first_who_comes.sendall(b'"}')
    finally:
        listener.end()
    assert listener.heard == b'"}'
    assert isinstance(outcome, NotHandedOver)
    assert not outcome.has_relay


@pytest.mark.parametrize("what", ["nobody", "no secret", "gone", "another", "no address"])
def test_a_pod_without_a_relay_is_passed_over(api: FakeApi, what: str) -> None:
    match what:
        case "no secret":
            api.remove_object(SECRET, Key("team", "knative-mig-relay"))
        case "gone":
            api.remove_object(POD, OLD.key)
        case "another":
            api.remove_object(POD, NEW.key)
            put_pod(api, "new", NEW_IP, uid="uid-of-a-successor")
        case "no address":
            put_pod(api, "new", "")
        case _:
            pass
    with kept_ports(1) as (port,):
        outcome = RelayCalls(api.client(), within_s=30.0, port=port).hand_over(OLD, NEW, is_wanted=lambda: True)
    assert isinstance(outcome, NotHandedOver)
    assert not outcome.has_relay


def test_a_real_relays_generation_goes_on_in_the_new_pod(api: FakeApi, tmp_path: Path) -> None:
    made = api.objects(SECRET)[0]
    api.remove_object(SECRET, Key("team", "knative-mig-relay"))
    data = {"secret": base64.b64encode(KNOWN.encode()).decode()}
    api.put_object({**made, "data": data})
    with kept_ports(1) as (port,):
        started = [RelayProcess(tmp_path, "--host", each, "--move-port", str(port)) for each in (OLD_IP, NEW_IP)]
        try:
            for each in started:
                each.wait_until_ready()
            long = asks(max_tokens=300, temperature=1.0, prompt="Once upon a time " * 9)
            whole = Reader(started[0].port, "/v1/completions", long).read_all()
            with slowly(tmp_path):
                reader = Reader(started[0].port, "/v1/completions", long)
                reader.read_until(40)
                assert RelayCalls(api.client(), within_s=60.0, port=port).hand_over(
                    OLD, NEW, is_wanted=lambda: True
                ) == HandedOver(moved=1)
            assert reader.read_all().is_done
            assert reader.told == whole.told
            until(lambda: not started[0].engine_lives, "the end of its engine")
        finally:
            for each in started:
                each.end()
