"""A pod's processes are known by the cgroup that the kubelet put them into."""

import os
from pathlib import Path

import pytest

from knative_mig.adapters.proc_pods import ProcPods

UID = "1b9f0c3a-52d1-4e6a-9f0a-3c1de0a7b2c4"
OTHER = "2b9f0c3a-52d1-4e6a-9f0a-3c1de0a7b2c4"


def process(proc: Path, pid: int, cgroup: str, *, parent: int = 1, name: str = "python (v3) x") -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cgroup").write_text(cgroup)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0\n")


@pytest.mark.parametrize(
    "cgroup",
    [
        pytest.param(f"0::/kubepods/burstable/pod{UID}/0123abcd\n", id="cgroupfs"),
        pytest.param(
            f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-0123abcd.scope\n",
            id="systemd",
        ),
        pytest.param(f"4:memory:/node-1/kubepods/pod{UID}/c\n1:cpu:/node-1/kubepods/pod{UID}/c\n", id="cgroup v1"),
    ],
)
def test_a_process_belongs_to_the_pod_in_its_cgroups_path(tmp_path: Path, cgroup: str) -> None:
    process(tmp_path, 7, cgroup)
    process(tmp_path, 8, f"0::/kubepods/pod{OTHER}/c\n")
    process(tmp_path, 9, "0::/system.slice/sshd.service\n")
    (tmp_path / "self").mkdir()
    pods = ProcPods(tmp_path)
    assert pods.belongs(7, UID)
    assert not pods.belongs(7, OTHER)
    assert not pods.belongs(4711, UID)
    assert pods.of_pods([UID, "no-such-pod"]) == {UID: {7}, "no-such-pod": frozenset()}


def test_a_uid_that_only_begins_like_a_pods_is_not_its(tmp_path: Path) -> None:
    process(tmp_path, 7, f"0::/kubepods/pod{UID}/c\n")
    assert not ProcPods(tmp_path).belongs(7, UID[:-1])


def test_an_engine_descends_from_its_relay_also_through_a_shell_and_nobody_from_itself(tmp_path: Path) -> None:
    process(tmp_path, 10, "")
    process(tmp_path, 11, "", parent=10)
    process(tmp_path, 12, "", parent=11)
    pods = ProcPods(tmp_path)
    assert pods.descends(12, 10)
    assert not pods.descends(10, 10)
    assert not pods.descends(10, 12)
    assert not pods.descends(4711, 10)


def test_the_host_is_seen_by_its_kubelet(tmp_path: Path) -> None:
    process(tmp_path, 1, "0::/\n", name="pause")
    assert not ProcPods(tmp_path).sees_the_host()
    process(tmp_path, 2, "0::/\n", name="kubelet")
    assert ProcPods(tmp_path).sees_the_host()


def test_this_very_process_is_found_in_the_real_proc_and_is_in_no_pod_of_that_uid() -> None:
    pods = ProcPods()
    assert not pods.belongs(os.getpid(), UID)
    assert pods.descends(os.getpid(), os.getppid())
