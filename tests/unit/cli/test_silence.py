"""What is said of a pod of which the planner says nothing."""

from dataclasses import replace

import pytest

from knative_mig.cli.silence import of_pod
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GATE, Condition, ConditionType, GpuNode
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName

from .test_gpu_text import a_node

POD = PodFacts(
    namespace="default", name="a", uid="1", created=0.0, gates=(GATE,), wants={ProfileName.parse("1g.5gb"): 1}
)
SILENT = "the planner has not said a word of it"


def says(kind: ConditionType, reason: str, message: str, *, status: bool | None = False, **more: object) -> GpuNode:
    node = a_node(**more)  # type: ignore[arg-type]
    assert node.status is not None
    said = Condition(type=kind, status=status, reason=reason, message=message)
    return replace(node, status=replace(node.status, conditions=(said,)))


FULL = "nothing is made or destroyed: No space left on device"


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (a_node(), SILENT),
        (GpuNode(name=NodeName("n")), f"{SILENT}; the agent of n has not reported yet"),
        (
            says(ConditionType.READY, "JournalUnwritable", FULL),
            f"{SILENT}; dev-0 is not ready: JournalUnwritable: {FULL}",
        ),
        (
            says(ConditionType.READY, "Recovering", "looks", status=None, wanted=("1g.5gb@6",)),
            "1g.5gb@6 on dev-0 is planned and not made yet; dev-0 is not ready: Recovering: looks",
        ),
        (says(ConditionType.SPEC_APPLIED, "Overlap", "no place"), f"{SILENT}; dev-0: Overlap: no place"),
        (says(ConditionType.SPEC_APPLIED, "Changing", "creates"), SILENT),
        (a_node(wanted=("2g.10gb@0",)), SILENT),
    ],
    ids=["well", "no agent", "full disk", "planned", "not applied", "at work", "for another"],
)
def test_what_is_known_is_said(node: GpuNode, said: str) -> None:
    assert of_pod(POD, [node]) == said


@pytest.mark.parametrize(
    "pod",
    [
        replace(POD, gates=()),
        replace(POD, node=NodeName("dev-0")),
        replace(POD, told=Condition(type="knative-mig.dev/Slice", status=False, reason="NoRoom")),
    ],
    ids=["no gate of ours", "placed", "told"],
)
def test_who_does_not_wait_for_a_word_has_none(pod: PodFacts) -> None:
    assert of_pod(pod, [a_node()]) == ""
