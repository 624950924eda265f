"""Where the node agent writes down what it is about to do to a GPU, before it does it.

Called by the agent's GPU loops; answered by `adapters.journal_file` (and by a list in tests), which pass the same
contract tests. What an interrupted entry means is decided in `core.agent.recovery`: it is compared with what NVML and
the kubelet say, never believed alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from knative_mig.core.errors import KnativeMigError
from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import GpuUuid


class JournalUnwritable(KnativeMigError):
    """No room, no right, no disk: nothing may be made or destroyed until it can be written."""

    reason = "JournalUnwritable"


class Operation(StrEnum):
    CREATE = "create"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    number: int  # rises with each intent, over restarts
    operation: Operation
    gpu: GpuUuid
    slice: SliceKey
    boot_id: str
    mig_uuid: str | None = None  # DESTROY: of the slice that is meant, not of a successor at its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a journal held when it was opened."""

    intents: tuple[Intent, ...]  # without an end, oldest first
    damaged: str = ""  # why the file, or its tail, could not be read; it was set aside
    unwritable: str = ""  # why nothing can be written to it now


class Journal(Protocol):
    """Safe for several GPU loops at once. An intent is on the disk when it returns, its end may be a moment later: lost
    with the machine's power, it is an operation that was carried out. What cannot be written raises JournalUnwritable.
    """

    def intend(self, operation: Operation, gpu: GpuUuid, key: SliceKey, *, mig_uuid: str | None = None) -> Intent: ...

    def done(self, intent: Intent) -> None:
        """It was carried out, or given up: recovery has nothing to do with it any more."""

    def open_intents(self) -> int:
        """How many have no end yet."""

    def writable(self) -> bool:
        """Tries, so that a full disk that has room again is noticed."""

    def close(self) -> None: ...
