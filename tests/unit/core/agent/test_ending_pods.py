"""Which slices are held by pods that were told to end."""

from dataclasses import replace

import pytest

from knative_mig.core.agent.ending_pods import slices_of_ending
from knative_mig.core.agent.readings import KubeletReading, KubeletView, Mark, device_id
from knative_mig.core.cluster.objects import PodFacts
from tests.rigs.agent_worlds import holder, pod, slice_id, view

BIG = slice_id("A", "3g.20gb@4")
SERVING = pod("d/chat", "3g.20gb")
ENDING = replace(SERVING, ends_at=1300.0)
HELD = KubeletReading(view=view("A", "3g.20gb@4 by d/chat", "1g.5gb@0"), asked_at=1000.0)


@pytest.mark.parametrize(
    ("pods", "mark", "ends"),
    [
        ([SERVING], Mark(), False),
        ([ENDING], Mark(), True),
        ([], Mark(), False),
        ([replace(ENDING, namespace="other")], Mark(), False),
        ([ENDING], Mark(handed_out_at=900.0), True),
        ([ENDING], Mark(handed_out_at=1000.0), False),
        ([ENDING], Mark(handed_out_at=1001.0), False),
    ],
    ids=[
        "it serves", "it was told to end", "nobody knows it", "that is another one", "the kubelet was asked since",
        "at the same moment", "it is the next pod's, and the kubelet has not said so",
    ],
)  # fmt: skip
def test_it_is_so_when_the_api_server_and_a_new_kubelets_word_say_so(
    pods: list[PodFacts], mark: Mark, *, ends: bool
) -> None:
    assert slices_of_ending(pods, HELD, {BIG: mark}) == ({BIG} if ends else set())


def test_while_one_of_two_holders_goes_on_nobody_is_told() -> None:
    both = KubeletView(holders={device_id(BIG): (holder("d/chat"), holder("d/next"))})
    kubelet = KubeletReading(view=both, asked_at=1000.0)
    following = pod("d/next", "3g.20gb")
    assert not slices_of_ending([ENDING, following], kubelet, {})
    assert slices_of_ending([ENDING, replace(following, ends_at=1.0)], kubelet, {}) == {BIG}
