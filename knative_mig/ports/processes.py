"""Which processes of the machine belong to which pod.

Asked by the agent's desk before it lets somebody release a slice, and by what stands in for CUDA on simulated GPUs;
answered by `adapters.proc_pods` from `/proc`. The subtle thing is whose pids: the machine's, so the agent runs in the
host's pid namespace, where NVML and a socket's peer credentials count too.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol


class PodProcesses(Protocol):
    def belongs(self, pid: int, pod_uid: str) -> bool:
        """False, too, where there is no such process."""

    def of_pods(self, pod_uids: Iterable[str]) -> Mapping[str, frozenset[int]]:
        """The processes of each of these pods, now; an empty set where it has none."""

    def descends(self, pid: int, ancestor: int) -> bool:
        """Whether `ancestor` started it, or started who did; no process descends from itself."""

    def sees_the_host(self) -> bool:
        """Whether processes outside this process's own pid namespace are seen: without them an empty list of a
        slice's processes means nothing.
        """
