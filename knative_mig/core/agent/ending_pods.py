"""Which slices are held by pods that were told to end.

Asked by the agent's pod loop. A pod's deletion is known here at once, while its containers hear of it when Knative's
queue-proxy has waited for requests: half a minute in which a slice that nobody needs any more could be another pod's.
The subtle thing is a slice that went to the next pod a moment ago: a kubelet that was asked before does not say so.
"""

from collections.abc import Iterable, Mapping

from knative_mig.core.agent.readings import UNMARKED, KubeletReading, Mark
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import SliceId


def slices_of_ending(
    pods: Iterable[PodFacts], kubelet: KubeletReading, marks: Mapping[SliceId, Mark]
) -> frozenset[SliceId]:
    ending = {(pod.namespace, pod.name) for pod in pods if pod.ends_at is not None}
    found: set[SliceId] = set()
    for device, holders in kubelet.view.holders.items() if ending else ():
        slice_id = SliceId.parse(device)
        handed_out_at = marks.get(slice_id, UNMARKED).handed_out_at
        knows_of_it = handed_out_at is None or handed_out_at < kubelet.asked_at
        if knows_of_it and holders and all((each.namespace, each.pod) in ending for each in holders):
            found.add(slice_id)
    return frozenset(found)
