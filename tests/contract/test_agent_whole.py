"""The agent as a whole, over simulated GPUs, a kubelet's sockets and an API server's HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.kube.kinds import GPU_NODE, LEASE, POD
from knative_mig.adapters.sim_gpu import Call, Fault, Harm, When
from knative_mig.core.agent.failed_pods import DEAD_ENGINE_GRACE_S
from knative_mig.core.gpu_node import OF_NO_POD, ConditionType, GpuHealth, Layout, SliceState
from knative_mig.core.mig_tables import gpu_model
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.kube import Key
from reconfigurer.agent.pod_loop import LOOK_EACH_S
from reconfigurer.agent.process import Agent
from reconfigurer.agent.publisher import AT_LEAST_EACH_S
from reconfigurer.agent.settings import Inject
from tests.contract.agent_rig import NAME, AgentRig
from tests.contract.fake_kubelet import AdmissionFailed, ContainerNotStarted
from tests.rigs.agent_worlds import profile
from tests.rigs.stopwatch import Stopwatch

SPEC_APPLIED = ConditionType.SPEC_APPLIED


def chat_runs(rig: AgentRig) -> None:
    """A pod on a slice that was made for it, and reported to be."""
    rig.want("3g.20gb@4")
    rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
    rig.run_pod("chat", "3g.20gb")
    rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.BUSY)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: a socket's path has 107 characters at most."""
    with TemporaryDirectory(prefix="agent-") as name:
        yield Path(name)


def test_the_life_of_a_node(folder: Path) -> None:
    with AgentRig(folder) as rig:
        # Every profile is known to the scheduler while there is no slice at all.
        rig.wait_for(lambda: rig.offers("3g.20gb") == 0)
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))

        # What is wanted is made, and offered once the kubelet believes it.
        rig.want("1g.5gb@0", "1g.5gb@1", "3g.20gb@4")
        rig.wait_for(lambda: (rig.offers("1g.5gb"), rig.offers("3g.20gb")) == (2, 1))
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (True, "Applied"))
        assert rig.node.status is not None
        assert rig.node.status.observed_generation == rig.node.generation

        # A pod gets its slice, is its holder, and its process is on it.
        started = rig.run_pod("chat", "3g.20gb")
        before = rig.slices["3g.20gb@4"]
        assert started.environment["NVIDIA_VISIBLE_DEVICES"] == before.mig_uuid
        assert started.environment["KNATIVE_MIG_PROFILE"] == "3g.20gb"
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].pids == (rig.workloads["chat"].pid,))
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        busy = rig.slices["3g.20gb@4"]
        assert (busy.state, busy.holders[0].pod) == (SliceState.BUSY, "chat")

        # Another layout: idle slices go, the busy one and its neighbourhood stay, and it is said.
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.hardware == ["3g.20gb@4"])
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (False, "PlaceBusy"))
        rig.wait_for(lambda: rig.offers("1g.5gb") == 0)
        assert rig.slices["3g.20gb@4"].mig_uuid == busy.mig_uuid
        assert rig.workloads["chat"].poll() is None

        # Its pod ends: all is merged.
        rig.end_pod("chat")
        rig.wait_for(lambda: (rig.offers("7g.40gb"), rig.offers("3g.20gb")) == (1, 0))
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (True, "Applied"))
        assert rig.hardware == ["7g.40gb@0"]
        started = rig.run_pod("big", "7g.40gb")
        assert started.environment["NVIDIA_VISIBLE_DEVICES"] != busy.mig_uuid


def test_a_restarted_agent_goes_on_where_it_was_and_a_pod_does_not_notice(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@0", "3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 2)
        rig.run_pod("chat", "3g.20gb")
        rig.wait_for(lambda: [each.state for each in rig.slices.values()].count(SliceState.BUSY) == 1)
        (idle,) = [each for each in rig.slices.values() if each.state is SliceState.IDLE]
        assert rig.end_agent() < 2.0
        rig.start_agent()
        rig.wait_for(lambda: rig.kubelet.allocatable(profile("3g.20gb")) == 2)
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        assert rig.slices[str(idle.key)].idle_since == idle.idle_since
        rig.kubelet.restart_container("default", "chat", "user-container")


