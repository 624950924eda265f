"""Whatever is wanted, whoever comes and goes, whenever the agent dies: no held slice is destroyed, and the GPU becomes
what the spec says once its slices are free.
"""

from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from knative_mig.adapters.sim_gpu import Call, Fault, Harm, When, open_store
from knative_mig.core.agent.layout_change import legal_places
from knative_mig.core.agent.readings import GpuReading
from knative_mig.core.errors import GpuTimeout, InsufficientResources, SliceInUse
from knative_mig.core.gpu_node import WantedGpu, WantedSlice
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice
from tests.simulated_node import Killed, Node

MODEL = gpu_model("A100-40GB")
CHANGES = (
    Call.CREATE_GPU_INSTANCE,
    Call.CREATE_COMPUTE_INSTANCE,
    Call.DESTROY_COMPUTE_INSTANCE,
    Call.DESTROY_GPU_INSTANCE,
)
WANTED = st.builds(
    lambda place, size_off, start_off: WantedSlice(
        profile=place.profile.name,
        start=place.start + start_off,
        size=place.profile.memory_units + size_off,
    ),
    st.sampled_from(MODEL.places),
    st.sampled_from([0] * 9 + [1]),
    st.sampled_from([0] * 9 + [1]),
)


class AgentOfOneGpu(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.node = Node(open_store(f"1x{MODEL.name}", new_uuid=lambda: UUID(int=1)))
        self.wanted: WantedGpu | None = None

    @initialize()
    def something_is_there(self) -> None:
        driver = self.node.loop._driver
        for name, start in (("1g.5gb", 0), ("2g.10gb", 2), ("3g.20gb", 4)):
            create_slice(driver, self.node.uuid, ProfileName.parse(name), start)
        self.node.settle(3)

    @rule(slices=st.lists(WANTED, max_size=5))
    def want(self, slices: list[WantedSlice]) -> None:
        self.wanted = WantedGpu(uuid=self.node.uuid, slices=tuple(slices))
        self.node.want_gpus(self.wanted)

    @rule()
    def want_nothing_of_it(self) -> None:
        self.wanted = None
        self.node.want_gpus()

    @rule(times=st.integers(1, 6))
    def step(self, times: int) -> None:
        self.guarded(times)

    def guarded(self, times: int = 1) -> None:
        for _ in range(times):
            try:
                self.node.step()
            except Killed:
                self.node.restart_agent()
            self.no_held_slice_is_gone()

    @rule()
    def kubelet_believes(self) -> None:
        self.node.kubelet_believes()

    @rule()
    def kubelet_is_asked(self) -> None:
        self.node.ask_kubelet()

    @rule()
    def node_is_written(self) -> None:
        self.node.write_node()

    @rule()
    def kubelet_is_away(self) -> None:
        self.node.board.kubelet_away()

    @rule(times=st.integers(1, 4))
    def rounds(self, times: int) -> None:
        for _ in range(times):
            self.guarded()
            self.node.kubelet_believes()
            self.node.ask_kubelet()
            self.node.write_node()

    @rule(seconds=st.sampled_from([0.5, 3.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        """No holder takes longer to show than it is waited for."""
        for pod in self.node.pods.values():
            pod.listed = True
        self.node.clock.now += seconds

    @rule(profile=st.sampled_from([str(each) for each in MODEL.profiles]))
    def a_pod_is_admitted(self, profile: str) -> None:
        self.node.admit(profile)

    @precondition(lambda self: self.node.pods)
    @rule(data=st.data())
    def a_pod_starts(self, data: st.DataObject) -> None:
        pod = self.node.pods[data.draw(st.sampled_from(sorted(self.node.pods)))]
        if not pod.running and not pod.released:
            self.node.start(pod)

    @precondition(lambda self: self.node.pods)
    @rule(data=st.data())
    def a_pod_releases_its_slice(self, data: st.DataObject) -> None:
        pod = self.node.pods[data.draw(st.sampled_from(sorted(self.node.pods)))]
        if pod.listed:
            self.node.release(pod)

    @precondition(lambda self: self.node.pods)
    @rule(data=st.data())
    def a_pod_ends(self, data: st.DataObject) -> None:
        self.node.end(self.node.pods[data.draw(st.sampled_from(sorted(self.node.pods)))])

    @rule()
    def the_agent_is_killed(self) -> None:
        self.node.restart_agent()

    @rule(call=st.sampled_from(CHANGES), when=st.sampled_from(When))
    def the_agent_is_to_be_killed_in_a_call(self, call: Call, when: When) -> None:
        self.node.controls.inject(Fault(call=call, harm=Harm.KILL, when=when))

    @rule(
        call=st.sampled_from(CHANGES),
        when=st.sampled_from(When),
        error=st.sampled_from([GpuTimeout, SliceInUse, InsufficientResources]),
    )
    def a_call_is_to_fail(
        self, call: Call, when: When, error: type[GpuTimeout] | type[SliceInUse] | type[InsufficientResources]
    ) -> None:
        self.node.controls.inject(Fault(call=call, harm=Harm.FAIL, when=when, error=error))

    @rule(full=st.booleans())
    def the_disk_is_full_or_not(self, full: bool) -> None:  # noqa: FBT001 - hypothesis passes what it draws by name
        self.node.disk.full = full

    @rule()
    def the_slice_of_a_pod_breaks(self) -> None:
        gpu = self.node.store.read().gpus[0]
        if gpu.instances:
            self.node.controls.raise_xid(gpu.uuid, 94, gi_id=gpu.instances[0].gi_id)

    @invariant()
    def no_held_slice_is_gone(self) -> None:
        there = self.node.mig_uuids()
        for pod in self.node.pods.values():
            assert pod.released or pod.mig_uuid in there, f"{pod} lost its slice"

    @invariant()
    def nobody_shares_a_slice(self) -> None:
        held = [pod.mig_uuid for pod in self.node.pods.values()]
        assert len(held) == len(set(held))

    def teardown(self) -> None:
        """The pods end, nothing fails any more: then the GPU is as wanted, and nothing is half made or forgotten."""
        node = self.node
        for pod in tuple(node.pods.values()):
            node.end(pod)
        node.controls.clear_faults()
        node.disk.full = False
        before = set(node.slices())
        node.settle()
        if self.wanted is not None:
            reading = GpuReading(uuid=node.uuid, read_at=0.0, model=MODEL)
            target, _ = legal_places(reading, MODEL, self.wanted)
            assert sorted(node.slices()) == sorted(map(str, target))
            assert node.board.snapshot().progress[node.uuid].settled
        else:
            # Recovery may have finished or removed what was half made; no whole slice has come or gone.
            assert {each for each in before if "half" not in each} <= set(node.slices())
        assert node.disk.intents == {}
        assert {str(each.key) for each in node.injection.published} == {s for s in node.slices() if "half" not in s}
        marks = node.board.snapshot().marks.values()
        assert not [mark for mark in marks if mark.withdrawn_since is not None or mark.release is not None]


AgentOfOneGpu.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgentOfOneGpu = AgentOfOneGpu.TestCase
