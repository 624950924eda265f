"""The whole pending source between an API server and a sink, over real sockets: one process, two, and the command."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from activator_hooks.source.process import Source
from activator_hooks.source.settings import SourceSettings
from knative_mig.adapters.cloud_events import encode
from knative_mig.adapters.event_sender import Sink as Where
from knative_mig.adapters.kube.fields import time_text
from knative_mig.core.events import PENDING, PendingRevision
from knative_mig.core.gpu_node import GATE
from knative_mig.core.pending.asks import Rhythm
from knative_mig.core.profile import ProfileName
from reconfigurer.planner.process import Planner
from reconfigurer.planner.settings import PlannerSettings
from tests.cluster.tls import self_signed
from tests.contract.sinks import PATIENCE_S, Answer, Sink, sink
from tests.fake_api import FakeApi
from tests.rigs.stopwatch import Stopwatch

ROOT = Path(__file__).parents[2]
QUIET = Rhythm(again_s=600, again_most_s=600)  # no second word while a test looks
SETTINGS = SourceSettings(dead_letters_port=0, ops_port=0, rhythm=QUIET)
BIG = ProfileName.parse("3g.20gb")
START = 1767225600.0


@dataclass
class Knative:
    """Writes what Knative's controllers and the kubelets write, at times of its own."""

    api: FakeApi
    at: float = START
    _desired: dict[str, int] = field(default_factory=dict)

    def revision(self, name: str, *, profile: str = "3g.20gb", quota: str = "") -> None:
        limits = {f"nvidia.com/mig-{profile}": "1"}
        condition = {"type": "ResourcesAvailable", "status": "False" if quota else "True"}
        condition |= {"reason": "FailedCreate", "message": quota} if quota else {}
        self._put(
            "serving.knative.dev/v1",
            "Revision",
            name,
            spec={"containers": [{"name": "user-container", "resources": {"limits": limits}}]},
            status={"conditions": [{**condition, "lastTransitionTime": time_text(self.at)}]},
        )

    def desire(self, name: str, desired: int, active: str = "Unknown") -> None:
        self.at += 1
        write = {"manager": "autoscaler", "operation": "Update", "subresource": "status", "time": time_text(self.at)}
        self._put(
            "autoscaling.internal.knative.dev/v1alpha1",
            "PodAutoscaler",
            name,
            about={"managedFields": [write]},
            spec={"reachability": "Reachable"},
            status={"desiredScale": desired, "conditions": [{"type": "Active", "status": active}]},
        )

    def pod(self, revision: str, name: str, *, node: str = "", gated: bool = False, message: str = "") -> None:
        spec: dict[str, Any] = {"containers": [{"name": "user-container"}]}
        status: dict[str, Any] = {"phase": "Running" if node else "Pending"}
        if node:
            spec["nodeName"] = node
        elif gated:
            spec["schedulingGates"] = [{"name": GATE}]
            status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
        elif message:
            refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            status["conditions"] = [refused]
        labels = {"serving.knative.dev/revision": revision, "serving.knative.dev/revisionUID": f"uid-{revision}"}
        about = {"labels": labels, "creationTimestamp": time_text(self.at)}
        self._put("v1", "Pod", name, about=about, spec=spec, status=status)

    def _put(
        self, version: str, kind: str, name: str, *, about: dict[str, Any] | None = None, **body: dict[str, Any]
    ) -> None:
        metadata = {"namespace": "team", "name": name, "uid": f"uid-{name}", **(about or {})}
        self.api.put_object({"apiVersion": version, "kind": kind, "metadata": metadata, **body})


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as made:
        yield made


@pytest.fixture
def knative(api: FakeApi) -> Knative:
    made = Knative(api)
    made.revision("tiny-00001")
    made.desire("tiny-00001", 0, active="False")
    return made


@pytest.fixture
def there() -> Iterator[Sink]:
    with sink() as made:
        yield made


@contextmanager
def source(api: FakeApi, url: str, settings: SourceSettings = SETTINGS) -> Iterator[Source]:
    made = Source(settings, api.client(), Where.parse(url))
    made.start()
    try:
        yield made
    finally:
        with Stopwatch() as took:
            made.end()
        assert took.seconds < 2.0
        assert not made.failed


