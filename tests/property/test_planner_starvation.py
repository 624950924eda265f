"""A request for a whole GPU is served although small functions arrive for ever, as long as those that run do end."""

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.inventory import Busy, Function, Gpu, NodeName, Pending
from knative_mig.core.planner.batch import plan
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import ProfileName
from tests.rigs.simulated_fleet import FixedGpu, SimulatedFleet, pod_of

ROUND_S = 10.0
LONGEST_ROUNDS = 6  # that a small function runs
STARVING_AFTER_S = 60.0
GIVES_UP_S = 50.0  # a small function that got no slice: before its own age counts
WHOLE = Function("old", "whole")
SMALL = ["1g.5gb", "1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb"]


@pytest.mark.parametrize("priority_of_small", [0, 2])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), gpus=st.integers(1, 3), movable=st.booleans(), reserve_whole=st.integers(0, 1))
def test_an_old_request_for_a_whole_gpu_is_served(
    priority_of_small: int, seed: int, gpus: int, reserve_whole: int, *, movable: bool
) -> None:
    """Once it outranks the newly come, the pods on the emptiest GPU only ever become fewer, and it has that GPU when
    the last of them has ended.
    """
    rng, named = random.Random(seed), count()
    fleet = SimulatedFleet(spec=f"{gpus}xA100-40GB", stands=(FixedGpu(node=NodeName("n1")),) * gpus)
    policy = Policy(starving_after_s=STARVING_AFTER_S, reserve_whole=reserve_whole)
    whole = Pending(function=WHOLE, profile=ProfileName.parse("7g.40gb"), since=0.0)
    waiting, pods = {WHOLE: whole}, {WHOLE: pod_of(whole, movable=False, move_s=0.0)}
    ends: dict[Function, float] = {}
    outranks_at = STARVING_AFTER_S * (priority_of_small + 1)
    fewest, fewer_since = 8, outranks_at

    fleet.fill(rng)
    for pod in fleet.pods.values():
        ends[pod.function] = ROUND_S * rng.randint(1, LONGEST_ROUNDS)
    while WHOLE in waiting:
        waiting = {who: each for who, each in waiting.items() if who == WHOLE or fleet.now - each.since < GIVES_UP_S}
        for _ in range(rng.randint(2, 6)):
            new = _small(rng, next(named), fleet.now, priority_of_small)
            waiting[new.function] = new
            pods[new.function] = pod_of(new, movable=movable, move_s=5.0)

        inventory = fleet.inventory({})
        if fleet.now >= outranks_at:
            busy = min(_busy_units(gpu) for gpu in inventory.gpus)
            assert busy <= fewest
            fewer_since = fleet.now if busy < fewest else fewer_since
            fewest = busy
        made = plan(inventory, list(waiting.values()), policy, fleet.now)
        for step in fleet.carry_out(made, pods, drain_s=0.0):
            waiting.pop(step.function)
            ends[step.function] = fleet.now + ROUND_S * rng.randint(1, LONGEST_ROUNDS)

        fleet.pass_time(ROUND_S)
        # Counted from when they last became fewer: then another GPU may have become the emptiest, with younger pods.
        assert fleet.now <= fewer_since + ROUND_S * (LONGEST_ROUNDS + 2), "the whole GPU was never had"
        for at, pod in list(fleet.pods.items()):
            if pod.gone_at is None and ends[pod.function] <= fleet.now:
                fleet.terminate(at, after_s=rng.choice((0.0, 5.0)), worth_s=rng.choice((0.0, 5.0)))


def _small(rng: random.Random, number: int, now: float, priority: int) -> Pending:
    profile = ProfileName.parse(rng.choice(SMALL))
    return Pending(function=Function("new", f"f{number:03}"), profile=profile, priority=priority, since=now)


def _busy_units(gpu: Gpu) -> int:
    return sum(each.place.profile.memory_units for each in gpu.slices if isinstance(each.use, Busy))
