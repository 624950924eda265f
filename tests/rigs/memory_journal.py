"""A journal in memory that passes the contract of `ports.journal`: what was written outlives whoever wrote it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.journal import Intent, JournalUnwritable, Opened, Operation


@dataclass
class MemoryDisk:
    intents: dict[int, Intent] = field(default_factory=dict)
    number: int = 0
    full: bool = False
    at: Callable[[str], None] = lambda _: None  # told before and after each write: a test may end the agent there

    def open(self, boot_id: str) -> "tuple[MemoryJournal, Opened]":
        found = tuple(self.intents[number] for number in sorted(self.intents))
        return MemoryJournal(self, boot_id), Opened(intents=found)


class MemoryJournal:
    def __init__(self, disk: MemoryDisk, boot_id: str) -> None:
        self._disk, self._boot_id = disk, boot_id
        self._lock = threading.Lock()

    def intend(self, operation: Operation, gpu: GpuUuid, key: SliceKey, *, mig_uuid: str | None = None) -> Intent:
        with self._lock:
            self._refuse_when_full()
            self._disk.at("before intend")
            self._disk.number += 1
            intent = Intent(
                number=self._disk.number,
                operation=operation,
                gpu=gpu,
                slice=key,
                boot_id=self._boot_id,
                mig_uuid=mig_uuid,
            )
            self._disk.intents[intent.number] = intent
            self._disk.at("after intend")
            return intent

    def done(self, intent: Intent) -> None:
        with self._lock:
            self._refuse_when_full()
            self._disk.at("before done")
            self._disk.intents.pop(intent.number, None)
            self._disk.at("after done")

    def open_intents(self) -> int:
        return len(self._disk.intents)

    def writable(self) -> bool:
        return not self._disk.full

    def close(self) -> None:
        pass

    def _refuse_when_full(self) -> None:
        if self._disk.full:
            raise JournalUnwritable("the disk is full")
