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
from knative_mig.core.errors import GpuError, GpuTimeout, InsufficientResources, SliceInUse
from knative_mig.core.gpu_node import SliceId, WantedGpu, WantedSlice
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice
from tests.rigs.simulated_node import Killed, Node

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


def layout(*slices: str) -> list[WantedSlice]:
    found = []
    for each in slices:
        name, _, start = each.partition("@")
        profile = MODEL.profile(ProfileName.parse(name))
        found.append(WantedSlice(profile=profile.name, start=int(start), size=profile.memory_units))
    return found


# Layouts that share places and that do not.
MENU = [
    layout("1g.5gb@0", "2g.10gb@2", "3g.20gb@4"),
    layout("1g.5gb@0", "2g.10gb@4", "1g.5gb@6"),
    layout("3g.20gb@0", "3g.20gb@4"),
    layout("7g.40gb@0"),
    [],
]


class AgentOfOneGpu(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.node = Node(open_store(f"1x{MODEL.name}", new_uuid=lambda: UUID(int=1)))
        self.wanted: WantedGpu | None = None
        self.struck: set[str | None] = set()  # MIG UUIDs of slices that an XID broke

    @initialize()
    def something_is_there(self) -> None:
        driver = self.node.loop._driver
        for each in MENU[0]:
            create_slice(driver, self.node.uuid, each.profile, each.start)
        self.want(MENU[0])
        self.node.settle(3)

    @rule(slices=st.one_of(st.sampled_from(MENU), st.sampled_from(MENU), st.none(), st.lists(WANTED, max_size=5)))
    def want(self, slices: list[WantedSlice] | None) -> None:
        self.wanted = None if slices is None else WantedGpu(uuid=self.node.uuid, slices=tuple(slices))
        self.node.want_gpus(*([] if self.wanted is None else [self.wanted]))

    @rule(times=st.integers(1, 6))
    def the_agent_steps(self, times: int) -> None:
        for _ in range(times):
            try:
                self.node.step()
            except Killed:
                self.node.restart_agent()
            self.no_held_slice_is_gone()

    @rule(times=st.integers(1, 4))
    def all_goes_its_way(self, times: int) -> None:
        for _ in range(times):
            self.the_agent_steps(1)
            self.node.kubelet_believes()
            self.node.ask_kubelet()
            self.node.write_node()

    @rule(believes=st.booleans(), is_asked=st.booleans(), writes=st.booleans())
    def the_kubelet(self, *, believes: bool, is_asked: bool, writes: bool) -> None:
        if believes:
            self.node.kubelet_believes()
        if is_asked:
            self.node.ask_kubelet()
        if writes:
            self.node.write_node()

    @rule(seconds=st.sampled_from([0.5, 3.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        """No holder takes longer to show than it is waited for."""
        for pod in self.node.pods.values():
            pod.listed = True
        self.node.clock.now += seconds

    @rule(data=st.data(), unseen=st.booleans())
    def a_pod_is_admitted(self, data: st.DataObject, *, unseen: bool) -> None:
        """Sometimes long before its kubelet is asked again, or its process shows."""
        profiles = sorted({str(SliceId.parse(each).profile) for each in self.node.believed})
        if profiles:
            self.node.admit(data.draw(st.sampled_from(profiles)))
        if unseen:
            self.time_passes(6.0)

    @precondition(lambda self: self.node.pods)
    @rule(data=st.data(), what=st.sampled_from(["starts", "releases", "releases", "ends"]))
    def a_pod(self, data: st.DataObject, what: str) -> None:
        pod = self.node.pods[data.draw(st.sampled_from(sorted(self.node.pods)))]
        if what == "ends":
            self.node.end(pod)
        elif what == "starts" and not pod.running and not pod.released:
            self.node.start(pod)
        elif what == "releases" and pod.listed and not pod.released:
            self.node.release(pod)

    @rule(
        what=st.sampled_from(
            ["killed", "killed in a call", "killed in a call", "fails", "full", "room", "away", "xid"]
        ),
        call=st.sampled_from(CHANGES),
        when=st.sampled_from(When),
        error=st.sampled_from([GpuTimeout, SliceInUse, InsufficientResources]),
    )
    def trouble(self, what: str, call: Call, when: When, error: type[GpuError]) -> None:
        node = self.node
        match what:
            case "killed":
                node.restart_agent()
            case "killed in a call":
                node.controls.inject(Fault(call=call, harm=Harm.KILL, when=when))
            case "fails":
                node.controls.inject(Fault(call=call, harm=Harm.FAIL, when=when, error=error))
            case "full" | "room":
                node.disk.full = what == "full"
            case "away":
                node.board.kubelet_away()
            case _:
                for each in node.store.read().gpus[0].instances[:1]:
                    node.controls.raise_xid(node.uuid, 94, gi_id=each.gi_id)
                    self.struck.add(each.mig_uuid)

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
        before = node.mig_uuids() - self.struck
        node.settle_down()
        if self.wanted is not None:
            reading = GpuReading(uuid=node.uuid, read_at=0.0, model=MODEL)
            target, _ = legal_places(reading, MODEL, self.wanted)
            assert sorted(node.slices()) == sorted(map(str, target))
            assert node.board.snapshot().progress[node.uuid].settled
        else:
            # Recovery may have finished or removed what was half made; of the whole ones only broken ones are gone.
            assert before <= node.mig_uuids()
        assert node.disk.intents == {}
        assert {str(each.key) for each in node.injection.published} == {s for s in node.slices() if "half" not in s}
        marks = node.board.snapshot().marks.values()
        assert not [mark for mark in marks if mark.withdrawn_since is not None or mark.release is not None]
        assert not [mark for mark in marks if mark.broken]


AgentOfOneGpu.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAgentOfOneGpu = AgentOfOneGpu.TestCase
