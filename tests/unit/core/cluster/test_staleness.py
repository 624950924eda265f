"""Which nodes may be planned on."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.staleness import AwaitingAgent, LeftOut, Lookout, Outside, Patience, Usable, Verdict
from knative_mig.core.gpu_node import Condition, ConditionType, GpuNode
from tests.rigs.small_cluster import gpu, gpu_node

NODE = gpu_node("n1", gpu("a"), generation=3)


def judged(lookout: Lookout, node: GpuNode, beat: object, now: float) -> Verdict:
    return lookout.judge_all({node.name: node}, {node.name: beat}, now)[node.name]


def reason(verdict: Verdict) -> Outside:
    assert isinstance(verdict, LeftOut)
    return verdict.because


@pytest.fixture
def lookout() -> Lookout:
    return Lookout(Patience())


def test_a_node_that_beats_and_has_answered_is_usable(lookout: Lookout) -> None:
    for second in range(0, 100, 10):
        assert isinstance(judged(lookout, NODE, second, second), Usable)


def test_a_beat_counts_from_when_it_was_seen_here_whatever_time_it_carries(lookout: Lookout) -> None:
    assert isinstance(judged(lookout, NODE, -3600.0, 0), Usable)
    assert isinstance(judged(lookout, NODE, -3600.0, 19.9), Usable)
    assert reason(judged(lookout, NODE, -3600.0, 20)) is Outside.SILENT
    assert isinstance(judged(lookout, NODE, -3590.0, 21), Usable)


def test_a_node_that_never_beat_is_given_the_same_time(lookout: Lookout) -> None:
    assert isinstance(judged(lookout, NODE, None, 0), Usable)
    assert reason(judged(lookout, NODE, None, 20)) is Outside.SILENT


def test_an_answer_is_awaited_from_when_the_spec_was_seen_and_each_spec_anew(lookout: Lookout) -> None:
    late = replace(NODE, generation=4)
    assert judged(lookout, late, 0, 100) == AwaitingAgent(until=130)
    assert judged(lookout, late, 1, 115) == AwaitingAgent(until=130)
    assert reason(judged(lookout, late, 2, 130)) is Outside.LATE
    assert judged(lookout, replace(NODE, generation=5), 3, 131) == AwaitingAgent(until=161)
    assert isinstance(judged(lookout, NODE, 4, 132), Usable)


def test_an_agent_that_has_not_reported_or_is_not_ready_is_left_out_with_its_own_words(lookout: Lookout) -> None:
    assert reason(judged(lookout, replace(NODE, status=None), 0, 0)) is Outside.NOT_REPORTED
    assert NODE.status
    condition = Condition(type=ConditionType.READY, status=False, reason="KubeletGone", message="no socket")
    not_ready = replace(NODE, status=replace(NODE.status, conditions=(condition,)))
    verdict = judged(lookout, not_ready, 1, 1)
    assert verdict == LeftOut(because=Outside.NOT_READY, why="KubeletGone: no socket")