def test_a_journal_that_cannot_be_read_is_rebuilt_from_gpu_and_kubelet_and_that_is_said(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("1g.5gb@0", "1g.5gb@1", "3g.20gb@4")
        rig.wait_for(lambda: (rig.offers("1g.5gb"), rig.offers("3g.20gb")) == (2, 1))
        rig.run_pod("chat", "3g.20gb")
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.BUSY)
        before = {name: each.mig_uuid for name, each in rig.slices.items()}
        rig.end_agent()
        journal = rig.settings.state_dir / "journal"
        damaged = journal.read_bytes().replace(b'"', b"?")
        journal.write_bytes(damaged)

        rig.start_agent()
        rig.wait_for(lambda: rig.said(ConditionType.JOURNAL_WRITABLE) == (True, "Rebuilt"))
        rig.wait_for(lambda: "JournalRebuilt" in [reason for reason, _ in rig.events])
        assert journal.with_name("journal.damaged-1").read_bytes() == damaged
        rig.wait_for(lambda: [each.pod for each in rig.slices["3g.20gb@4"].holders] == ["chat"])
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        assert {name: each.mig_uuid for name, each in rig.slices.items()} == before

        # From here on it is as any other: what is idle goes, what is held stays.
        rig.want("3g.20gb@0", "3g.20gb@4")
        rig.wait_for(lambda: rig.hardware == ["3g.20gb@0", "3g.20gb@4"])
        rig.kubelet.restart_container("default", "chat", "user-container")


def test_a_slice_is_given_to_one_pod_alone_though_the_kubelet_lists_its_pods_while_it_is_given(folder: Path) -> None:
    with AgentRig(folder) as rig, ThreadPoolExecutor(max_workers=1) as pool:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        with rig.kubelet.listing_slowly():
            rig.kubelet.wait_for(lambda: rig.kubelet.slow_lists > 0)
            chat = pool.submit(rig.kubelet.admit, "default", "chat", "user-container", profile("3g.20gb"))
            assert wait([chat], timeout=0.2).not_done, "it is not given before the list has ended"
        chat.result()
        with pytest.raises(AdmissionFailed, match="Available: 0"):
            rig.kubelet.admit("default", "other", "user-container", profile("3g.20gb"))


def test_a_kubelet_that_restarts_has_its_devices_back_and_the_node_offers_them(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.kubelet.restart()
        rig.wait_for(lambda: rig.kubelet.allocatable(profile("3g.20gb")) == 1)
        rig.wait_for(
            lambda: (rig.offers("3g.20gb"), rig.said(ConditionType.KUBELET_CONNECTED)) == (1, (True, "Connected"))
        )
        # Who ends while a plugin of his is being connected to leaves a stream that gRPC does not always end.
        rig.kubelet.wait_for(lambda: rig.kubelet.plugins == len(gpu_model("A100-40GB").profiles))


def test_a_kubelet_that_restarted_and_has_not_heard_of_its_pods_yet_costs_none_its_slice(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("1g.5gb@0", "3g.20gb@4")
        rig.wait_for(lambda: (rig.offers("1g.5gb"), rig.offers("3g.20gb")) == (1, 1))
        rig.run_pod("chat", "3g.20gb")
        rig.end_agent()
        rig.start_agent()  # nobody was handed a slice a moment ago
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].pids and rig.slices["3g.20gb@4"].holders)
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        busy = rig.slices["3g.20gb@4"]

        rig.kubelet.has_heard_of_its_pods = False
        rig.kubelet.restart()
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (False, "PlaceBusy"))
        rig.wait_for_quiet()
        assert rig.hardware == ["3g.20gb@4"]
        assert rig.slices["3g.20gb@4"] == busy

        rig.kubelet.has_heard_of_its_pods = True
        rig.end_pod("chat")
        rig.wait_for(lambda: rig.hardware == ["7g.40gb@0"])


def test_an_agent_that_starts_beside_such_a_kubelet_knows_from_its_last_report_who_holds_what(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("1g.5gb@0", "3g.20gb@4")
        rig.wait_for(lambda: (rig.offers("1g.5gb"), rig.offers("3g.20gb")) == (1, 1))
        rig.put_pod("chat", "3g.20gb")
        rig.kubelet.admit("default", "chat", "user-container", profile("3g.20gb"))  # no process on it: it loads
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        held_by = rig.slices["3g.20gb@4"].holders
        rig.end_agent()

        rig.kubelet.has_heard_of_its_pods = False
        rig.kubelet.restart()
        rig.start_agent()
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (False, "PlaceBusy"))
        rig.wait_for_quiet()
        assert rig.hardware == ["3g.20gb@4"]
        assert rig.slices["3g.20gb@4"].holders == held_by

        rig.kubelet.has_heard_of_its_pods = True
        rig.kubelet.delete("default", "chat")
        rig.api.remove_object(POD, Key("default", "chat"))
        rig.wait_for(lambda: rig.hardware == ["7g.40gb@0"])


