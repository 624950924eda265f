"""What the webhooks' decisions are told of the cluster."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from activator_hooks.webhook.desk import Desk
from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.core.admission.choice import SERVICE_LINKS, TIMEOUT
from knative_mig.core.admission.limits import KnativeDefaults
from knative_mig.core.admission.pods import NewContainer, NewPod
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import ApiUnreachable, Key
from tests.rigs.fake_cluster import FakeMirror
from tests.rigs.functions import function
from tests.rigs.small_cluster import gpu, gpu_node

DEFAULTS = Key("knative-serving", "config-defaults")
ALL_OF_AN_H100 = function("7g.80gb")


class World:
    def __init__(self) -> None:
        self.nodes: dict[Key, GpuNode] = {}
        self.defaults: dict[Key, KnativeDefaults] = {}
        self.registry = CollectorRegistry()
        self.now = 1000.0
        self.asked: list[str] = []  # for which namespaces' secrets
        self.has_secret: set[str] = set()
        self.away = False
        self.desk = Desk(
            FakeMirror(self.nodes),
            FakeMirror(self.defaults),
            self,
            WebhookMetrics(self.registry),
            clock=lambda: self.now,
        )

    def ensure(self, namespace: str) -> bool:
        self.asked.append(namespace)
        if self.away:
            raise ApiUnreachable("it is away")
        before = set(self.has_secret)
        self.has_secret.add(namespace)
        return namespace not in before

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"knative_mig_webhook_{name}_total", labels) or 0.0


@pytest.fixture
def world() -> World:
    return World()


def test_a_timeout_keeps_to_the_cap_that_knative_has_now(world: World) -> None:
    assert world.desk.choose(ALL_OF_AN_H100, None).edits[TIMEOUT] == 600
    world.defaults[DEFAULTS] = KnativeDefaults(longest_timeout_s=900)
    assert world.desk.choose(ALL_OF_AN_H100, None).edits[TIMEOUT] == 900
    assert world.count("choices", why="decided") == 2


def test_what_knative_sets_for_who_creates_is_what_it_says_now(world: World) -> None:
    stored = replace(ALL_OF_AN_H100, service_links=False)
    assert world.desk.choose(ALL_OF_AN_H100, stored).edits == {SERVICE_LINKS: False}
    world.defaults[DEFAULTS] = KnativeDefaults(service_links=None)
    assert world.desk.choose(ALL_OF_AN_H100, stored).edits == {}


def test_a_profile_that_no_gpu_has_is_warned_of_until_one_has(world: World) -> None:
    assert world.desk.judge(ALL_OF_AN_H100, None).warnings == ()
    world.nodes[Key("", "n1")] = gpu_node("n1", gpu("GPU-1", {}))
    [told] = world.desk.judge(ALL_OF_AN_H100, None).warnings
    assert "no GPU of this cluster can be cut into 7g.80gb" in told
    assert world.desk.judge(function("3g.20gb"), None).warnings == ()
    world.nodes.clear()
    assert world.desk.judge(ALL_OF_AN_H100, None).warnings == ()


def test_who_is_refused_is_not_warned_too(world: World) -> None:
    world.nodes[Key("", "n1")] = gpu_node("n1", gpu("GPU-1", {}))
    judged = world.desk.judge(function("7g.80gb", template={"knative-mig.dev/x": "1"}), None)
    assert judged.refusals
    assert judged.warnings == ()


def test_pods_are_gated_where_a_gpu_of_ours_has_the_profile_and_counted(world: World) -> None:
    assert not world.desk.add(NewPod(wants={ProfileName.parse("1g.5gb"): 1}), dry_run=False).gate
    world.nodes[Key("", "n1")] = gpu_node("n1", gpu("GPU-1", {}))
    assert world.desk.add(NewPod(wants={ProfileName.parse("1g.5gb"): 1}), dry_run=False).gate
    world.desk.add(NewPod(), dry_run=False)
    assert world.count("gated_pods") == 1


MOVABLE = NewPod(
    namespace="team",
    service="chat",
    movable=True,
    wants={ProfileName.parse("1g.5gb"): 1},
    containers=(NewContainer(wants_slice=True),),
)


def test_a_namespaces_secret_is_made_with_its_first_pod_that_has_it(world: World) -> None:
    assert not world.desk.add(replace(MOVABLE, movable=False), dry_run=False).secret
    assert world.asked == []
    assert world.desk.add(MOVABLE, dry_run=False).secret
    assert world.desk.add(MOVABLE, dry_run=False).secret
    world.desk.add(replace(MOVABLE, namespace="other"), dry_run=False)
    assert world.asked == ["team", "other"]
    world.now += 60.0
    world.desk.add(MOVABLE, dry_run=False)
    assert world.asked == ["team", "other", "team"], "it may have been deleted"
    assert (world.count("relay_secrets", result="made"), world.count("relay_secrets", result="there")) == (2, 1)


def test_a_dry_run_makes_none(world: World) -> None:
    assert world.desk.add(MOVABLE, dry_run=True).secret
    assert world.asked == []


def test_a_pod_whose_secret_cannot_be_made_is_let_in_and_the_next_one_tries_again(world: World) -> None:
    world.away = True
    assert world.desk.add(MOVABLE, dry_run=False).secret
    world.away = False
    world.desk.add(MOVABLE, dry_run=False)
    assert world.asked == ["team", "team"]
    assert (world.count("relay_secrets", result="failed"), world.count("relay_secrets", result="made")) == (1, 1)
