"""Which devices the kubelet is to be offered by what the board says now, worked out only when that can have changed.

Called by the node loop and by the node's status, each with one of its own. A change of one GPU puts a dozen things on
the board, and each wakes both; most are about neither slices nor marks. What the board holds is replaced, never
changed, so the same readings stand for the same slices; marks are few, and compared.
"""

from knative_mig.core.agent.devices import devices_to_serve
from knative_mig.core.agent.node_resources import Served
from reconfigurer.agent.board import Snapshot


class LatestDevices:
    def __init__(self) -> None:
        self._of = Snapshot()
        self._served: Served = {}

    def of(self, now: Snapshot) -> Served:
        before, self._of = self._of, now
        if now.readings is before.readings and now.marks == before.marks and now.models is before.models:
            return self._served
        self._served = devices_to_serve(now.readings.values(), now.marks, now.models)
        return self._served
