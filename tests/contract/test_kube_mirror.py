"""The mirror against an API server that behaves: what is there, comes and goes, is in the snapshot. On the fake one
and on that of `dev`, and on a real one by KNATIVE_MIG_TEST_KUBECONFIG.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.ports.kube import Key, KeyedMirror
from tests.contract.kube_rigs import KINDS, KubeRig, kube_rig
from tests.contract.mirrors import running

WAIT_S = 60.0


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> Iterator[KubeRig]:
    with kube_rig(request.param) as made:
        yield made


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


PodMirror = Callable[[], tuple[KubeMirror[PodFacts], "queue.Queue[Key]"]]


@pytest.fixture
def pod_mirror(rig: KubeRig, opened: ExitStack) -> PodMirror:
    def make() -> tuple[KubeMirror[PodFacts], "queue.Queue[Key]"]:
        mirror = KubeMirror(rig.client, POD, parse.pod, label_selector=rig.selector)
        woken: queue.Queue[Key] = queue.Queue()
        mirror.on_change(woken.put)
        opened.enter_context(running(mirror))
        assert mirror.wait_synced(WAIT_S)
        return mirror, woken

    return make


def test_has_what_was_there_before_it(rig: KubeRig, pod_mirror: PodMirror) -> None:
    key = rig.pod(priority=0)
    mirror, woken = pod_mirror()
    as_port: KeyedMirror[PodFacts] = mirror
    assert as_port.snapshot()[key].uid == rig.uid(POD, key)
    assert as_port.get(key) == as_port.snapshot()[key]
    assert as_port.get(Key(key.namespace, "another")) is None
    assert woken.get(timeout=WAIT_S) == key


def test_sees_what_comes_changes_and_goes(rig: KubeRig, pod_mirror: PodMirror) -> None:
    mirror, woken = pod_mirror()
    assert mirror.snapshot() == {}
    key = rig.pod()
    assert woken.get(timeout=WAIT_S) == key
    rig.client.merge(POD, key, {"metadata": {"annotations": {parse.MOVABLE: "true"}}})
    assert woken.get(timeout=WAIT_S) == key
    assert mirror.snapshot()[key].movable
    rig.client.delete(POD, key, {"gracePeriodSeconds": 0})
    while mirror.snapshot():  # a real server may tell of its end before it is gone
        assert woken.get(timeout=WAIT_S) == key


def test_a_change_that_means_nothing_wakes_nobody_and_keeps_the_snapshot(rig: KubeRig, pod_mirror: PodMirror) -> None:
    first, second = rig.pod("first"), rig.pod("second")
    mirror, woken = pod_mirror()
    assert {woken.get(timeout=WAIT_S), woken.get(timeout=WAIT_S)} == {first, second}
    before = mirror.snapshot()
    rig.client.merge(POD, first, {"metadata": {"annotations": {"example.com/beat": "1"}}})
    assert mirror.snapshot() is before
    rig.client.merge(POD, second, {"metadata": {"annotations": {parse.MOVABLE: "true"}}})
    assert woken.get(timeout=WAIT_S) == second
    assert mirror.snapshot() is not before
    assert not before[second].movable


def test_an_object_that_leaves_the_selector_leaves_the_mirror(rig: KubeRig, pod_mirror: PodMirror) -> None:
    key = rig.pod()
    mirror, woken = pod_mirror()
    woken.get(timeout=WAIT_S)
    rig.client.merge(POD, key, {"metadata": {"labels": {"knative-mig.dev/test": None}}})
    assert woken.get(timeout=WAIT_S) == key
    assert mirror.snapshot() == {}


def test_of_one_name_it_has_that_one(rig: KubeRig, opened: ExitStack) -> None:
    mine, _other = rig.node("mine"), rig.node("other")
    mirror = KubeMirror(rig.client, NODE, parse.node, field_selector=f"metadata.name={mine.name}")
    opened.enter_context(running(mirror))
    assert mirror.wait_synced(WAIT_S)
    assert list(mirror.snapshot()) == [mine]


def test_goes_on_over_the_end_of_its_watches(rig: KubeRig, opened: ExitStack) -> None:
    mirror = KubeMirror(rig.client, POD, parse.pod, label_selector=rig.selector, watch_s=1)
    woken: queue.Queue[Key] = queue.Queue()
    mirror.on_change(woken.put)
    opened.enter_context(running(mirror))
    assert mirror.wait_synced(WAIT_S)
    second_watch = threading.Event()
    while mirror.counts.watches < 3:
        second_watch.wait(0.05)
    key = rig.pod()
    assert woken.get(timeout=WAIT_S) == key
    assert mirror.counts.lists == 1
