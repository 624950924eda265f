"""What an idle slice is worth: the cold start that it saves, times how likely its function comes back soon.

Called by `node_view`. Likelihood halves each time the slice has been idle for as long again as `half_life_s`, and
functions that started often lately count more. The subtle thing is that worth is a step function of time: an answer
says until when it holds, so that thousands of idle slices need not be judged again in every round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, inf

from knative_mig.core.gpu_node import Holder, SliceStatus
from knative_mig.core.inventory import Idle

# After so many halvings a slice is worth nothing: less than a thousandth of a cold start.
_MOST_HALVINGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    cold_start_s: float = 30.0
    half_life_s: float = 600.0  # most functions that are called again are called within ten minutes
    starts: Mapping[tuple[str, str], int] = field(default_factory=dict)  # lately, by workload


@dataclass(frozen=True, slots=True)
class Worth:
    idle: Idle
    holds_until: float = inf


NOTHING = Worth(Idle())


def worth(status: SliceStatus, reuse: Reuse, now: float) -> Worth:
    if status.last_holder is None or status.idle_since is None:
        return NOTHING
    halvings = max(0, floor((now - status.idle_since) / reuse.half_life_s))
    if halvings >= _MOST_HALVINGS:
        return NOTHING
    starts = reuse.starts.get(workload_of(status.last_holder), 0)
    likelihood = 0.5**halvings * (1 + starts) / (2 + starts)
    until = status.idle_since + (halvings + 1) * reuse.half_life_s
    return Worth(Idle.from_reuse(reuse.cold_start_s, likelihood), until)


def workload_of(holder: Holder) -> tuple[str, str]:
    return workload(holder.namespace, holder.pod)


def workload(namespace: str, pod: str) -> tuple[str, str]:
    """A Deployment's pod is called after it and two random words: what is left of one whose pod is gone."""
    return namespace, pod.rsplit("-", 2)[0]
