"""What the planner says of a GpuNode: whether it is planned on, and if not, why.

Called by the planner's loop after each plan. It is a condition of the planner's own, beside those of the agent: a node
whose agent is silent cannot say so itself. What is asked of a node for the moment only, an answer to its last spec, is
no reason to say another word.
"""

from knative_mig.core.cluster.staleness import LeftOut, Verdict
from knative_mig.core.gpu_node import Condition, GpuNode

TYPE = "Planned"
_MOST_CHARACTERS = 1024


def word(node: GpuNode, verdict: Verdict, now: float) -> Condition | None:
    """None where it stands there already. `now`: seconds since the epoch."""
    left_out = verdict if isinstance(verdict, LeftOut) else None
    status = left_out is None
    reason = str(left_out.because) if left_out else TYPE
    message = left_out.why[:_MOST_CHARACTERS] if left_out else ""
    was = node.planned
    if was and (was.status, was.reason, was.message) == (status, reason, message):
        return None
    since = was.since if was and was.status is status else now
    return Condition(type=TYPE, status=status, reason=reason, message=message, since=since)
