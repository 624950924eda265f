"""Finds a part that hangs as a kubelet would: asks for its health by the probes of its manifest, and has it ended.

Made by `process` once all is ready; `run` is a thread's body, one for each part. When is decided by the kubelet's own
`probe_clock`. The subtle thing is a machine that stands still for a while: who was asked late, or whose silence was
heard of late, may be well, so that is no failure.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import yaml

from knative_mig.dev.manifests import MANIFESTS
from knative_mig.dev.node import pod_spec
from knative_mig.dev.node.container import Command
from knative_mig.dev.node.pod_spec import HttpGet, Probe, ProbeKind
from knative_mig.dev.node.probe_clock import ProbeClock
from knative_mig.dev.node.probing import Result, ask
from knative_mig.dev.whole.supervision import Kept

_LATE_S: Final = 1.0  # to ask, or to hear that the time is over
_LOOKS_AGAIN_S: Final = 1.0  # where nobody is there to ask, or could not be asked in time


class Liveness:
    def __init__(
        self,
        probes: Mapping[ProbeKind, Probe],
        *,
        life: Callable[[], int | None],
        ask: Callable[[Probe], Result],
        end: Callable[[int, str], None],
        clock: Callable[[], float],
    ) -> None:
        """`life`: its process now, if any. `end`: that process, and why."""
        self._probes, self._life, self._ask, self._end, self._clock = probes, life, ask, end, clock
        self._asked: int | None = None  # which life
        self._turn = ProbeClock.begun(ProbeKind.STARTUP, probes[ProbeKind.STARTUP], clock())

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self.look()):
            pass

    def look(self) -> float:
        """Asks if that is due; how many seconds to wait until it is once more."""
        life, now = self._life(), self._clock()
        if life is None:
            return _LOOKS_AGAIN_S
        if life != self._asked:
            self._asked, self._turn = life, self._begun(ProbeKind.STARTUP, now)
        turn = self._turn
        if now < turn.due_at:
            return turn.due_at - now
        result = self._ask(turn.probe)
        heard = self._clock()
        in_time = now - turn.due_at <= _LATE_S and heard - now <= turn.timeout_s + _LATE_S
        if self._life() != life:
            return 0.0
        if result.succeeded or (in_time and result.was_asked):
            self._turn = turn.after(now, succeeded=result.succeeded)
            self._decide(life, result)
        else:
            self._turn = replace(turn, due_at=heard + _LOOKS_AGAIN_S)
        return max(0.0, self._turn.due_at - heard)

    def _decide(self, life: int, result: Result) -> None:
        turn = self._turn
        if turn.over and turn.verdict:
            self._turn = self._begun(ProbeKind.LIVENESS, turn.due_at)
        elif turn.over:
            self._asked = None
            self._end(
                life, f"failed its {turn.kind.lower()} probe {turn.probe.failures} times in a row ({result.output})"
            )

    def _begun(self, kind: ProbeKind, now: float) -> ProbeClock:
        return ProbeClock.begun(kind, self._probes[kind], now)


def liveness_of(kept: Kept) -> Liveness:
    """Of a part of `dev`."""
    host, _ = kept.part.ready_at
    return Liveness(
        probes_of(kept.part.manifest, kept.part.ready_at),
        life=lambda: kept.pid,
        ask=lambda probe: ask(probe.check, host, probe.timeout_s, _no_command),
        end=kept.end_hung,
        clock=time.monotonic,
    )


def probes_of(manifest: str, address: tuple[str, int]) -> Mapping[ProbeKind, Probe]:
    """What config/ has a kubelet ask of a part, asked at that address."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    bodies = yaml.load_all((MANIFESTS / manifest).read_text(), Loader=loader)
    template: Any = next(each["spec"]["template"] for each in bodies if each["kind"] in ("Deployment", "DaemonSet"))
    about = {"namespace": manifest, "name": manifest, "uid": manifest}
    (container,) = pod_spec.pod({**template, "metadata": about}).containers
    host, port = address
    return {
        kind: replace(probe, check=HttpGet(host=host, port=port, path=probe.check.path))
        for kind, probe in container.probes.items()
        if isinstance(probe.check, HttpGet)
    }


def _no_command(argv: tuple[str, ...]) -> Command:
    raise ValueError(f"a part is asked by HTTP, and not by {argv}")
