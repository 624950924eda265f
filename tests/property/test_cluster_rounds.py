"""Planner, agents, kubelets and a scheduler on random clusters: what must hold of every round, whatever came before.

Each example plays some dozens of happenings in an order drawn by hypothesis: pods come, gated or not, and end; agents
answer late; nodes are cordoned; a second planner takes over while the first still believes that it leads. Agents refuse
to destroy what a pod has, so a busy slice that a spec left out would be caught here before it could be on hardware.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.cluster.waiting import is_waiting, wanted_profile
from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec, SliceState
from knative_mig.core.inventory import NodeName
from knative_mig.core.mig_tables import gpu_model
from reconfigurer.planner.loop import Outcome
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod
from tests.rigs.whole_world import nodes_for

PROFILES = ("1g.5gb", "1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
NAMES = ("n1", "n2", "n3")
HAPPENINGS = ("pod", "pod", "gated", "ends", "obey", "obey", "report", "schedule", "round", "round", "cordon", "rival")


class Story:
    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.clock = Clock()
        self.cluster = FakeCluster()
        for at, name in enumerate(NAMES):
            self.cluster.put_gpu_node(gpu_node(name, *(gpu(f"gpu-{name}-{i}") for i in range(1 + at % 2))))
            self.cluster.put_node(node(name, cpu=3_000))
        self.floor = Floor(self.cluster)
        self.planner = Replica(self.cluster, self.clock, "planner-0")
        self.came = 0
        self.cluster.write_spec = self._checked(self.cluster.write_spec)  # type: ignore[method-assign]

    def _checked(self, write_spec: Callable[[GpuNode, GpuNodeSpec], GpuNode]) -> Callable[..., GpuNode]:
        def checked(old: GpuNode, spec: GpuNodeSpec) -> GpuNode:
            shown = self.cluster.read(old.name)
            assert shown.status
            if shown.resource_version == old.resource_version:
                for each in shown.status.gpus:
                    named = spec.wanted(each.uuid)
                    busy = {one.key for one in each.slices if one.state is SliceState.BUSY}
                    assert named is None or busy <= {one.key for one in named.slices}, "a busy slice is asked away"
            return write_spec(old, spec)

        return checked

    def happen(self, what: str) -> None:
        name = NodeName(self.rng.choice(NAMES))
        match what:
            case "pod" | "gated":
                self._come(gated=what == "gated")
            case "ends":
                running = [each for each in self.cluster.pods.values() if each.node]
                if running:
                    self.floor.end(self.rng.choice(running))
            case "obey":
                self.floor.obey(name)
            case "report":
                self.floor.report(name)
            case "schedule":
                self.floor.schedule(self.rng)
            case "cordon":
                (facts,) = [each for each in self.cluster.nodes.values() if each.name == name]
                self.cluster.put_node(replace(facts, unschedulable=self.rng.random() < 0.3))
            case "round":
                self.round()
            case "rival":
                self._overtake()
        self.clock.at += 0.1

    def _come(self, *, gated: bool) -> None:
        self.came += 1
        new = pod(
            f"p{self.came}",
            self.rng.choice(PROFILES),
            revision=f"f{self.came % 3}",
            gated=gated,
            priority=self.rng.choice((0, 0, 5)),
            created=self.clock.wall(),
            cpu=500,
        )
        self.cluster.put_pod(new)

    def round(self) -> None:
        """The same world twice: the second time there is nothing to write."""
        if self.planner.leader.token() is None:
            self.planner.leader.step()
        if self.planner.round() is Outcome.PLANNED:
            written = len(self.cluster.spec_writes)
            self.planner.round()
            assert len(self.cluster.spec_writes) == written, "the same world twice has been written twice"

    def _overtake(self) -> None:
        """The old leader was paused: it still believes that it leads when it wakes up."""
        old, token = self.planner, self.planner.leader.token()
        believes = Clock(at=self.clock.at)
        ahead = Clock(at=self.clock.at + 1)
        rival = Replica(self.cluster, ahead, f"planner-{self.rng.random()}")
        rival.leader.step()
        ahead.at += 15
        rival.leader.step()
        assert rival.round() is Outcome.PLANNED
        if token is not None:
            self.clock.at = believes.at
            tokens = {name: self.cluster.gpu_node(name).spec.fencing_token for name in NAMES}
            old.gpu_nodes.lagging = True
            old.round()
            old.gpu_nodes.lagging = False
            now = {name: self.cluster.gpu_node(name).spec.fencing_token for name in NAMES}
            assert now == tokens, "a stale leader's write was taken"
        self.clock.at = ahead.at
        self.planner = Replica(self.cluster, self.clock, rival.name)

    def settle(self) -> None:
        """Nothing comes and nothing ends any more: all agents answer, all rounds are played, until nothing changes."""
        for facts in [*self.cluster.nodes.values()]:
            self.cluster.put_node(replace(facts, unschedulable=False))
        for _ in range(12):
            self.clock.at += 0.1
            self.planner.leader.step()
            self.planner.round()
            for name in NAMES:
                self.floor.obey(NodeName(name))
            self.planner.round()
            self.floor.schedule(self.rng)
            for name in NAMES:
                self.floor.report(NodeName(name))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), happenings=st.lists(st.sampled_from(HAPPENINGS), min_size=10, max_size=50))
def test_no_busy_slice_is_asked_away_nothing_is_written_twice_and_whatever_fits_is_served(
    seed: int, happenings: list[str]
) -> None:
    story = Story(seed)
    for what in happenings:
        story.happen(what)
    story.settle()
    written = len(story.cluster.spec_writes)
    story.planner.round()
    assert len(story.cluster.spec_writes) == written
    for each in story.cluster.pods.values():
        if is_waiting(each):
            assert not places_for(story, each.name), f"{each.name} waits for {wanted_profile(each)} and has a place"


def places_for(story: Story, name: str) -> list[str]:
    """Where a slice could be made without touching a busy one, on nodes where the pod can run."""
    waiting = story.cluster.pod(name)
    profile = wanted_profile(waiting)
    model = gpu_model("A100-40GB")
    found = []
    for where in nodes_for(waiting, story.cluster.nodes.values(), story.cluster.pods.values()):
        status = story.cluster.gpu_node(where).status
        assert status
        for each in status.gpus:
            busy = 0
            for (on, uuid, key), holder in story.floor.held.items():
                if (on, uuid) == (where, each.uuid) and holder:
                    busy |= model.place(model.profile(key.profile), key.start).mask
            found += [f"{place} of {each.uuid}" for place in model.places_named(profile) if not place.mask & busy]
    return found