def test_a_kubelet_that_restarts_while_the_api_server_is_away_since_the_agents_start_costs_none_its_slice(
    folder: Path,
) -> None:
    with AgentRig(folder) as rig:
        rig.want("1g.5gb@0", "3g.20gb@4")
        rig.wait_for(lambda: (rig.offers("1g.5gb"), rig.offers("3g.20gb")) == (1, 1))
        rig.put_pod("chat", "3g.20gb")
        rig.kubelet.admit("default", "chat", "user-container", profile("3g.20gb"))
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        rig.end_agent()
        rig.api.faults.fail(503, times=1000, path="/pods")  # those of the node are told last
        agent = rig.start_agent()

        def holders() -> object:
            kubelet = agent.board.snapshot().kubelet
            return kubelet.view.holders if kubelet else {}

        rig.wait_for(holders)
        rig.kubelet.has_heard_of_its_pods = False
        rig.kubelet.restart()
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (False, "PlaceBusy"))
        rig.wait_for_quiet()
        assert rig.hardware == ["3g.20gb@4"]
        assert holders()


def test_a_slice_with_a_process_of_no_pod_is_offered_to_nobody_until_the_process_has_gone(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("2g.10gb@0", "2g.10gb@2")
        rig.wait_for(lambda: rig.offers("2g.10gb") == 2)
        uuid = rig.slices["2g.10gb@0"].mig_uuid
        assert uuid
        stray = subprocess.Popen(["sleep", "600"])
        try:
            rig.controls.attach(MigUuid(uuid), pid=stray.pid)
            rig.wait_for(lambda: (rig.offers("2g.10gb"), rig.kubelet.allocatable(profile("2g.10gb"))) == (1, 1))
            rig.wait_for(lambda: rig.slices["2g.10gb@0"].why == OF_NO_POD)
            (device,) = rig.run_pod("chat", "2g.10gb").devices
            assert device.endswith("/2")
        finally:
            stray.kill()
            stray.wait()
        rig.wait_for(lambda: rig.offers("2g.10gb") == 2)
        rig.wait_for(lambda: rig.slices["2g.10gb@0"].state is SliceState.IDLE)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(lambda path: path.write_bytes(b"garbage"), "The journal is begun anew", id="damaged"),
        pytest.param(lambda path: path.mkdir(), "Nothing is made or destroyed", id="not to be written"),
    ],
)
def test_a_journal_that_cannot_be_used_at_the_start_is_in_the_log_and_in_the_condition_with_its_reason(
    folder: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], object], said: str
) -> None:
    (folder / "state").mkdir()
    harm(folder / "state" / "journal")
    with AgentRig(folder) as rig:
        assert any(said in each and "state/journal" in each for each in caplog.messages)
        rig.wait_for(lambda: rig.node.status and rig.node.status.condition(ConditionType.JOURNAL_WRITABLE))
        status = rig.node.status
        found = status.condition(ConditionType.JOURNAL_WRITABLE) if status else None
        assert found
        assert "state/journal" in found.message


def test_while_the_api_server_is_away_pods_start_and_the_node_is_told_when_it_is_back(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.put_pod("chat", "3g.20gb")
        rig.api.faults.fail(503, times=10)
        rig.run_pod("chat", "3g.20gb")
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)


def test_an_xid_has_the_pod_evicted_and_the_slice_made_anew(folder: Path) -> None:
    with AgentRig(folder) as rig:
        chat_runs(rig)
        (gpu,) = rig.gpus.inventory().gpus
        rig.controls.raise_xid(gpu.uuid, 94, gi_id=gpu.instances[0].gi_id)
        rig.wait_for(lambda: "chat" not in rig.pods(), LOOK_EACH_S / 2)  # it is not the next look that finds it
        (victim,) = rig.api.objects(POD)
        assert victim["metadata"]["deletionGracePeriodSeconds"] == DEAD_ENGINE_GRACE_S
        rig.wait_for(lambda: any(reason == "SliceBroken" and "94" in text for reason, text in rig.events))
        rig.kubelet.delete("default", "chat")
        rig.workloads["chat"].kill()
        rig.workloads["chat"].wait()
        before = gpu.instances[0].compute_instance
        assert before is not None
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].mig_uuid not in (None, before.mig_uuid))
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)


