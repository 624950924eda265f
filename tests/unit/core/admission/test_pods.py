"""What a pod that asks for a slice is given on its way in."""

import pytest

from knative_mig.core.admission import pods
from knative_mig.core.admission.pods import Additions, NewPod
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
