"""`python -m services.relay` before the tiny model: a stream that moves between two, and who may die meanwhile."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.tiny_llm import safetensors
from tests.rigs.kept_ports import kept_ports
from tests.rigs.relay_processes import SECRET, Reader, RelayProcess, asked, relays, slowly, until
from tests.rigs.tiny_models import SMALL, random_parameters
from tests.rigs.tiny_server import PATIENCE_S, asks, chats, served

COMPLETIONS = "/v1/completions"
LONG = asks(max_tokens=300, temperature=1.0, prompt="Once upon a time " * 9)
OPEN = (
    b'{"open": {"version": 3, "model": "", "path": "/v1/completions", "body": {"model": "tiny-llm", "stream": true}}}\n'
)
CHAT = chats(max_tokens=300, temperature=1.0, ignore_eos=True, stream_options={"include_usage": True})

ENGINE_THAT_LEAVES_ITS_NUMBER = """
import os, pathlib, socket, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
time.sleep(600)
"""


@contextmanager
def agent_in(folder: Path) -> Iterator[list[bytes]]:
    """A node agent that sees a process still once, and then takes the slice back."""
    heard: list[bytes] = []
    answers = [b'{"error": "process 7 is still there"}\n', b'{"released": true}\n']

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                heard.append(lines.readline())
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "agent.sock"))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        thread.join(PATIENCE_S)


def unmoved(relay: RelayProcess, path: str, body: dict[str, Any]) -> list[Any]:
    whole = Reader(relay.port, path, body).read_all()
    assert whole.is_done
    return whole.told


def moving(source: RelayProcess, target: RelayProcess) -> "tuple[threading.Thread, list[Any]]":
    """A move that is under way: its answer will be in the list."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(source.migrate(target)))
    thread.start()
    until(lambda: any(each["output_tokens"] for each in target.generations()), "the first that is on its way")
    return thread, answers


def test_streams_are_moved_in_their_middle_and_their_clients_read_what_they_would_have(tmp_path: Path) -> None:
    slice_dir = tmp_path / "slice"
    slice_dir.mkdir()
    with relays(tmp_path, 2, "--slice-dir", str(slice_dir)) as (source, target), agent_in(slice_dir) as agent_heard:
        wholes = [unmoved(target, COMPLETIONS, LONG), unmoved(target, "/v1/chat/completions", CHAT)]
        with slowly(tmp_path):
            readers = [Reader(source.port, COMPLETIONS, LONG), Reader(source.port, "/v1/chat/completions", CHAT)]
            for reader in readers:
                reader.read_until(40)
            status, answer = source.migrate(target)
            assert status == 200
            assert [each["moved"] for each in answer["generations"]] == [True, True]
            until(lambda: len(agent_heard) == 2, "the slice's release, asked for until it is granted")
            assert set(agent_heard) == {b'{"release": true}\n'}
            assert not source.engine_lives
            assert any(not reader.is_done for reader in readers), "the relay streams on without its slice"
            assert source.ask("GET", "/health")[0] == 503, "and takes nothing new"
        for reader, whole in zip(readers, wholes, strict=True):
            assert reader.read_all().is_done
            assert reader.told == whole
            assert len(reader.identities) == 1
        assert source.process.poll() is None, "the pod is ended by who deletes it"


