"""Decides which life of a container its log is answered from, by the pod's status and in the kubelet's words.

Called by `service`. A container that runs has a log, be it ready or not, and be it empty. The subtle thing is one that
waits to be started again: the life that has ended is what both its log and its previous one show.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.dev.api.refusals import bad_request

Object = Mapping[str, Any]
_WITHOUT_IMAGE: Final = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def container_of(pod: Object, asked: str) -> str:
    """Refusal: it has none of that name, or several where none is named."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    names = [each["name"] for each in spec.get("containers") or ()]
    every = [*(each["name"] for each in spec.get("initContainers") or ()), *names]
    if asked and asked not in every:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not asked and len(names) != 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]")
    return asked or str(names[0])


def life_of(pod: Object, container: str, *, previous: bool) -> int:
    """Its number: how often the container had been started before. Refusal: there was none."""
    named = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    status = pod.get("status") or {}
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    found = next((each for each in every if each["name"] == container), None)
    if found is None:
        raise bad_request(f"{named} is not available")
    now, restarts = found.get("state") or {}, int(found.get("restartCount") or 0)
    has_ended = bool((found.get("lastState") or {}).get("terminated"))
    waits = not (now.get("running") or now.get("terminated"))
    if previous and not has_ended:
        raise bad_request(f"previous terminated {named} not found")
    if waits and not has_ended:
        reason = (now.get("waiting") or {}).get("reason", "")
        raise bad_request(f"{named} is waiting to start: {_WITHOUT_IMAGE.get(reason, reason)}")
    return restarts - 1 if previous and not waits else restarts
