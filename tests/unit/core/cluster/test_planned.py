"""What is said of a GpuNode, and when nothing new is."""

from dataclasses import replace

from knative_mig.core.cluster.planned import word
from knative_mig.core.cluster.staleness import USABLE, AwaitingAgent, LeftOut, Outside
from knative_mig.core.gpu_node import Condition
from tests.rigs.small_cluster import gpu, gpu_node

NODE = gpu_node("n1", gpu("g"))
SILENT = LeftOut(because=Outside.SILENT, why="no heartbeat")
GOOD = Condition(type="Planned", status=True, reason="Planned", since=100.0)


def test_a_node_is_planned_on_or_not_and_it_says_since_when() -> None:
    assert word(NODE, USABLE, 100.0) == GOOD
    good = replace(NODE, planned=GOOD)
    bad = word(good, SILENT, 150.0)
    assert bad == Condition(type="Planned", status=False, reason="AgentSilent", message="no heartbeat", since=150.0)
    late = word(replace(NODE, planned=bad), LeftOut(because=Outside.LATE, why="no answer"), 170.0)
    assert late == Condition(type="Planned", status=False, reason="AgentLate", message="no answer", since=150.0)


def test_nothing_is_said_twice_nor_of_an_answer_that_is_only_awaited() -> None:
    good = replace(NODE, planned=GOOD)
    assert word(good, USABLE, 200.0) is None
    assert word(good, AwaitingAgent(until=230.0), 200.0) is None


def test_a_long_reason_is_cut_to_what_the_schema_takes_and_is_still_said_once() -> None:
    long = LeftOut(because=Outside.NOT_READY, why="x" * 5000)
    said = word(NODE, long, 1.0)
    assert said
    assert len(said.message) == 1024
    assert word(replace(NODE, planned=said), long, 2.0) is None
