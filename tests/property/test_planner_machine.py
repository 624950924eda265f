"""Planner and simulated GPUs driven by whatever happens: functions come and go, nodes are cordoned, time passes.

A step is one rule that hypothesis chose and the machine carried out; each machine counts its own and its test asserts
how many there were, 5,000 and more in sum. What must hold of a plan is checked at every plan, what must hold of the
GPUs after every step. The simulated GPUs check the rest: they refuse to overlap slices and to destroy one in use.
"""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import ClassVar, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from knative_mig.adapters.sim_gpu import FileStore
from knative_mig.core.inventory import Function, Gpu, Inventory, NodeName, Pending
from knative_mig.core.planner.batch import plan, plan_on
from knative_mig.core.planner.decisions import How, Plan
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import ProfileName
from tests.rigs.simulated_fleet import At, FixedGpu, Pod, SimulatedFleet, pod_of

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")
NODES: Final = (None, None, None, frozenset({N1}), frozenset({N2}), frozenset({N1, N3}), frozenset({N2, N3}))
MOST_WAITING: Final = 6


@dataclass(frozen=True, kw_only=True)
class Site:
    spec: str
    stands: tuple[FixedGpu, ...]
    profiles: tuple[str, ...]


AMPERE: Final = Site(
    spec="3xA100-40GB,1xA30-24GB",
    stands=(
        FixedGpu(node=N1),
        FixedGpu(node=N2),
        FixedGpu(node=N3, static=("3g.20gb@4", "2g.10gb@2", "1g.5gb@0", "1g.5gb@1")),
        FixedGpu(node=N3),
    ),
    profiles=("1g.5gb", "1g.5gb+me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb", "1g.6gb", "2g.12gb+me"),
)
BLACKWELL: Final = Site(
    spec="1xRTX-PRO-6000-BLACKWELL-96GB,1xA100-80GB,1xRTX-PRO-6000-BLACKWELL-96GB",
    stands=(FixedGpu(node=N1), FixedGpu(node=N2), FixedGpu(node=N3)),
    profiles=("1g.24gb", "1g.24gb-me", "1g.24gb+me.all", "2g.48gb", "4g.96gb", "1g.10gb", "3g.40gb", "7g.80gb"),
)
SETTINGS: Final = settings(stateful_step_count=50, deadline=None, report_multiple_bugs=False)
QUOTA: Final = 4  # slices of each size that namespace `capped` may hold