def test_a_budget_holds_the_eviction_from_a_broken_slice_up_until_it_allows_it(folder: Path) -> None:
    with AgentRig(folder) as rig:
        chat_runs(rig)
        rig.api.hold_up_evictions_of(Key("default", "chat"))
        (gpu,) = rig.gpus.inventory().gpus
        rig.controls.raise_xid(gpu.uuid, 94, gi_id=gpu.instances[0].gi_id)
        rig.wait_for(lambda: any("a disruption budget holds it up" in text for _, text in rig.events))
        assert rig.pods() == ["chat"]
        rig.api.allow_evictions_of(Key("default", "chat"))
        rig.wait_for(lambda: not rig.pods())


@pytest.mark.parametrize("xid", [94, 95])
def test_what_an_xid_said_is_known_to_the_next_agent_until_it_is_cured(folder: Path, xid: int) -> None:
    """A disruption budget holds the eviction up beyond the end of the agent that heard of it."""
    with AgentRig(folder) as rig:
        chat_runs(rig)
        rig.api.hold_up_evictions_of(Key("default", "chat"))
        (gpu,) = rig.gpus.inventory().gpus
        before = rig.slices["3g.20gb@4"].mig_uuid
        rig.controls.raise_xid(gpu.uuid, xid, gi_id=gpu.instances[0].gi_id if xid == 94 else None)
        rig.wait_for(lambda: any("a disruption budget holds it up" in text for _, text in rig.events))
        rig.end_agent()
        rig.forget_node()  # what is reported from here on is the next one's word

        rig.start_agent()

        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.BROKEN)
        assert str(xid) in (rig.slices["3g.20gb@4"].why if xid == 94 else rig.gpu_status.why)
        assert rig.gpu_status.health is (GpuHealth.HEALTHY if xid == 94 else GpuHealth.RESET_REQUIRED)
        rig.wait_for(lambda: rig.kubelet.plugins and rig.kubelet.allocatable(profile("3g.20gb")) == 0)
        rig.want("3g.20gb@4")
        rig.api.allow_evictions_of(Key("default", "chat"))
        rig.wait_for(lambda: not rig.pods())
        rig.end_pod("chat")
        if xid == 95:
            assert rig.gpu_status.health is GpuHealth.RESET_REQUIRED
            rig.controls.reset(gpu.uuid)
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].mig_uuid not in (None, before))
        rig.wait_for(lambda: rig.said(ConditionType.GPUS_HEALTHY) == (True, "AllHealthy"))
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.IDLE and rig.offers("3g.20gb") == 1)


def test_a_slice_made_anew_under_a_pod_is_refused_at_its_restart_and_the_pod_deleted(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.run_pod("chat", "3g.20gb")
        rig.end_agent()
        rig.workloads["chat"].kill()
        rig.workloads["chat"].wait()
        rig.controls.reboot()
        rig.start_agent()
        rig.wait_for(lambda: rig.kubelet.allocatable(profile("3g.20gb")) == 1)
        # While there was no slice the pod may have been evicted: whose container restarts has not been.
        rig.api.remove_object(POD, Key("default", "chat"))
        rig.put_pod("chat", "3g.20gb", uid="uid-again")
        with pytest.raises(ContainerNotStarted, match="made anew"):
            rig.kubelet.restart_container("default", "chat", "user-container")
        rig.wait_for(lambda: "chat" not in rig.pods())


def test_a_pod_that_was_refused_its_slice_is_deleted(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.put_pod("late", "3g.20gb", phase="Failed", reason="UnexpectedAdmissionError")
        rig.wait_for(lambda: "late" not in rig.pods())
        rig.wait_for(lambda: "SliceAdmissionFailed" in [reason for reason, _ in rig.events])


def test_a_relay_gives_its_slice_back_and_the_place_is_another_profiles_while_its_pod_goes_on(folder: Path) -> None:
    with AgentRig(folder, inject=Inject.CDI) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        started = rig.run_pod("relay", "3g.20gb")
        assert started.cdi_devices
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].pids)
        door = Path(started.mounts["/var/run/knative-mig/slice"]) / "agent.sock"
        assert "error" in asked(door)  # this very process is in no pod
        rig.processes.pods["uid-relay"].add(os.getpid())
        rig.wait_for(lambda: len(rig.slices["3g.20gb@4"].pids) == 2)
        assert asked(door) == {"released": True}
        rig.want("2g.10gb@4")
        rig.wait_for(lambda: rig.offers("2g.10gb") == 1)
        assert rig.hardware == ["2g.10gb@4"]
        assert rig.offers("3g.20gb") == 1  # the scheduler counts the relay's pod against it
        rig.end_pod("relay")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 0)