def test_in_a_pod_that_is_deleted_the_engine_ends_with_its_last_request_and_what_is_late_goes_elsewhere(
    tmp_path: Path,
) -> None:
    slice_dir = tmp_path / "slice"
    slice_dir.mkdir()
    with (
        served(tmp_path, model="the third's") as third,
        relays(tmp_path, 1, "--slice-dir", str(slice_dir), function_url=f"http://127.0.0.1:{third.http.port}") as (
            relay,
        ),
        agent_in(slice_dir) as agent_heard,
    ):
        late = asks(model="the third's")
        whole = unmoved(relay, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(40)
            (slice_dir / "deleted").touch()
            until(lambda: relay.ask("POST", COMPLETIONS, late)[0] == 200, "an answer of the other replica")
            assert relay.running() == 1, "of its own engine it tells itself"
            assert not reader.is_done
            assert not agent_heard
        assert reader.read_all().told == whole
        until(lambda: len(agent_heard) == 2, "the slice's release, asked for until it is granted")
        assert not relay.engine_lives
        assert relay.ask("POST", COMPLETIONS, late)[1]["usage"]["completion_tokens"] == 8
        assert relay.ask("GET", "/metrics")[0] == 503
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(PATIENCE_S) == 0


@contextmanager
def router(*routes: int) -> Iterator[tuple[str, list[int]]]:
    """A function's URL, and where it has sent: to a port for each request, in turn."""
    sent: list[int] = []

    def serve() -> None:
        for port in routes:
            client, _ = listener.accept()
            sent.append(port)
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(client.recv(65536))
                while data := server.recv(65536):
                    client.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        thread.join(PATIENCE_S)


def test_what_is_late_is_not_lost_where_who_routes_knows_later_than_the_pod_that_it_was_deleted(tmp_path: Path) -> None:
    slice_dir = tmp_path / "slice"
    slice_dir.mkdir()
    with (
        kept_ports(1) as (port,),
        served(tmp_path) as third,
        router(port, port, third.http.port) as (url, sent),
        relays(tmp_path, 1, "--slice-dir", str(slice_dir), "--port", str(port), function_url=url) as (relay,),
        agent_in(slice_dir) as agent_heard,
    ):
        (slice_dir / "deleted").touch()
        until(lambda: len(agent_heard) == 2, "the slice's release")
        assert relay.ask("POST", COMPLETIONS, asks())[0] == 200
        assert sent == [port, port, third.http.port]


def test_an_idle_pod_that_is_deleted_gives_its_slice_back_at_once(tmp_path: Path) -> None:
    slice_dir = tmp_path / "slice"
    slice_dir.mkdir()
    with relays(tmp_path, 1, "--slice-dir", str(slice_dir)) as (relay,), agent_in(slice_dir) as agent_heard:
        (slice_dir / "deleted").touch()
        until(lambda: len(agent_heard) == 2, "the slice's release")
        assert relay.ask("GET", "/health")[0] == 503, "it knows of no other replica"
        assert relay.process.poll() is None, "the kubelet ends it"


def test_a_target_that_stands_still_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target), slowly(tmp_path):
        reader = Reader(source.port, COMPLETIONS, LONG)
        reader.read_until(5)
        target.process.send_signal(signal.SIGSTOP)
        goes_on = threading.Timer(2.5, target.process.send_signal, [signal.SIGCONT])
        goes_on.start()
        status, answer = source.migrate(target)
        goes_on.join()
        assert (status, answer["generations"][0]["moved"]) == (200, True)
        reader.hang_up()


