"""What a pod that asks for a slice is given on its way in."""

from dataclasses import replace

import pytest

from knative_mig.core.admission import pods
from knative_mig.core.admission.pods import Additions, ForRelay, NewContainer, NewPod
from knative_mig.core.cluster.objects import Effect, Toleration
from knative_mig.core.gpu_node import GATE
from knative_mig.core.profile import ProfileName

FLEET = frozenset({ProfileName.parse("3g.20gb"), ProfileName.parse("1g.5gb")})
SLICE = {ProfileName.parse("3g.20gb"): 1}
GPU_TAINT = "nvidia.com/gpu"


def additions(pod: NewPod, fleet: frozenset[ProfileName] = FLEET) -> Additions:
    return pods.additions(pod, fleet)


def test_a_pod_with_a_slice_waits_at_the_gate_and_may_run_on_gpu_nodes() -> None:
    added = additions(NewPod(wants=SLICE))
    assert added.gate
    assert added.toleration == Toleration(key=GPU_TAINT, exists=True, effect=Effect.NO_SCHEDULE)


def test_another_pod_is_given_nothing() -> None:
    assert not additions(NewPod())


def test_what_a_pod_has_it_is_not_given_again() -> None:
    tolerates = Toleration(key=GPU_TAINT, exists=True, effect=Effect.NO_SCHEDULE)
    assert not additions(NewPod(wants=SLICE, gates=("example.com/other", GATE), tolerations=(tolerates,)))


@pytest.mark.parametrize(
    "wider",
    [
        Toleration(exists=True),
        Toleration(key=GPU_TAINT, exists=True),
        Toleration(exists=True, effect=Effect.NO_SCHEDULE),
    ],
)
def test_a_wider_toleration_is_enough(wider: Toleration) -> None:
    assert additions(NewPod(wants=SLICE, tolerations=(wider,))).toleration is None


@pytest.mark.parametrize(
    "narrower",
    [
        Toleration(key=GPU_TAINT, value="present", effect=Effect.NO_SCHEDULE),
        Toleration(key=GPU_TAINT, exists=True, effect=Effect.NO_EXECUTE),
        Toleration(key="nvidia.com/mig-3g.20gb", exists=True),
    ],
)
def test_a_narrower_one_is_not(narrower: Toleration) -> None:
    assert additions(NewPod(wants=SLICE, tolerations=(narrower,))).toleration is not None


def test_a_pod_that_was_put_on_a_node_by_hand_is_not_gated() -> None:
    """Kubernetes refuses a gate on it."""
    assert not additions(NewPod(wants=SLICE, bound=True)).gate


@pytest.mark.parametrize(
    "wants",
    [{ProfileName.parse("1g.5gb"): 2}, {**SLICE, ProfileName.parse("1g.5gb"): 1}],
    ids=["two of one", "one of two"],
)
def test_a_pod_that_is_not_planned_for_is_not_gated(wants: dict[ProfileName, int]) -> None:
    """The planner would never lift it; a static node may have what it asks for."""
    added = additions(NewPod(wants=wants))
    assert not added.gate
    assert added.toleration


def test_a_pod_for_which_no_gpu_of_ours_has_the_profile_is_not_gated() -> None:
    """Another plugin's node may have it, and the planner never will."""
    for fleet in (frozenset[ProfileName](), frozenset({ProfileName.parse("1g.5gb")})):
        added = additions(NewPod(wants=SLICE), fleet)
        assert not added.gate
        assert added.toleration


URL = {"KNATIVE_MIG_RELAY_FUNCTION_URL": "http://chat.team.svc"}
SECRET = {"KNATIVE_MIG_RELAY_SECRET_FILE": "/var/run/knative-mig/relay/secret"}
HOLDER = NewContainer(wants_slice=True)
CHAT = NewPod(namespace="team", service="chat", wants=SLICE, containers=(NewContainer(), HOLDER))


def test_whoever_holds_a_functions_slice_knows_where_to_send_what_is_late() -> None:
    assert additions(CHAT).relays == (ForRelay(container=1, variables=URL),)
    assert not additions(CHAT).secret


def test_who_may_be_moved_has_the_secret_too() -> None:
    added = additions(replace(CHAT, movable=True))
    assert added.relays == (ForRelay(container=1, variables=URL | SECRET, secret=True),)
    assert added.secret


def test_a_pod_of_no_service_has_nowhere_to_send_anything() -> None:
    assert additions(replace(CHAT, service="", movable=True)).relays == ()


@pytest.mark.parametrize(
    ("container", "volumes", "found"),
    [
        (replace(HOLDER, variables=frozenset(URL)), frozenset(), SECRET),
        (replace(HOLDER, variables=frozenset(SECRET)), frozenset(), URL),
        (replace(HOLDER, mounts=frozenset({"/var/run/knative-mig/relay"})), frozenset(), URL),
        (HOLDER, frozenset({"knative-mig-relay"}), URL),
        (replace(HOLDER, variables=frozenset(URL | SECRET)), frozenset(), None),
    ],
    ids=["a URL", "a secret's file", "a mount there", "a volume of that name", "all"],
)
def test_what_a_user_has_set_stands(
    container: NewContainer, volumes: frozenset[str], found: dict[str, str] | None
) -> None:
    (*relays,) = additions(replace(CHAT, movable=True, containers=(container,), volumes=volumes)).relays
    assert [each.variables for each in relays] == ([] if found is None else [found])
    assert [each.secret for each in relays] == ([] if found is None else [SECRET.items() <= found.items()])
