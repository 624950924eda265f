"""Processes of pods where there are no containers: those that have the pod's UID in their environment.

A `ports.processes.PodProcesses`, composed in the node agent with simulated GPUs, beside whoever starts pods as
processes of this machine and so marks them. What a process starts has its environment, whatever session it begins. The
subtle thing is the cost of looking four times a second: an environment is that of the program's start and does not
change, so no process is read again and again, and its start time shows that a pid has come back as another's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from knative_mig.adapters.proc_pods import ProcPods

POD_VARIABLE: Final = "KNATIVE_MIG_POD_UID"
_LOOKS: Final = 4  # by then a process that was just begun runs its own program


@dataclass(frozen=True, slots=True)
class _Seen:
    began: str
    uid: str  # of its pod; empty: it is of none
    looks: int = 1


class MarkedPods:
    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._tree = ProcPods(proc)
        self._known: dict[int, _Seen] = {}

    def belongs(self, pid: int, pod_uid: str) -> bool:
        return bool(pod_uid) and self._mark(pid) == pod_uid

    def of_pods(self, pod_uids: Iterable[str]) -> Mapping[str, frozenset[int]]:
        found: dict[str, set[int]] = {uid: set() for uid in pod_uids}
        if found:
            pids = [int(each.name) for each in self._proc.iterdir() if each.name.isdecimal()]
            self._known = {pid: self._seen(pid) for pid in pids}
            for pid, seen in self._known.items():
                if seen.uid in found:
                    found[seen.uid].add(pid)
        return {uid: frozenset(pids) for uid, pids in found.items()}

    def _seen(self, pid: int) -> _Seen:
        began, before = self._began(pid), self._known.get(pid)
        if before is None or before.began != began:
            return _Seen(began, self._mark(pid))
        if before.uid or before.looks >= _LOOKS:
            return before
        return replace(before, uid=self._mark(pid), looks=before.looks + 1)

    def descends(self, pid: int, ancestor: int) -> bool:
        return self._tree.descends(pid, ancestor)

    def sees_the_host(self) -> bool:
        """Whoever starts such pods runs beside the agent."""
        return True

    def _mark(self, pid: int) -> str:
        prefix = f"{POD_VARIABLE}=".encode()
        try:
            environment = (self._proc / str(pid) / "environ").read_bytes()
        except OSError:  # it has gone, or is another user's
            return ""
        marks = [each.removeprefix(prefix) for each in environment.split(b"\0") if each.startswith(prefix)]
        return marks[0].decode(errors="replace") if marks else ""

    def _began(self, pid: int) -> str:
        try:
            stat = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        # The program's name, in brackets, may itself hold brackets; after it the start time is the 20th field.
        fields = stat.rpartition(")")[2].split()
        return fields[19] if len(fields) > 19 else ""
