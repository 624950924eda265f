"""Decides when a probe is due, and what its results mean for the container: as the kubelet's prober does.

Called by `prober`, one for each probe of one life of a container; `now` is passed in. The subtle thing is Knative: of a
function's readiness the queue-proxy asks every 50 ms until the first success, so that no request waits for the next
full second of a kubelet. There is none here, so that is done here; and of its failures no more are told than a kubelet
sees, which asks the queue-proxy every ten seconds.
"""

from dataclasses import dataclass, replace
from typing import Final

from knative_mig.dev.node.pod_spec import Probe, ProbeKind

EAGER_EACH_S: Final = 0.05
EAGER_TIMEOUT_S: Final = 0.1
EAGER_TOLD_EACH_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeClock:
    kind: ProbeKind
    probe: Probe
    due_at: float
    verdict: bool | None  # None: of a startup probe that has not been told anything
    run: int = 0  # results like the last one, one after the other
    last: bool | None = None
    over: bool = False
    quiet_until: float = 0.0  # of one that is asked so often: when its next failure is told

    @classmethod
    def begun(cls, kind: ProbeKind, probe: Probe, now: float) -> "ProbeClock":
        initial = {ProbeKind.STARTUP: None, ProbeKind.LIVENESS: True, ProbeKind.READINESS: False}[kind]
        due_at = now + probe.initial_delay_s
        return cls(kind=kind, probe=probe, due_at=due_at, verdict=initial, quiet_until=due_at + EAGER_TOLD_EACH_S)

    @property
    def eager(self) -> bool:
        return self.probe.eager and self.verdict is False and self.kind is ProbeKind.READINESS

    @property
    def timeout_s(self) -> float:
        return max(self.probe.timeout_s, EAGER_TIMEOUT_S)

    def tells(self, now: float) -> bool:
        """Whether anybody hears of a failure then."""
        return not self.eager or now >= self.quiet_until

    def after(self, now: float, *, succeeded: bool) -> "ProbeClock":
        run = self.run + 1 if succeeded == self.last else 1
        enough = run >= (self.probe.successes if succeeded else self.probe.failures)
        verdict = succeeded if enough else self.verdict
        ends = enough and (self.kind is ProbeKind.STARTUP or (self.kind is ProbeKind.LIVENESS and not succeeded))
        quiet_until = self.quiet_until if succeeded or not self.tells(now) else now + EAGER_TOLD_EACH_S
        found = replace(self, verdict=verdict, run=run, last=succeeded, over=ends, quiet_until=quiet_until)
        return replace(found, due_at=now + (EAGER_EACH_S if found.eager else self.probe.period_s))
