"""Runs the probes of one life of a container, a thread each, and says what changes.

Made by `pod_worker` when a container has begun, and ended with it. When is decided by `probe_clock`. The other two wait
for the startup probe, where there is one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.dev.node.container import Command
from knative_mig.dev.node.pod_spec import ContainerSpec, ProbeKind
from knative_mig.dev.node.probe_clock import ProbeClock
from knative_mig.dev.node.probing import Result, ask

_ASKS_AGAIN_S: Final = 1.0  # who could not ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    address: str
    command: Callable[[tuple[str, ...]], Command]


class Prober:
    def __init__(
        self,
        container: ContainerSpec,
        target: Target,
        *,
        changed: Callable[[ProbeKind, bool], None],
        failed: Callable[[ProbeKind, str], None],
    ) -> None:
        """`changed`: a verdict is another now. `failed`: one was answered badly that a kubelet had asked."""
        self._container, self._target = container, target
        self._changed, self._failed = changed, failed
        self._stop = threading.Event()
        self._deleted = threading.Event()
        self._started = threading.Event()
        if ProbeKind.STARTUP not in container.probes:
            self._started.set()

    @property
    def has_startup(self) -> bool:
        return ProbeKind.STARTUP in self._container.probes

    @property
    def has_readiness(self) -> bool:
        return ProbeKind.READINESS in self._container.probes

    def start(self) -> None:
        for kind in self._container.probes:
            name = f"probe-{self._container.name}-{kind.lower()}"
            threading.Thread(target=self._run, args=(kind,), name=name, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._started.set()

    def pod_deleted(self) -> None:
        """Only readiness is asked of a pod that ends."""
        self._deleted.set()

    def _run(self, kind: ProbeKind) -> None:
        if kind is not ProbeKind.STARTUP:
            self._started.wait()
        clock = ProbeClock.begun(kind, self._container.probes[kind], time.monotonic())
        while not clock.over and not self._stop.wait(max(0.0, clock.due_at - time.monotonic())):
            if self._deleted.is_set() and kind is not ProbeKind.READINESS:
                return
            result = self._ask(clock)
            if self._stop.is_set():
                return
            if not result.was_asked:
                self._stop.wait(_ASKS_AGAIN_S)
                continue
            now = time.monotonic()
            before, clock = clock, clock.after(now, succeeded=result.succeeded)
            if not result.succeeded and before.tells(now):
                self._failed(kind, result.output)
            if clock.verdict is not None and (clock.verdict != before.verdict or clock.over):
                if kind is ProbeKind.STARTUP and clock.verdict:
                    self._started.set()
                self._changed(kind, clock.verdict)

    def _ask(self, clock: ProbeClock) -> Result:
        return ask(clock.probe.check, self._target.address, clock.timeout_s, self._target.command)