def answered(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def figure(port: int, line: str) -> float:
    lines = dict(one.rsplit(" ", 1) for one in answered(port, "/metrics")[1].splitlines() if one[:1] not in ("#", ""))
    return float(lines.get(f"knative_mig_{line}", 0))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told(sink: Sink) -> list[tuple[str, int]]:
    return [(each.revision, each.count) for each in map(PendingRevision.of, sink.taken)]


def ready(each: Source) -> None:
    until(lambda: answered(each.ops.port, "/readyz")[0] == 200)


# -- one process -------------------------------------------------------------------------------------------------------


def test_a_request_to_a_function_at_zero_becomes_one_event_before_there_is_a_pod(
    api: FakeApi, knative: Knative, there: Sink
) -> None:
    with source(api, there.url) as running:
        ready(running)
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.taken) == 1)
        knative.pod("tiny-00001", "p", gated=True)
        knative.pod("tiny-00001", "p", node="n1")
        until(lambda: figure(running.ops.port, "source_pending_revisions") == 0)
        until(lambda: figure(running.ops.port, 'source_events_total{outcome="taken"}') == 1)
        until(lambda: figure(running.ops.port, "source_change_to_taken_seconds_count") == 1)
    [event] = there.taken
    assert event.id == "uid-tiny-00001/1/3g.20gb/1/1767225602-0"
    assert event.subject == "team/tiny-00001"
    assert event.time == "2026-01-01T00:00:02+00:00"
    assert PendingRevision.of(event) == PendingRevision(
        namespace="team",
        revision="tiny-00001",
        profile=BIG,
        count=1,
        revision_uid="uid-tiny-00001",
        told_by=event.id,
        traceparent=event.traceparent,
    )
    [(path, headers)] = there.requests
    assert path == "/"
    assert headers["content-type"] == "application/json"
    assert headers["ce-type"] == PENDING


def test_scale_out_is_told_though_the_function_is_active_and_pods_of_both_kinds_count(
    api: FakeApi, knative: Knative, there: Sink
) -> None:
    knative.desire("tiny-00001", 1, active="True")
    knative.pod("tiny-00001", "p0", node="n1")
    with source(api, there.url) as running:
        ready(running)
        knative.desire("tiny-00001", 3, active="True")
        there.until(lambda: told(there) == [("tiny-00001", 2)])
        knative.pod("tiny-00001", "p1", gated=True)
        knative.pod("tiny-00001", "p2", message="0/1 nodes are available: 1 Insufficient nvidia.com/mig-3g.20gb.")
        knative.pod("tiny-00001", "p3", gated=True)
        there.until(lambda: told(there) == [("tiny-00001", 2), ("tiny-00001", 3)])


def test_a_quota_that_stands_in_the_way_is_told_as_what_it_is(api: FakeApi, knative: Knative, there: Sink) -> None:
    with source(api, there.url) as running:
        ready(running)
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.taken) == 1)
        knative.revision("tiny-00001", quota='pods "p" is forbidden: exceeded quota: gpus')
        there.until(lambda: len(there.taken) == 2)
    assert [each.data["cause"] for each in there.taken] == ["NoSlice", "QuotaExceeded"]


def test_an_event_is_sent_again_until_the_state_changes(api: FakeApi, knative: Knative, there: Sink) -> None:
    quick = replace(SETTINGS, rhythm=Rhythm(again_s=0.05, again_most_s=0.1))
    with source(api, there.url, quick):
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.taken) >= 4)
        knative.pod("tiny-00001", "p", node="n1")
        until(lambda: time.monotonic() - there.at[-1] > 0.5)
    attempts = [each.id.rpartition("-")[2] for each in there.taken]
    assert attempts == [str(number) for number in range(len(attempts))]
    assert len({each.traceparent.split("-")[1] for each in there.taken}) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Answer(status=500), id="500"),
        pytest.param(Answer(status=404), id="the Broker is not there yet"),
        pytest.param(Answer(status=429, headers={"Retry-After": "0"}), id="429"),
        pytest.param(Answer(cut=True), id="cut off"),
    ],
)
def test_a_sink_in_trouble_gets_the_same_event_until_it_takes_it(
    api: FakeApi, knative: Knative, there: Sink, trouble: Answer
) -> None:
    there.planned.extend([trouble] * 3)
    with source(api, there.url) as running:
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.taken) == 1)
        until(lambda: figure(running.ops.port, 'source_events_total{outcome="taken"}') == 1)
        assert figure(running.ops.port, 'source_events_total{outcome="failed"}') == 3
    assert len(there.events) == 4
    assert len({each.id for each in there.events}) == 1