class PlannerAndGpus(RuleBasedStateMachine):
    site: ClassVar[Site]
    driven: ClassVar[Counter[str]]  # rules carried out, plans' steps by their How
    paths: ClassVar["count[int] | None"] = None
    folder: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        path = None if self.paths is None else self.folder / f"gpus-{next(self.paths)}.json"
        self.fleet = SimulatedFleet(spec=self.site.spec, stands=self.site.stands, path=path)
        self.waiting: dict[Function, Pending] = {}
        self.pods: dict[Function, Pod] = {}
        self.named = count()
        self.layouts_at_first = self.static_layouts()

    @initialize(
        seed=st.integers(0, 2**32),
        max_moves=st.sampled_from((2, 2, 1, 0)),
        wait_s=st.sampled_from((0.0, 30.0)),
        reserve_whole=st.integers(0, 1),
    )
    def some_functions_run_already(self, seed: int, max_moves: int, wait_s: float, reserve_whole: int) -> None:
        if self.paths is None:  # each slice more is three times the disk's
            self.fleet.fill(Random(seed))
        self.policy = Policy(
            max_moves=max_moves, wait_at_most_s=wait_s, reserve_whole=reserve_whole, starving_after_s=60
        )
        self.kept = Fleet(self.fleet.inventory({}), self.policy)

    def count_step(self) -> None:
        self.driven["rules"] += 1

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(
        data=st.data(),
        arriving=st.lists(
            st.tuples(st.integers(1, 3), st.integers(0, 2), st.sampled_from(NODES)), min_size=1, max_size=3
        ),
        movable=st.booleans(),
        move_s=st.sampled_from((2.0, 5.0, 20.0)),
        drain_s=st.sampled_from((0.0, 0.0, 0.0, 3.0)),
    )
    def functions_arrive(
        self,
        data: st.DataObject,
        arriving: list[tuple[int, int, frozenset[NodeName] | None]],
        *,
        movable: bool,
        move_s: float,
        drain_s: float,
    ) -> None:
        self.count_step()
        for how_many, priority, nodes in arriving:
            if len(self.waiting) == MOST_WAITING:
                del self.waiting[min(self.waiting)]  # deleted before it ran
            number = next(self.named)
            pending = Pending(
                function=Function("capped" if number % 2 else "free", f"f{number:03}"),
                profile=ProfileName.parse(data.draw(st.sampled_from(self.site.profiles))),
                count=how_many,
                priority=priority,
                since=self.fleet.now,
                nodes=nodes,
            )
            self.waiting[pending.function] = pending
            self.pods[pending.function] = pod_of(pending, movable=movable, move_s=move_s)
        self.planned_and_carried_out(drain_s)

    @precondition(lambda self: self.running())
    @rule(
        data=st.data(),
        how_many=st.integers(1, 3),
        after_s=st.sampled_from((0.0, 0.0, 3.0, 50.0)),
        worth_s=st.sampled_from((0.0, 0.5, 8.0)),
    )
    def pods_end(self, data: st.DataObject, how_many: int, after_s: float, worth_s: float) -> None:
        self.count_step()
        for _ in range(min(how_many, len(self.running()))):
            self.fleet.terminate(data.draw(st.sampled_from(self.running())), after_s=after_s, worth_s=worth_s)

    @precondition(lambda self: self.waiting)
    @rule(seconds=st.sampled_from((1.0, 5.0, 40.0)), drain_s=st.sampled_from((0.0, 3.0)))
    def time_passes(self, seconds: float, drain_s: float) -> None:
        self.count_step()
        self.fleet.pass_time(seconds)
        self.planned_and_carried_out(drain_s)

    @rule(node=st.sampled_from((None, N1, N2, N3)))
    def another_node_is_cordoned(self, node: NodeName | None) -> None:
        self.count_step()
        self.fleet.cordoned = set() if node is None else {node}

    @rule()
    def agent_restarts(self) -> None:
        self.count_step()
        before = self.fleet.driver.inventory()
        self.fleet.restart()
        assert self.fleet.driver.inventory() == before

    # -- plans --------------------------------------------------------------------------------------------------------

    def planned_and_carried_out(self, drain_s: float) -> None:
        self.driven["plans"] += 1
        inventory = self.fleet.inventory(self.quota_left())
        asked = [replace(each, nodes=self.fleet.open_nodes(each.nodes)) for each in self.waiting.values()]

        made = plan(inventory, asked, self.policy, self.fleet.now)

        self.says_the_same_again(made, inventory, asked)
        self.keeps_to_nodes_and_quotas(made, inventory, asked)
        for step in self.fleet.carry_out(made, self.pods, drain_s=drain_s):
            self.driven[step.how] += 1
            self.no_longer_waits_for_one(step.function)
        self.driven[How.WAIT] += sum(step.how is How.WAIT for step in made.steps)

    def says_the_same_again(self, made: Plan, inventory: Inventory, asked: list[Pending]) -> None:
        fresh = Fleet(replace(inventory, gpus=inventory.gpus[::-1]), self.policy)
        for gpu in inventory.gpus:
            self.kept.replace(gpu)
        before = self.content_of(self.kept)
        for fleet, pendings in ((fresh, asked[::-1]), (self.kept, asked)):
            again = plan_on(fleet, pendings, self.fleet.now, quotas=inventory.quotas, prove=True)
            assert again == made
        assert self.content_of(self.kept) == before == [gpu.slices for gpu in sorted(inventory.gpus, key=_order)]

    def keeps_to_nodes_and_quotas(self, made: Plan, inventory: Inventory, asked: list[Pending]) -> None:
        granted, refused = Counter[Function](), Counter[Function]()
        by_function = {pending.function: pending for pending in asked}
        by_quota = Counter[tuple[str, ProfileName]]()
        for step in made.steps:
            nodes = by_function[step.function].nodes
            assert nodes is None or step.target.node in nodes
            assert len(step.relocations) <= self.policy.max_moves
            granted[step.function] += 1
            by_quota[step.function.namespace, step.profile] += 1
            for each in step.relocations:  # both its pods live for a while
                by_quota[each.function.namespace, each.source.profile.name] += 1
        for rejection in made.rejections:
            refused[rejection.pending.function] += rejection.count
        assert granted + refused == Counter({pending.function: pending.count for pending in asked})
        for namespace, limits in inventory.quotas.items():
            assert all(by_quota[namespace, name] <= left for name, left in limits.items())
        assert made.bound.served == sum(step.profile.compute for step in made.steps)
        assert made.bound.served <= made.bound.at_most <= sum(each.count * each.profile.compute for each in asked)

    def no_longer_waits_for_one(self, function: Function) -> None:
        pending = self.waiting.pop(function)
        if pending.count > 1:
            self.waiting[function] = replace(pending, count=pending.count - 1)

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def every_pod_has_its_slice_and_no_layout_overlaps(self) -> None:
        inventory = self.fleet.inventory({})  # a `Gpu` refuses overlapping slices
        there = {(gpu.uuid, each.place) for gpu in inventory.gpus for each in gpu.slices}
        assert self.fleet.pods.keys() <= there

    @invariant()
    def static_layouts_are_as_they_were(self) -> None:
        assert self.static_layouts() == self.layouts_at_first

    @invariant()
    def the_state_file_can_be_read(self) -> None:
        if self.fleet.path is not None:
            assert FileStore(self.fleet.path).read() == self.fleet.store.read()

    def running(self) -> list[At]:
        return sorted(
            (at for at, pod in self.fleet.pods.items() if pod.gone_at is None), key=lambda at: (at[0], at[1].index)
        )

    def static_layouts(self) -> list[set[str]]:
        return [{str(each.place) for each in gpu.slices} for gpu in self.fleet.inventory({}).gpus if gpu.static]

    def quota_left(self) -> dict[str, dict[ProfileName, int]]:
        held = Counter(at[1].profile.name for at, pod in self.fleet.pods.items() if pod.function.namespace == "capped")
        names = [ProfileName.parse(text) for text in self.site.profiles]
        return {"capped": {name: max(0, QUOTA - held[name]) for name in names}}

    @staticmethod
    def content_of(fleet: Fleet) -> list[object]:
        return [fleet.slices(position) for position in range(len(fleet))]


