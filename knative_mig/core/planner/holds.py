"""Places that moves under way have spoken for: nobody else is planned there, until who they are for has them.

Made from the mover's journal, given to `batch.plan_on`. What stands on such a place meanwhile (the pod that is to
leave, one that is ending) is seen as it is; a hold only says that whatever comes free there is not for everybody.
"""

from dataclasses import dataclass

from knative_mig.core.inventory import Function, GpuUuid
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """`function`: whose pod waits for it and may have it in a plan; None: it is given away already. `recreates`: it is
    one Revision's for another of the same Service.
    """

    gpu: GpuUuid
    profile: ProfileName
    start: int
    function: Function | None = None
    recreates: bool = False