def test_what_is_refused_is_not_repeated_and_the_next_state_is_told(
    api: FakeApi, knative: Knative, there: Sink
) -> None:
    quick = replace(SETTINGS, rhythm=Rhythm(again_s=0.05, retry_s=0.05))
    there.planned.append(Answer(status=400))
    with source(api, there.url, quick) as running:
        knative.desire("tiny-00001", 1)
        until(lambda: figure(running.ops.port, 'source_events_total{outcome="refused"}') == 1)
        until(lambda: time.monotonic() - there.at[0] > 0.5)
        assert len(there.events) == 1
        knative.desire("tiny-00001", 2)
        there.until(lambda: bool(there.taken))
    assert told(there)[0] == ("tiny-00001", 2)


def test_a_sink_that_hangs_holds_up_neither_others_nor_the_end(api: FakeApi, knative: Knative, there: Sink) -> None:
    there.planned.append(Answer(hang=True))
    with source(api, there.url) as running:
        ready(running)
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.events) == 1)
        knative.revision("other-00001")
        knative.desire("other-00001", 1)
        there.until(lambda: told(there) == [("other-00001", 1)])


def test_events_go_on_after_the_api_server_was_away(api: FakeApi, knative: Knative, there: Sink) -> None:
    with source(api, there.url) as running:
        ready(running)
        api.faults.fail(500, times=6)
        api.drop_watches()
        knative.desire("tiny-00001", 1)
        there.until(lambda: told(there) == [("tiny-00001", 1)])


def test_it_is_not_ready_before_all_is_listed_and_says_what_is_missing(api: FakeApi, there: Sink) -> None:
    api.faults.fail(403, times=10_000, path="/podautoscalers")
    with source(api, there.url) as running:
        until(lambda: "podautoscalers" in answered(running.ops.port, "/readyz")[1])
        until(lambda: answered(running.ops.port, "/readyz") == (503, "not listed yet: podautoscalers\n"))
        assert answered(running.ops.port, "/healthz") == (200, "ok\n")


def test_only_pods_of_revisions_are_asked_for(api: FakeApi, there: Sink) -> None:
    with source(api, there.url) as running:
        ready(running)
        lists = [path for method, path in api.requests if "/pods" in path]
        assert lists
        assert all("labelSelector=serving.knative.dev%2FrevisionUID" in path for path in lists)
        assert {method for method, _ in api.requests} == {"GET"}


