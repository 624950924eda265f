"""A move through any order of crashes, dying pods, changing demand and cancels: never the last replica, nothing left.

The API server's part is in `tests.rigs.moving_world`, which refuses to evict a pod beside which none is Ready. Here the
world goes on at random; a crash is between any two writes, and the next leader has nothing but the journal.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.mover.values import SliceSight, Waits
from tests.rigs.moving_world import Crash, World

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "time",
                "time",
                "time",
                "long time",
                "knative",
                "knative",
                "round",
                "round",
                "round on an old mirror",
                "crash",
                "demand",
                "a pod dies",
                "pods start or not",
                "budget",
                "room",
                "nobody waits",
                "slice taken",
                "autoscaler restarts",
                "relay hangs or not",
                "slice released or not",
            ]
        ),
        st.integers(0, 5),
    ),
    max_size=60,
)


def happen(world: World, what: str, how: int) -> None:
    match what:
        case "time":
            world.now += how
        case "long time":
            world.now += 100 * how
        case "knative":
            world.go_on()
        case "round" | "round on an old mirror":
            if what == "round":
                world.seen = dict(world.pods)
            before = len(world.ready())
            world.round()
            assert before == 0 or world.ready(), "we took the last replica"
        case "crash":
            world.crash_after = how
        case "demand":
            world.demand = how
        case "a pod dies" if len(world.pods) > how:
            world.die([*world.pods][how])
        case "pods start or not":
            world.starts = how % 2 == 0
        case "budget":
            world.budget = how % 2 == 0
        case "room":
            world.room = how % 2 == 0
        case "nobody waits" if how == 0:
            world.beneficiary = Waits.GONE
        case "slice taken" if how == 0:
            world.target = SliceSight.TAKEN
        case "relay hangs or not":
            world.relay_answers = how % 2 == 0
        case "slice released or not":
            world.released = how % 2 == 0
        case "autoscaler restarts":
            world.knows = how % 2 == 0


@settings(max_examples=400, deadline=None)
@given(seconds=st.integers(0, 6), busy=st.booleans(), happenings=HAPPENINGS)
def test_whatever_happens_it_ends_takes_back_what_it_asked_and_never_takes_the_last_replica(
    *, seconds: int, busy: bool, happenings: list[tuple[str, int]]
) -> None:
    """`busy`: more requests come in the middle, so that the story begins right before an eviction."""
    world = World()
    world.play(3 if busy else seconds)
    if busy:
        world.demand = 2
        world.play(85 + seconds)
    for what, how in happenings:
        try:
            happen(world, what, how)
        except Crash:
            continue
    world.knows, world.starts, world.crash_after = True, True, None
    for _ in range(60):
        world.play(100, step_s=10)
    assert world.journal is None, world.journal
    assert not world.floors
    marked = [pod.name for pod in world.live() if pod.deletion_cost is not None]
    assert not marked
    assert len(world.ready()) == world.demand
