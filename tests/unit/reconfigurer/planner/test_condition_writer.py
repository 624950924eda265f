"""Conditions on their way to their pods: the newest of each, tried again for a while, never in anybody's way."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from knative_mig.core.cluster.slice_condition import condition
from knative_mig.core.gpu_node import Condition
from knative_mig.ports.kube import ApiUnreachable, ClusterError, Forbidden, Key, ObjectNotFound, TooManyRequests
from reconfigurer.planner.condition_writer import MOST_TRIES, PAUSE_S, RETRY_S, ConditionWriter
from tests.rigs.small_cluster import pod


@dataclass
class Pods:
    """Takes what is written, but for what it is told to refuse."""

    refusals: deque[ClusterError] = field(default_factory=deque)
    written: list[tuple[str, str, str]] = field(default_factory=list)  # name, UID, reason
    counted: Counter[str] = field(default_factory=Counter)
    leads: bool = True
    meanwhile: Callable[[], None] = lambda: None  # during a write that fails

    def __post_init__(self) -> None:
        self.writer = ConditionWriter(
            self, leads=lambda: self.leads, count=lambda result: self.counted.update([result])
        )

    def write_condition(self, key: Key, *, uid: str, condition: Condition) -> None:
        if self.refusals:
            self.meanwhile()
            raise self.refusals.popleft()
        self.written.append((key.name, uid, condition.reason))

    def put(self, name: str, reason: str) -> None:
        self.writer.put(pod(name), condition(None, reason, "", 0.0))

    def pauses(self) -> list[float]:
        found = []
        while pause_s := self.writer.write_next():
            found.append(pause_s)
        return found


@pytest.fixture
def pods() -> Pods:
    return Pods()


def test_each_pods_is_written_by_its_uid_and_after_each_there_is_a_pause(pods: Pods) -> None:
    pods.put("a", "NoFreePlace")
    pods.put("b", "NoSpareSlice")
    assert pods.pauses() == [PAUSE_S, PAUSE_S]
    assert pods.written == [("a", "uid-a", "NoFreePlace"), ("b", "uid-b", "NoSpareSlice")]
    assert pods.counted == {"written": 2}


def test_of_one_pod_only_the_newest_is_written_in_the_place_of_the_first(pods: Pods) -> None:
    pods.put("a", "NoFreePlace")
    pods.put("b", "NoFreePlace")
    pods.put("a", "MoveUnderWay")
    pods.put("a", "SliceGiven")
    pods.pauses()
    assert [(name, reason) for name, _, reason in pods.written] == [("a", "SliceGiven"), ("b", "NoFreePlace")]


def test_what_is_not_taken_for_now_is_tried_again_ever_more_rarely_and_then_left(pods: Pods) -> None:
    pods.refusals += [ApiUnreachable("away")] * MOST_TRIES
    pods.put("a", "NoFreePlace")
    assert pods.pauses() == [RETRY_S, RETRY_S * 2, RETRY_S * 4, RETRY_S * 8]
    assert pods.written == []
    assert pods.counted == {"ApiUnreachable": MOST_TRIES}


def test_what_is_new_meanwhile_is_written_in_its_stead(pods: Pods) -> None:
    pods.refusals += [ApiUnreachable("away")]
    pods.meanwhile = lambda: pods.put("a", "SliceGiven")
    pods.put("a", "NoFreePlace")
    pods.pauses()
    assert [reason for _, _, reason in pods.written] == ["SliceGiven"]


def test_an_api_server_that_names_a_pause_is_left_alone_for_as_long(pods: Pods) -> None:
    busy = TooManyRequests("too many")
    busy.retry_after_s = 7.0
    pods.refusals += [busy]
    pods.put("a", "NoFreePlace")
    assert pods.pauses() == [7.0, PAUSE_S]
    assert len(pods.written) == 1


def test_what_is_forbidden_is_not_tried_again_and_who_has_gone_is_no_failure(pods: Pods) -> None:
    pods.refusals += [Forbidden("RBAC"), ObjectNotFound("gone")]
    for name in "abc":
        pods.put(name, "NoFreePlace")
    assert pods.pauses() == [RETRY_S, PAUSE_S, PAUSE_S]
    assert [name for name, _, _ in pods.written] == ["c"]
    assert pods.counted == {"Forbidden": 1, "written": 1}


def test_who_leads_no_more_writes_nothing_not_even_when_it_leads_again(pods: Pods) -> None:
    pods.put("a", "NoFreePlace")
    pods.leads = False
    assert pods.pauses() == []
    pods.leads = True
    assert pods.pauses() == []
    assert (pods.written, len(pods.writer)) == ([], 0)