def test_a_relay_is_told_that_its_pod_was_deleted_and_the_next_pod_on_the_slice_is_not(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        mounted = Path(rig.run_pod("relay", "3g.20gb").mounts["/var/run/knative-mig/slice"])
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        assert not (mounted / "deleted").exists()
        rig.tell_pod_to_end("relay")
        rig.wait_for((mounted / "deleted").exists)
        rig.end_pod("relay")
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.IDLE)
        assert Path(rig.run_pod("next", "3g.20gb").mounts["/var/run/knative-mig/slice"]) == mounted
        assert not (mounted / "deleted").exists()
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        rig.wait_for_quiet()
        assert not (mounted / "deleted").exists()


def test_a_restarted_agent_knows_which_ids_their_pods_have_released(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        door = Path(rig.run_pod("relay", "3g.20gb").mounts["/var/run/knative-mig/slice"]) / "agent.sock"
        rig.processes.pods["uid-relay"] = {os.getpid()}
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].pids == (os.getpid(),))
        assert asked(door) == {"released": True}
        rig.end_agent()
        rig.start_agent()
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.RELEASED)
        rig.wait_for(lambda: rig.kubelet.allocatable(profile("3g.20gb")) == 1)  # what the node says is of before
        rig.end_pod("relay")
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].state is SliceState.IDLE)
        assert rig.run_pod("next", "3g.20gb")


def test_it_ends_within_two_seconds_while_a_gpu_hangs_and_the_api_server_does(folder: Path) -> None:
    with AgentRig(folder, gpus="2xA100-40GB") as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.controls.inject(Fault(call=Call.INVENTORY, harm=Harm.HANG, when=When.BEFORE, nth=None, hang_s=60.0))
        rig.api.faults.delay_s = 30.0
        agent = rig.agent
        assert agent is not None
        rig.wait_for(
            lambda: all(time.monotonic() - gpu.read_at > 3.0 for gpu in agent.board.snapshot().readings.values())
        )
        assert rig.end_agent() < 2.0
        rig.api.faults.delay_s = 0.0
        rig.controls.clear_faults()


def test_the_program_runs_alone_on_its_node_and_ends_within_two_seconds(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.end_agent()
        rig.kubelet.stop()  # nothing that it waits for answers
        config = folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": rig.api.url}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                    "users": [{"name": "c", "user": {}}],
                    "current-context": "c",
                }
            )
        )
        command = [sys.executable, "-m", "reconfigurer.agent", "--gpus", "simulated:1xA100-40GB", "--ops-port", "0"]
        command += ["--inject", "cdi"]
        command += ["--state-dir", str(folder / "state"), "--kubelet-dir", str(folder / "kubelet")]
        command += ["--sockets-dir", str(folder / "s"), "--cdi-dir", str(folder / "cdi")]
        command += ["--kubeconfig", str(config), "--ops-host", "127.0.0.1"]
        environment = {**os.environ, "NODE_NAME": NAME}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as first:
            assert first.stderr is not None
            for line in first.stderr:
                if b"the agent of node n1 runs" in line:
                    break
            second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert (second.returncode, "another agent runs on this node" in second.stderr) == (1, True), second.stderr
            assert "Traceback" not in second.stderr
            rig.wait_for(lambda: rig.said(ConditionType.KUBELET_CONNECTED) == (False, "KubeletUnreachable"))
            with Stopwatch() as took:
                first.terminate()
                first.stderr.read()
                assert first.wait(10) == 0
            assert took.seconds < 2.0  # what is promised, not how fast this machine is


def got(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  the URL is this test's own
        return str(answer.read().decode())


def asked(door: Path) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(door))
        client.sendall(b'{"release": true}\n')
        answer: dict[str, object] = json.loads(client.makefile().readline())
        return answer


def test_an_agent_that_sees_no_process_of_the_machine_destroys_nothing_that_was_ever_held(folder: Path) -> None:
    with AgentRig(folder) as rig:
        chat_runs(rig)
        rig.end_agent()
        rig.processes.of_this_container_alone = True
        rig.start_agent()
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (False, "ProcessesHidden"))
        rig.wait_for(lambda: rig.slices["3g.20gb@4"].holders)
        rig.end_pod("chat")
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (False, "Changing"))
        rig.wait_for_quiet()
        assert rig.hardware == ["3g.20gb@4"]

        # It has its right again.
        rig.end_agent()
        rig.processes.of_this_container_alone = False
        rig.start_agent()
        rig.wait_for(lambda: rig.hardware == ["7g.40gb@0"])


