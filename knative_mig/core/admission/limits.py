"""How long a function on a slice may take to start, by the slice's size: the one place that times come from.

Called by `choice`. The figures are bounds for a start that goes badly, not estimates of one that goes well: a deadline
that is too long costs a wait, one that is too short makes a good revision a failed one. Sources: a full slice's model
over 1 Gbit/s took 114 s for 13 GB (ServerlessLLM's measurement of KServe with OPT-6.7B); container, libraries, CUDA and
first inference took 13 s (HydraServe); a slice is free 30 s after its function got its last request (queue-proxy's
drain), and destroying and making one takes seconds.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

SLICE_S: Final = 60  # until the slice is there: a neighbour's drain, then the GPU's own part
PROCESS_S: Final = 30  # container, libraries and CUDA context: twice what was measured
LOAD_S_PER_GB: Final = 9  # the profile's nominal gigabytes, as if the model filled them
ANSWER_S: Final = 300  # Knative's own default for a request, from when there is somebody to answer it
KNATIVE_DEADLINE_S: Final = 600  # its default: never less
KNATIVE_CAP_S: Final = 600  # the longest timeout that Knative allows where its config-defaults does not say
# A rollout without a spare slice waits for the old Revision to reach zero. A pod that nobody wants any more waits as
# long, so that it is an hour and not a day.
ROLLOUT_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class KnativeDefaults:
    """What its config-defaults says of what counts here; as it stands here where that says nothing."""

    longest_timeout_s: int = KNATIVE_CAP_S
    service_links: bool | None = False  # None: it leaves them to Kubernetes


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLimits:
    progress_deadline_s: int
    timeout_s: int


def start_limits(*, memory_gb: int, waits_for_a_slice: bool) -> StartLimits:
    """`waits_for_a_slice`: a new Revision may have to wait for the old one's, until that is at zero. One that does not
    (`rollout: recreate`) waits for what is under way there: it may take its timeout to answer.
    """
    start_s = ceil((SLICE_S + PROCESS_S + LOAD_S_PER_GB * memory_gb) / 10) * 10
    timeout_s = start_s + ANSWER_S
    return StartLimits(
        progress_deadline_s=max(KNATIVE_DEADLINE_S, start_s) + (ROLLOUT_S if waits_for_a_slice else timeout_s),
        timeout_s=timeout_s,
    )
