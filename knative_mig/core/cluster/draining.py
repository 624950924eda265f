"""When the pod of a function that is being deleted will have ended.

Called where pods are read from the API, `adapters.kube.parse`. Its grace period is its timeout, of minutes, which it
may need to answer what it was asked. But whom Knative takes away has mostly nothing to answer: the preStop of its
container waits until queue-proxy has seen no request for a while, and then it ends. Were the whole grace believed, no
slice of a function that goes to zero would be waited for, and others were moved for it. One that does take longer is
believed for as long again as is waited at most (`Policy.wait_at_most_s`).
"""

from typing import Final

QUIET_S: Final = 30.0  # queue-proxy's quiet period, a constant of its own
LEAVES_S: Final = 2.0  # what the kubelet gives a container whose preStop has used up the grace


def drained_at(deleted_at: float, grace_s: float) -> float:
    return deleted_at + min(QUIET_S, grace_s) + LEAVES_S
