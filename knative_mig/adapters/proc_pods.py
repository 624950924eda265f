"""Processes of pods, read from `/proc/<pid>/cgroup`.

A `ports.processes.PodProcesses`, composed in the node agent. The kubelet puts each pod's processes under a cgroup named
by the pod's UID: `.../pod1b9f-...` with its cgroupfs driver, `...-pod1b9f_...slice` with systemd's, which allows no
dashes inside a name. The subtle thing is a process that ends while it is looked at: it belongs to nobody.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_POD = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})", re.ASCII
)
# One of them is on every node, and in nobody's container: who sees it looks at the machine.
_OF_THE_HOST: Final = frozenset({"kubelet", "containerd", "crio", "dockerd", "k3s-server", "k3s-agent"})


class ProcPods:
    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def belongs(self, pid: int, pod_uid: str) -> bool:
        return pod_uid in self._pods_of(pid)

    def of_pods(self, pod_uids: Iterable[str]) -> Mapping[str, frozenset[int]]:
        found: dict[str, set[int]] = {uid: set() for uid in pod_uids}
        if found:
            for pid in self._pids():
                for uid in self._pods_of(pid) & found.keys():
                    found[uid].add(pid)
        return {uid: frozenset(pids) for uid, pids in found.items()}

    def descends(self, pid: int, ancestor: int) -> bool:
        while pid > 1:
            pid = self._parent(pid)
            if pid == ancestor:
                return True
        return False

    def sees_the_host(self) -> bool:
        return any(self._name(pid) in _OF_THE_HOST for pid in self._pids())

    def _pids(self) -> list[int]:
        return [int(each.name) for each in self._proc.iterdir() if each.name.isdecimal()]

    def _pods_of(self, pid: int) -> frozenset[str]:
        return frozenset(match.replace("_", "-") for match in _POD.findall(self._read(pid, "cgroup")))

    def _name(self, pid: int) -> str:
        return self._read(pid, "comm").strip()

    def _parent(self, pid: int) -> int:
        """0 where there is none, or it is not known. The program's name, in brackets, may itself hold brackets."""
        fields = self._read(pid, "stat").rpartition(")")[2].split()
        return int(fields[1]) if len(fields) > 1 else 0

    def _read(self, pid: int, name: str) -> str:
        try:
            return (self._proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
