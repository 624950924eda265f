"""Client and mirror against an API server that fails: over real HTTP, with the faults of the fake one."""

import json
import math
import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from knative_mig.adapters.kube import credentials, parse
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.credentials import Plain
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.adapters.kube.reflector import PAGE, BackOff, KubeMirror
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import BadInput
from knative_mig.ports.kube import (
    ApiUnreachable,
    ClusterError,
    EventType,
    Forbidden,
    Key,
    ObjectNotFound,
    Refused,
    Subject,
    TooManyRequests,
)
from tests.contract.mirrors import running
from tests.fake_api import FakeApi

WAIT_S = 60.0
AT_ONCE = BackOff(first_s=0.0, most_s=0.0)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as made:
        yield made


def pod(name: str = "pod", **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"namespace": "ns", "name": name}, "spec": spec}


def kubeconfig(server: object, token: str) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }


class Drawn(Random):
    """Chance that keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.limits: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.limits.append(b)
        return super().uniform(a, b)


class TestClient:
    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (403, Forbidden),
            (404, ObjectNotFound),
            (422, Refused),
            (429, TooManyRequests),
            (500, ApiUnreachable),
            (503, ApiUnreachable),
            (302, ApiUnreachable),
        ],
    )
    def test_says_what_the_server_said(self, api: FakeApi, code: int, error: type[ClusterError]) -> None:
        api.faults.fail(code)
        with pytest.raises(error, match="a test wants it so"):
            api.client().get(NODE, Key("", "n"))

    def test_knows_how_long_to_stay_away(self, api: FakeApi) -> None:
        api.faults.fail(429)
        with pytest.raises(TooManyRequests) as raised:
            api.client().get(NODE, Key("", "n"))
        assert raised.value.retry_after_s == 1.0

    def test_a_server_that_is_not_there_is_unreachable(self) -> None:
        with FakeApi() as api:
            client = api.client()
        with pytest.raises(ApiUnreachable):
            client.get(NODE, Key("", "n"))

    def test_a_read_outlives_a_closed_connection(self, api: FakeApi) -> None:
        api.put_object(pod())
        api.faults.fail(0, method="GET")
        assert api.client().get(POD, Key("ns", "pod"))

    def test_a_write_is_not_sent_twice(self, api: FakeApi) -> None:
        api.faults.fail(0, method="POST")
        with pytest.raises(ApiUnreachable):
            api.client().create(POD, "ns", pod())
        assert [method for method, _ in api.requests] == ["POST"]

    def test_names_itself(self, api: FakeApi) -> None:
        api.client().page(NODE, "", {})
        assert api.server.agents == {"knative-mig-tests"}

    def test_takes_the_new_token_when_the_old_one_is_refused(self, api: FakeApi) -> None:
        first, api.server.token = "first", "second"
        tokens = iter([first, api.server.token])

        client = KubeClient(lambda: Plain(api.url, next(tokens)))
        client.page(NODE, "", {})
        client.page(NODE, "", {})
        assert len(api.requests) == 3

    def test_a_token_that_stays_refused_is_a_configuration_error(self, api: FakeApi) -> None:
        api.server.token = str(uuid.uuid4())
        with pytest.raises(Forbidden):
            api.client().page(NODE, "", {})
        assert len(api.requests) == 2

    def test_reads_a_kubeconfig_with_a_token(self, api: FakeApi, tmp_path: Path) -> None:
        api.server.token = str(uuid.uuid4())
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig(api.url, api.server.token)))
        assert KubeClient.of_kubeconfig(str(path)).page(NODE, "", {}).items == []

    def test_reads_a_plain_kubeconfig_without_the_library(self, api: FakeApi, tmp_path: Path) -> None:
        api.server.token = str(uuid.uuid4())
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(api.url, api.server.token)))
        assert credentials.of_kubeconfig(str(path), None) == Plain(api.url, api.server.token)
        assert KubeClient.of_kubeconfig(str(path)).page(NODE, "", {}).items == []

    def test_says_that_there_is_no_kubeconfig(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no credentials"):
            KubeClient.of_kubeconfig(str(tmp_path / "none"))

    @pytest.mark.parametrize(
        "text", [b"7", b"[]", b"a: [", b"\x00\xff", b"clusters: 7\ncontexts: []\nusers: []\ncurrent-context: c\n"]
    )
    def test_says_that_a_file_is_no_kubeconfig(self, tmp_path: Path, text: bytes) -> None:
        path = tmp_path / "kubeconfig"
        path.write_bytes(text)
        with pytest.raises(BadInput, match="no credentials") as told:
            KubeClient.of_kubeconfig(str(path))
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("server", [7, "", "ftp://there", "http://", "http://[there"])
    def test_says_that_a_server_is_none(self, tmp_path: Path, server: object) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig(server, "t")))
        with pytest.raises(BadInput, match=r"no http or https URL|no kubeconfig"):
            KubeClient.of_kubeconfig(str(path))

    def test_is_used_by_many_threads_at_once(self, api: FakeApi) -> None:
        api.put_object(pod())
        client, found = api.client(), queue.Queue[str]()

        def read() -> None:
            for _ in range(20):
                found.put(client.get(POD, Key("ns", "pod"))["metadata"]["name"])

        threads = [threading.Thread(target=read) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found.qsize() == 160


class TestWrites:
    def test_an_eviction_that_a_disruption_budget_holds_up(self, api: FakeApi) -> None:
        uid = api.put_object(pod())["metadata"]["uid"]
        api.hold_up_evictions_of(Key("ns", "pod"))
        with pytest.raises(TooManyRequests, match="disruption budget"):
            KubePods(api.client()).evict(Key("ns", "pod"), uid=uid)
        assert api.objects(POD)

    def test_an_event_that_cannot_be_written_is_counted_and_raises_nothing(self, api: FakeApi) -> None:
        events = KubeEvents(api.client(), component="c", pause_s=0)
        api.faults.fail(500, path="events")
        subject = Subject(api_version="v1", kind="Pod", namespace="ns", name="pod")
        events.record(subject, EventType.NORMAL, "First", "lost")
        events.record(subject, EventType.NORMAL, "Second", "written")
        stop = threading.Event()
        stop.set()
        events.run(stop)
        assert events.lost == 1


class TestMirror:
    @pytest.fixture
    def opened(self) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            yield stack

    def mirror(
        self, api: FakeApi, opened: ExitStack, **settings: Any
    ) -> "tuple[KubeMirror[PodFacts], queue.Queue[Key]]":
        made = KubeMirror(api.client(), POD, parse.pod, **{"back_off": AT_ONCE, **settings})
        woken: queue.Queue[Key] = queue.Queue()
        made.on_change(woken.put)
        opened.enter_context(running(made))
        return made, woken

    def test_lists_in_pages(self, api: FakeApi, opened: ExitStack) -> None:
        for number in range(PAGE + 3):
            api.put_object(pod(f"pod-{number}"))
        mirror, _ = self.mirror(api, opened)
        assert mirror.wait_synced(WAIT_S)
        assert len(mirror.snapshot()) == PAGE + 3
        assert sum("limit=500" in path for _, path in api.requests) == 2

    def test_begins_anew_where_its_history_is_gone(self, api: FakeApi, opened: ExitStack) -> None:
        mirror, woken = self.mirror(api, opened)
        api.wait_for_watches(1)
        with api.store.changed:  # both before the watch can tell of either
            api.put_object(pod("after"))
            api.compact()
        assert woken.get(timeout=WAIT_S).name == "after"
        assert mirror.counts.lists == 2

    def test_lists_where_its_history_is_yet_to_come(self, api: FakeApi, opened: ExitStack) -> None:
        for number in range(10):
            api.put_object(pod(f"pod-{number}"))
        mirror, woken = self.mirror(api, opened)
        api.wait_for_watches(1)
        with api.store.changed:
            api.store.begin_anew()
            api.drop_watches()
            api.remove_object(POD, Key("ns", "pod-0"))
        woken_of = {woken.get(timeout=WAIT_S).name for _ in range(11)}
        assert len(woken_of) == 10
        assert Key("ns", "pod-0") not in mirror.snapshot()
        assert mirror.counts.lists == 2

    def test_tells_of_what_went_while_it_could_not_see(self, api: FakeApi, opened: ExitStack) -> None:
        api.put_object(pod("going"))
        mirror, woken = self.mirror(api, opened)
        assert woken.get(timeout=WAIT_S).name == "going"
        api.wait_for_watches(1)
        with api.store.changed:
            api.remove_object(POD, Key("ns", "going"))
            api.compact()
        assert woken.get(timeout=WAIT_S).name == "going"
        assert mirror.snapshot() == {}

    def test_goes_on_where_it_was_when_its_connection_drops(self, api: FakeApi, opened: ExitStack) -> None:
        mirror, woken = self.mirror(api, opened)
        api.wait_for_watches(1)
        api.drop_watches()
        api.put_object(pod("later"))
        assert woken.get(timeout=WAIT_S).name == "later"
        assert mirror.counts.lists == 1

    def test_a_bookmark_moves_it_past_a_history_that_goes(self, api: FakeApi, opened: ExitStack) -> None:
        mirror, woken = self.mirror(api, opened)
        api.wait_for_watches(1)
        api.put_object({"kind": "Node", "metadata": {"name": "of-another-kind"}})
        api.bookmark()
        api.compact()
        api.drop_watches()
        api.wait_for_watches(2)
        api.put_object(pod("later"))
        assert woken.get(timeout=WAIT_S).name == "later"
        assert mirror.counts.lists == 1

    def test_waits_longer_each_time_and_comes_back(self, api: FakeApi, opened: ExitStack) -> None:
        api.put_object(pod())
        api.faults.fail(500, times=3)
        mirror, _ = self.mirror(api, opened)
        assert mirror.wait_synced(WAIT_S)
        assert mirror.counts.failures == 3

    def test_stays_away_longer_and_longer_where_it_may_list_and_not_watch(
        self, api: FakeApi, opened: ExitStack
    ) -> None:
        api.faults.fail(403, times=4, path="watch=1")
        drawn = Drawn()
        mirror, _ = self.mirror(api, opened, back_off=BackOff(first_s=0.001, most_s=1.0, random=drawn))
        api.wait_for_watches(1)
        assert drawn.limits == [0.001, 0.002, 0.004, 0.008]
        assert mirror.counts.lists == 5

    def test_a_history_that_is_always_gone_is_not_asked_for_at_once_each_time(
        self, api: FakeApi, opened: ExitStack
    ) -> None:
        api.faults.fail(410, times=3, path="watch=1")
        drawn = Drawn()
        self.mirror(api, opened, back_off=BackOff(first_s=0.001, most_s=1.0, random=drawn))
        api.wait_for_watches(1)
        assert drawn.limits == [0.002, 0.004]

    def test_a_silent_connection_is_given_up(
        self, api: FakeApi, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("knative_mig.adapters.kube.client.WATCH_GRACE_S", -29.5)
        api.faults.silent_watches = True
        mirror, woken = self.mirror(api, opened, watch_s=30)
        api.wait_for_watches(1)
        api.put_object(pod("unseen"))
        assert woken.get(timeout=WAIT_S).name == "unseen"
        assert mirror.counts.failures >= 1

    def test_an_object_that_cannot_be_read_is_left_out_and_the_rest_stays(
        self, api: FakeApi, opened: ExitStack
    ) -> None:
        api.put_object(pod("odd", containers="none"))
        api.put_object(pod("even"))
        mirror, woken = self.mirror(api, opened)
        assert woken.get(timeout=WAIT_S).name == "even"
        assert [key.name for key in mirror.snapshot()] == ["even"]
        assert mirror.counts.unreadable == 1
        api.put_object(pod("even", containers="none"))
        assert woken.get(timeout=WAIT_S).name == "even"
        assert mirror.snapshot() == {}

    def test_is_as_old_as_what_it_last_heard(self, api: FakeApi, opened: ExitStack) -> None:
        now = [100.0]
        unheard = KubeMirror(api.client(), POD, parse.pod)
        assert unheard.age_s(100.0) == math.inf
        assert not unheard.synced
        mirror, woken = self.mirror(api, opened, clock=lambda: now[0])
        assert mirror.wait_synced(WAIT_S)
        assert mirror.age_s(107.0) == 7.0
        now[0] = 105.0
        api.put_object(pod())
        woken.get(timeout=WAIT_S)
        assert mirror.age_s(107.0) == 2.0

    def test_ends_at_once_in_the_middle_of_a_watch(self, api: FakeApi) -> None:
        mirror = KubeMirror(api.client(), POD, parse.pod, watch_s=300)
        with running(mirror):  # which asserts it
            assert mirror.wait_synced(WAIT_S)