def _order(gpu: Gpu) -> tuple[str, str]:
    return gpu.node, gpu.uuid


@pytest.mark.parametrize(
    ("site", "examples", "least", "seen"),
    [
        pytest.param(AMPERE, 92, 2600, set(How) - {How.RECREATE}, id="ampere"),
        pytest.param(BLACKWELL, 80, 2200, set(How) - {How.MOVE, How.RECREATE}, id="blackwell"),
    ],
)
def test_whatever_happens_plans_can_be_carried_out(site: Site, examples: int, least: int, seen: set[How]) -> None:
    """2,600 + 2,200 steps on GPUs in memory: more are drawn, as what is drawn depends on which modules are loaded."""

    class Machine(PlannerAndGpus):
        driven: ClassVar = Counter[str]()

    Machine.site = site
    run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=examples))
    print(f"\n{site.spec}: {dict(Machine.driven)}")
    assert Machine.driven["rules"] >= least
    assert seen <= {how for how in How if Machine.driven[how]}


def test_whatever_happens_the_state_file_can_be_read(tmp_path: Path) -> None:
    """200 steps more, the GPUs in a file that is opened anew by an agent that restarts."""

    class Machine(PlannerAndGpus):
        driven: ClassVar = Counter[str]()

    Machine.site, Machine.folder, Machine.paths = AMPERE, tmp_path, count()
    run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=8))
    print(f"\nin a file: {dict(Machine.driven)}")
    assert Machine.driven["rules"] >= 200