def test_a_dead_letter_is_taken_counted_and_told(
    api: FakeApi, knative: Knative, there: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    with source(api, there.url) as running:
        knative.desire("tiny-00001", 1)
        there.until(lambda: len(there.taken) == 1)
        [event] = there.taken
        dead = replace(event, extensions={**event.extensions, "knativeerrorcode": "400"})
        for headers, body in (encode(dead), ({}, b"")):
            connection = http.client.HTTPConnection("127.0.0.1", running.letters.port, timeout=PATIENCE_S)
            connection.request("POST", "/", body, headers)
            letter = connection.getresponse()
            assert (letter.status, letter.read()) == (202, b"")
            connection.close()
        assert figure(running.ops.port, "source_dead_letters_total") == 2
    assert "A dead letter: 'team/tiny-00001'" in caplog.text
    assert "refused with '400'" in caplog.text


def test_a_thousand_revisions_at_once_are_each_told_once(api: FakeApi, there: Sink) -> None:
    knative = Knative(api)
    for number in range(1000):
        knative.revision(f"f-{number:04}")
        knative.desire(f"f-{number:04}", 1)
    began = time.monotonic()
    with source(api, there.url):
        there.until(lambda: len(there.taken) >= 1000, 60)
        print(f"1000 revisions listed and told in {time.monotonic() - began:.1f} s")
    assert sorted(told(there)) == [(f"f-{number:04}", 1) for number in range(1000)]


# -- two processes, and the planner ------------------------------------------------------------------------------------


def test_two_copies_and_one_that_comes_after_a_kill_send_the_same_events(
    api: FakeApi, knative: Knative, there: Sink
) -> None:
    with source(api, there.url) as one, source(api, there.url) as other:
        ready(one)
        ready(other)
        knative.desire("tiny-00001", 2)
        there.until(lambda: len(there.taken) == 2)
    with source(api, there.url):
        there.until(lambda: len(there.taken) == 3)
    assert len({(each.source, each.id) for each in there.taken}) == 1
    assert told(there) == [("tiny-00001", 2)] * 3


def test_what_is_sent_is_what_the_planners_door_takes_and_two_copies_wake_it_once(
    api: FakeApi, knative: Knative
) -> None:
    """Without Eventing: straight to the planner."""
    planner = Planner(PlannerSettings(events_port=0, ops_port=0, resync_s=3600), api.client(), me="planner-a")
    planner.start()
    try:
        until(lambda: figure(planner.ops.port, "planner_leader") == 1)
        url = f"http://127.0.0.1:{planner.events.port}"
        with source(api, url) as one, source(api, url) as other:
            ready(one)
            ready(other)
            knative.desire("tiny-00001", 1)
            port = planner.ops.port
            until(lambda: figure(port, 'planner_events_total{outcome="duplicate"}') == 1)
            assert figure(port, 'planner_events_total{outcome="woke"}') == 1
            knative.desire("tiny-00001", 3)
            until(lambda: figure(port, 'planner_events_total{outcome="duplicate"}') == 2)
            assert figure(port, 'planner_events_total{outcome="woke"}') == 2
            assert figure(port, 'planner_events_total{outcome="rejected"}') == 0
    finally:
        planner.end()


# -- the command -------------------------------------------------------------------------------------------------------


def kubeconfig(api: FakeApi, folder: Path) -> Path:
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": api.url}}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(made))
    return path


def command(*words: str, **environment: str) -> "subprocess.Popen[str]":
    ports = ("--ops-host=127.0.0.1", "--ops-port=0", "--dead-letters-port=0")
    return subprocess.Popen(
        [sys.executable, "-m", "activator_hooks.source", *ports, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_goes_by_what_a_sink_binding_tells_it_and_ends_when_it_is_told(
    api: FakeApi, knative: Knative, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, "sink", "127.0.0.1")
    (tmp_path / "token").write_text("t0ken")
    with sink(certificate) as there:
        there.planned.append(Answer(status=503))
        process = command(
            f"--kubeconfig={kubeconfig(api, tmp_path)}",
            f"--token-file={tmp_path / 'token'}",
            "--log-level=debug",
            K_SINK=there.url.replace("https://", "https://user:s3cret@") + "/knative-mig/events?key=h1dden",
            K_CA_CERTS=certificate.text,
            K_CE_OVERRIDES='{"extensions": {"cluster": "west"}}',
        )
        reader = threading.Timer(PATIENCE_S * 3, process.kill)  # a process that hangs does not hang the tests
        reader.start()
        try:
            knative.desire("tiny-00001", 1)
            there.until(lambda: len(there.taken) == 1, PATIENCE_S * 2)
            with Stopwatch() as took:
                process.send_signal(signal.SIGTERM)
                written, _ = process.communicate()
        finally:
            reader.cancel()
            process.kill()
    assert process.returncode == 0, written
    print(f"it ended {took.seconds:.2f} s after SIGTERM")
    assert took.seconds < 2.0
    assert there.taken[0].extensions["cluster"] == "west"
    path, headers = there.requests[0]
    assert path == "/knative-mig/events?key=h1dden"
    assert headers["Authorization"] == "Bearer t0ken"
    assert f"Events go to {there.url}\n" in written
    assert "answered 503" in written
    assert [secret for secret in ("s3cret", "t0ken", "h1dden") if secret in written] == []


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"K_SINK": "planner:s3cret"}, "the sink is no http or https URL"),
        ({"K_CE_OVERRIDES": "{s3cret"}, "K_CE_OVERRIDES is no JSON"),
        ({"K_CA_CERTS": "s3cret"}, "K_CA_CERTS holds no certificates"),
        ({"KNATIVE_MIG_AGAIN_MOST_S": "1"}, "no most below its first"),
    ],
)
def test_what_cannot_work_ends_it_at_once_with_one_line(
    api: FakeApi, tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    process = command(f"--kubeconfig={kubeconfig(api, tmp_path)}", **environment)
    written, _ = process.communicate(timeout=PATIENCE_S * 3)
    assert process.returncode == 2
    assert written.count("\n") == 1
    assert written.startswith("source: ")
    assert why in written
    assert "s3cret" not in written