def test_on_a_static_node_slices_are_reported_and_nothing_is_changed_or_served(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.end_agent()
        rig.start_agent(Layout.STATIC)
        rig.wait_for(lambda: rig.node.status and rig.node.status.layout is Layout.STATIC)
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.want("7g.40gb@0")
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (None, "StaticLayout"))
        assert rig.hardware == ["3g.20gb@4"]
        assert rig.kubelet.registrations.count("nvidia.com/mig-3g.20gb") == 1


def test_a_layout_that_an_administrator_left_is_adopted_whatever_was_wanted_before(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@0")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.end_agent()
        rig.start_agent(Layout.STATIC)
        rig.wait_for(lambda: rig.node.status and rig.node.status.layout is Layout.STATIC)
        rig.wait_for(lambda: "3g.20gb@0" in rig.slices)
        rig.recut("2g.10gb@0", "2g.10gb@4")

        # The label goes, and the agent dies right after its start, twice.
        for _ in range(2):
            rig.end_agent()
            rig.start_agent()
            rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (None, "AdoptsLayout"))
            rig.wait_for(lambda: rig.said(ConditionType.READY) == (True, "Ready"))
        rig.wait_for(lambda: (rig.offers("2g.10gb"), rig.offers("3g.20gb")) == (2, 0))
        rig.wait_for(lambda: rig.node.status and rig.node.status.observed_generation == rig.node.generation)
        assert rig.hardware == ["2g.10gb@0", "2g.10gb@4"]

        # The planner has seen it: from here on the node is as any other.
        rig.want_nothing()
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (True, "Applied"))
        assert rig.hardware == ["2g.10gb@0", "2g.10gb@4"]
        rig.want("4g.20gb@0", "2g.10gb@4")
        rig.wait_for(lambda: rig.hardware == ["4g.20gb@0", "2g.10gb@4"])


def test_a_status_that_somebody_wrote_over_is_soon_right_again(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.wait_for(lambda: rig.said(SPEC_APPLIED) == (True, "Applied"))
        rig.wait_for_quiet()
        rig.api.client().merge(GPU_NODE, Key("", NAME), {"status": {"gpus": []}}, subresource="status")
        rig.wait_for(lambda: "3g.20gb@4" in rig.slices, within_s=AT_LEAST_EACH_S / 3)


def test_beside_nvidias_plugin_nothing_is_changed_until_it_has_gone(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.put_pod("nvidia-device-plugin-daemonset-x", "3g.20gb", owner="DaemonSet")
        rig.wait_for(lambda: rig.said(ConditionType.NO_OTHER_OWNER) == (False, "OtherOwner"))
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.said(ConditionType.READY) == (False, "OtherOwner"))
        assert rig.hardware == []
        rig.put_pod("nvidia-device-plugin-daemonset-x", "3g.20gb", owner="DaemonSet", phase="Succeeded")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)


def test_its_heartbeat_its_probes_and_its_metrics(folder: Path) -> None:
    with AgentRig(folder) as rig:
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
        rig.wait_for(lambda: rig.api.objects(LEASE))
        ((name, holder),) = [(e["metadata"]["name"], e["spec"]["holderIdentity"]) for e in rig.api.objects(LEASE)]
        assert (name, holder) == (NAME, NAME)
        agent = rig.agent
        assert isinstance(agent, Agent)
        base = f"http://127.0.0.1:{agent.ops.port}"
        rig.wait_for(lambda: got(f"{base}/readyz") == "ok\n")
        rig.want("3g.20gb@4", "1g.5gb@0")
        rig.wait_for(lambda: rig.offers("1g.5gb") == 1)
        nothing_measured = "knative_mig_agent_spec_to_allocatable_seconds_count 0.0"
        rig.wait_for(lambda: nothing_measured not in got(f"{base}/metrics"))
        for line in (
            'knative_mig_agent_hardware_calls_total{call="create_gpu_instance",outcome="ok"} 2.0',
            'knative_mig_agent_phase_seconds_count{phase="create"} 2.0',
        ):
            rig.wait_for(lambda line=line: line in got(f"{base}/metrics"))  # type: ignore[misc]
