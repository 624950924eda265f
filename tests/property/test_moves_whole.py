"""Moves in the planner's own rounds, through any order of what may happen around them and in the planner itself.

The world of `tests.rigs.moving_cluster` refuses the one write that must never be: an eviction beside which no pod of
the function is Ready. At the end of each story nothing is left of any move, and what stands on the Revision is the
user's.
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.floor.values import Request, Setting
from knative_mig.ports.kube import Key
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.moving_cluster import Killed, MovingCluster, Writes
from tests.rigs.planner_replica import Clock
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "turns",
                "turns",
                "turns",
                "long",
                "whole",
                "whole goes",
                "small",
                "dies",
                "demand",
                "kill",
                "starts",
                "edit",
                "asks",
                "new leader",
            ]
        ),
        st.integers(0, 7),
    ),
    max_size=25,
)
ASKED = Key("knative-mig", "floor-move")
SOMEBODYS = Request(
    component="move", name="team.llm", namespace="team", revision="llm", value=3.0, until=1e11, reason="mine"
)


class Story:
    def __init__(self) -> None:
        cluster, self.clock = FakeCluster(), Clock()
        cluster.put_gpu_node(gpu_node("n1", gpu("gpu-a", {"3g.20gb@4": "old"}), gpu("gpu-b", {"4g.20gb@0": "fixed"})))
        cluster.put_gpu_node(gpu_node("n2", gpu("gpu-c", {"4g.20gb@0": "fixed2"})))
        for name, fixed in (("n1", "fixed"), ("n2", "fixed2")):
            cluster.put_node(node(name))
            cluster.beat(name, self.clock.at)
            cluster.put_pod(pod(fixed, "4g.20gb", on=name))
        self.world = MovingCluster(cluster, self.clock)
        self.world.function("llm", "3g.20gb")
        self.world.running("llm", "old", "n1")
        self.writes = Writes()
        self.writes.watch_all(self.world)
        self.came = 0
        self.users: str | None = None

    def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            try:
                self.world.turn()
            except Killed:
                self.world.beat()
                self.world.fail_over()

    def happen(self, what: str, how: int) -> None:
        world = self.world
        match what:
            case "turns":
                self.turn(how)
            case "long":
                self.clock.at += 40 * how
                for name in ("n1", "n2"):
                    world.cluster.beat(name, self.clock.at)
            case "whole" | "small":
                self.came += 1
                profile = "7g.40gb" if what == "whole" else "3g.20gb"
                world.cluster.put_pod(pod(f"{what}-{self.came}", profile, gated=True, created=self.clock.wall()))
            case "whole goes":
                for each in [each for key, each in world.cluster.pods.items() if key.name.startswith("whole")][:1]:
                    world.agents.end(each)
            case "dies" if how < len(world.pods("llm")):
                world.agents.end(world.pods("llm")[how])
            case "demand":
                world.demand["llm"] = how % 4
            case "kill":
                self.writes.at, self.writes.after = len(self.writes.done) + how // 2, how % 2 == 1
            case "starts":
                world.starts = how % 2 == 0
            case "edit" if world.knative.floor("llm") != str(how % 3):
                self.users = str(how % 3)
                world.knative.edit("llm", {Setting.MIN: self.users})
            case "asks":  # somebody deletes what the mover asks, or writes over it
                world.knative.requests.pop(ASKED, None)
                if how % 2:
                    world.knative.requests[ASKED] = (replace(SOMEBODYS, value=float(how)),)
            case "new leader":
                world.fail_over()


@settings(max_examples=60, deadline=None)
@given(HAPPENINGS)
def test_whatever_happens_nothing_is_left_of_a_move_and_the_last_replica_is_never_taken(
    happenings: list[tuple[str, int]],
) -> None:
    story = Story()
    story.turn(2)
    story.happen("whole", 0)
    for what, how in happenings:
        story.happen(what, how)
    world = story.world
    story.writes.at, world.starts, world.demand["llm"] = None, True, 1
    for key in [key for key in world.cluster.pods if key.name.startswith("whole")]:
        world.agents.end(world.cluster.pods[Key("team", key.name)])
    for _ in range(12):
        story.turn(10)
        story.happen("long", 5)
    story.turn(5)
    stored = world.knative.move_store.stands.journal
    assert not stored.moves
    assert world.knative.component("move").asked == {}
    assert world.knative.floor_store.stands.records == {}
    assert world.knative.floor("llm") == story.users
    assert {each.deletion_cost for each in world.pods("llm")} <= {None}
    assert len(world.pods("llm")) == max(1, int(story.users or 0))