def test_a_source_whose_engine_dies_before_the_target_is_ready_is_gone_on_from_there(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target):
        whole = unmoved(target, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(40)
            target.signal_engine(signal.SIGSTOP)
            thread, answers = moving(source, target)
            reader.read_until(60)
            source.signal_engine(signal.SIGKILL)
            until(lambda: not source.engine_lives, "its end")
            assert not reader.is_done
            target.signal_engine(signal.SIGCONT)
        assert reader.read_all().is_done
        assert reader.told == whole
        thread.join(PATIENCE_S)
        ((status, answer),) = answers
        assert (status, answer["generations"][0]["moved"]) == (200, True)


def test_a_source_relay_that_dies_leaves_a_broken_stream_and_nobody_at_work(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target), slowly(tmp_path):
        reader = Reader(source.port, COMPLETIONS, LONG)
        reader.read_until(40)
        assert source.migrate(target)[0] == 200
        source.kill()
        reader.read_all()
        assert not reader.is_done
        until(lambda: target.running() == 0, "an idle target")


def test_whoever_asks_a_second_time_while_a_move_is_under_way_hears_what_became_of_it(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target):
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(40)
            target.signal_engine(signal.SIGSTOP)
            first, answers = moving(source, target)
            reader.read_until(60)
            second, others = moving(source, target)
            reader.read_until(120)
            target.signal_engine(signal.SIGCONT)
            for thread in (first, second):
                thread.join(PATIENCE_S)
        for status, answer in (*answers, *others):
            assert (status, [each["moved"] for each in answer["generations"]]) == (200, [True]), answer
        assert len(answers + others) == 2
        assert reader.read_all().is_done, reader.chunks[-1]


def test_a_target_that_dies_before_it_has_begun_costs_nothing(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target):
        whole = unmoved(source, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(40)
            target.signal_engine(signal.SIGSTOP)
            thread, answers = moving(source, target)
            reader.read_until(60)
            target.kill()
        assert reader.read_all().is_done
        assert reader.told == whole
        thread.join(PATIENCE_S)
        ((status, answer),) = answers
        assert status == 200
        assert not answer["generations"][0]["moved"]
        until(lambda: not source.engine_lives, "the end of an engine that nobody needs: its replica was to leave")


@pytest.mark.parametrize("knows_the_function", [True, False])
def test_a_target_that_dies_later_is_gone_on_from_by_any_replica_or_said_to_have_broken_off(
    tmp_path: Path, *, knows_the_function: bool
) -> None:
    with served(tmp_path) as third:
        url = f"http://127.0.0.1:{third.http.port}" if knows_the_function else ""
        with relays(tmp_path, function_url=url) as (source, target):
            whole = unmoved(target, COMPLETIONS, LONG)
            with slowly(tmp_path):
                reader = Reader(source.port, COMPLETIONS, LONG)
                reader.read_until(40)
                assert source.migrate(target)[1]["generations"][0]["moved"]
                until(lambda: not source.engine_lives, "the engine's end")
                # What is late goes to the function's URL.
                assert source.ask("POST", COMPLETIONS, asks())[0] == (200 if knows_the_function else 503)
                assert source.ask("GET", "/health")[0] == 503
                target.kill()
            reader.read_all()
            if knows_the_function:
                assert reader.is_done
                assert reader.told == whole
                assert len(reader.identities) == 1
            else:
                assert not reader.is_done
                assert reader.error
                assert reader.told == whole[: len(reader.told)]


def test_a_client_that_hangs_up_while_its_stream_moves_leaves_nobody_at_work(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target), slowly(tmp_path):
        reader = Reader(source.port, COMPLETIONS, LONG)
        reader.read_until(40)
        target.signal_engine(signal.SIGSTOP)
        thread, answers = moving(source, target)
        reader.read_until(60)
        reader.hang_up()
        thread.join(PATIENCE_S)
        assert answers[0][1]["generations"][0]["why"] == "it is over"
        target.signal_engine(signal.SIGCONT)
        until(lambda: target.running() == 0, "an idle target")
        until(lambda: not source.engine_lives, "the end of an engine that nobody needs")


def test_a_client_that_hangs_up_while_no_token_comes_is_noticed(tmp_path: Path) -> None:
    with relays(tmp_path, 1) as (relay,), slowly(tmp_path):
        reader = Reader(relay.port, COMPLETIONS, LONG)
        reader.read_until(5)
        relay.signal_engine(signal.SIGSTOP)
        reader.hang_up()
        until(lambda: relay.generations() == [], "its end")


def test_what_cannot_move_is_finished_where_it_is_and_the_mover_is_told_why(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, target):
        twice = {**LONG, "n": 2, "max_tokens": 150}
        whole = unmoved(target, COMPLETIONS, twice)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, twice)
            reader.read_until(10)
            (told,) = source.migrate(target)[1]["generations"]
            assert not told["moved"]
            assert "several choices" in told["why"]
            assert source.engine_lives
        assert reader.read_all().told == whole
        until(lambda: not source.engine_lives, "the engine's end, when the last has gone")


def test_who_has_no_secret_or_no_target_moves_nothing(tmp_path: Path) -> None:
    with relays(tmp_path, 1) as (relay,):
        nowhere = {"to": "http://127.0.0.1:9"}
        known = {"Authorization": f"Bearer {SECRET}"}
        for path in ("/migrate", "/generations"):
            assert asked(relay.move_port, "POST", path, nowhere)[0] == 401
            assert asked(relay.move_port, "POST", path, nowhere, Authorization="Bearer x")[0] == 401
        assert asked(relay.move_port, "GET", "/generations")[0] == 401
        assert asked(relay.move_port, "POST", "/generations", {}, **known)[0] == 426
        wrongs: tuple[Any, ...] = ({}, [], {"to": 1}, {"to": "https://127.0.0.1:9"}, {"to": "http://x:port"})
        for wrong in wrongs:
            assert asked(relay.move_port, "POST", "/migrate", wrong, **known)[0] == 400
        assert relay.ask("POST", "/migrate", nowhere)[0] == 404, "it is no path of the clients' port"
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(5)
            assert asked(relay.move_port, "POST", "/migrate", nowhere, **known)[0] == 502
            (told,) = asked(relay.move_port, "GET", "/generations", **known)[1]["generations"]
            assert told["output_tokens"] >= 5
            assert told["input_tokens"] == len(LONG["prompt"]) + 1, "its bytes, and a sign that it begins"
            assert relay.ask("GET", "/health")[0] == 200, "it serves on"
        assert reader.read_all().is_done


def test_a_move_to_nowhere_or_to_itself_changes_nothing_of_an_idle_replica(relay: RelayProcess) -> None:
    known = {"Authorization": f"Bearer {SECRET}"}
    with socket.create_server(("127.0.0.1", 0)) as drips:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = drips.accept()
            with connection, suppress(OSError):
                while not stop.wait(0.5):
                    connection.sendall(b"HTTP/1.1 101 Switching Protocols"[:1])

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        for port, why in ((9, "refused"), (relay.move_port, "itself"), (drips.getsockname()[1], "timed out")):
            to = {"to": f"http://127.0.0.1:{port}"}
            status, told = asked(relay.move_port, "POST", "/migrate", to, **known)
            assert status == 502
            assert why in told
        stop.set()
        thread.join(PATIENCE_S)
    assert relay.engine_lives
    assert relay.ask("POST", COMPLETIONS, asks())[0] == 200


def test_a_source_of_another_version_is_told_so(relay: RelayProcess) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Upgrade": "knative-mig-relay/2"}
    status, told = asked(relay.move_port, "POST", "/generations", {}, **headers)
    assert (status, told) == (426, "this is reached by knative-mig-relay/3\n")


def test_a_generation_of_another_model_is_not_gone_on_with(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    safetensors.write(other / "small.safetensors", random_parameters(seed=5), SMALL.metadata())
    with relays(tmp_path, 1) as (source,), relays(other, 1) as (target,):
        whole = unmoved(source, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(40)
            (told,) = source.migrate(target)[1]["generations"]
            assert not told["moved"]
            assert "its model is tiny-llm, fingerprint" in told["why"]
        assert reader.read_all().told == whole


def test_told_to_end_it_takes_nothing_new_and_who_says_that_it_was_sent_on_is_no_exception(tmp_path: Path) -> None:
    with relays(tmp_path, 1) as (relay,):
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(5)
            relay.process.send_signal(signal.SIGTERM)
            until(lambda: relay.ask("GET", "/health")[0] == 503, "that it takes nothing new")
            sent_on = {"Knative-Mig-Sent-On": "1"}
            assert asked(relay.port, "POST", COMPLETIONS, asks(), **sent_on)[0] == 503
            assert not reader.is_done
        assert reader.read_all().is_done
        assert relay.process.wait(PATIENCE_S) == 0


def test_a_port_that_is_taken_ends_the_engine_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = subprocess.run(
            [
                sys.executable, "-m", "services.relay", "--host", "127.0.0.1", "--port", str(taken.getsockname()[1]),
                "--engine", "openai", "--", sys.executable, "-c", ENGINE_THAT_LEAVES_ITS_NUMBER, str(tmp_path / "pid"),
            ],
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    assert process.returncode == 1
    assert "in use" in process.stderr
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_the_second_port_says_how_it_is_asked(relay: RelayProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", relay.move_port, timeout=PATIENCE_S)
    connection.request("DELETE", "/generations")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, POST")
    assert answer.read() == b"this is asked by GET or POST\n"
    connection.close()


@pytest.mark.parametrize(
    "lie",
    [
        b"",
        b"nonsense\n",
        b'{"go": {"at": 3, "ids": []}}\n',
        b'{"warm": {"count": 3}}\n',
        OPEN + b'{"tokens": {"at": 9, "ids": [1]}}\n',
        OPEN + OPEN,
        b'{"open": {"version": 3, "model": "", "path": "/metrics", "body": {}}}\n',
        b"x" * 9_000_000,
    ],
)
def test_a_source_that_lies_is_left_and_nothing_is_left_of_it(relay: RelayProcess, lie: bytes) -> None:
    with socket.create_connection(("127.0.0.1", relay.move_port), timeout=PATIENCE_S) as link:
        link.sendall(
            b"POST /generations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nUpgrade: knative-mig-relay/3\r\n"
            b"Authorization: Bearer " + SECRET.encode() + b"\r\n\r\n"
        )
        assert link.recv(4096).startswith(b"HTTP/1.1 101")
        try:
            link.sendall(lie)
            link.shutdown(socket.SHUT_WR)
            while link.recv(4096):
                pass
        except OSError:
            pass  # it had hung up by then
    until(lambda: relay.generations() == [], "that nothing is left")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    with relays(tmp_path_factory.mktemp("relay"), 1) as (relay,):
        yield relay


def test_anything_else_is_passed_on_as_it_is(relay: RelayProcess) -> None:
    assert relay.ask("GET", "/v1/models")[1]["data"][0]["id"] == "tiny-llm"
    assert relay.ask("HEAD", "/health") == (200, "")
    assert relay.ask("GET", "/nowhere")[0] == 404
    assert relay.ask("POST", COMPLETIONS, asks())[1]["usage"]["completion_tokens"] == 8
    status, error = relay.ask("POST", COMPLETIONS, asks(model="other", stream=True))
    assert (status, error["error"]["code"]) == (404, "model_not_found")
    assert relay.ask("POST", COMPLETIONS, [])[0] == 400


def test_where_no_secret_was_made_nothing_moves_and_all_else_is_served(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "services.relay", "--host", "127.0.0.1", "--port", "0", "--secret-file",
            str(tmp_path / "none"), "--", sys.executable, "-m", "services.tiny_llm",
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process, process.stderr:
        try:
            assert "nothing moves" in process.stderr.readline()
            port = next(int(found[1]) for line in process.stderr if (found := re.search(r"port (\d+), no moves", line)))
            assert asked(port, "POST", COMPLETIONS, asks())[0] == 200
        finally:
            process.terminate()


def test_told_to_end_it_finishes_what_it_has_begun(tmp_path: Path) -> None:
    with relays(tmp_path, 1) as (relay,):
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(5)
            relay.process.send_signal(signal.SIGTERM)
        assert reader.read_all().is_done
        assert relay.process.wait(PATIENCE_S) == 0
        assert not relay.engine_lives


def test_an_engine_that_dies_ends_the_relay(tmp_path: Path) -> None:
    with relays(tmp_path, 1) as (relay,):
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(5)
            relay.signal_engine(signal.SIGKILL)
        assert relay.process.wait(PATIENCE_S) == 1
        assert reader.read_all().error
        assert not reader.is_done


def test_but_not_before_what_it_said_is_said_to_its_end_by_another_replica(tmp_path: Path) -> None:
    with (
        served(tmp_path) as third,
        relays(tmp_path, 1, function_url=f"http://127.0.0.1:{third.http.port}") as (relay,),
    ):
        whole = unmoved(relay, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(relay.port, COMPLETIONS, LONG)
            reader.read_until(40)
            relay.signal_engine(signal.SIGKILL)
        assert reader.read_all().is_done
        assert reader.told == whole
        assert relay.process.wait(PATIENCE_S) == 1
