"""Why a pod is not ready, in one line: the most telling of all that its status says.

Called by `cold_start` while somebody waits, and by `causes` afterwards. The subtle thing is a container that ends again
and again. That it waits to be started again is how Kubernetes puts it; how it ended is what its author has to know.
"""

import re
from typing import Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.cluster.slice_condition import TYPE as SLICE
from knative_mig.core.profile import RESOURCE_PREFIX

_IS_MADE: Final = ("", "ContainerCreating", "PodInitializing")
_KILLED_BY: Final = ("Liveness", "Startup")  # the kubelet ends a container whose probe of these fails
_MOUNT: Final = "MountVolume."
_LACKS: Final = (" not found", " non-existent ")  # and no trouble that passes by itself
_SCHEDULED: Final = "PodScheduled"
_WHOLE_GPU: Final = "nvidia.com/gpu"
_LACKS_A_WHOLE_GPU: Final = re.compile(rf"Insufficient {re.escape(_WHOLE_GPU)}(?=[.,]?(?:\s|$))")
_MOST: Final = 1024  # characters, as many as an Event has


def of_pod(pod: Fields, event: str = "") -> str:
    """Empty: nothing is known, or it is merely being made. `event`: what the kubelet said of it last."""
    spec, status = pod.child("spec"), pod.child("status")
    if status.text("phase") == "Failed":
        return joined(status.text("reason") or "Failed", status.text("message"))
    if trouble := of_containers(status):
        return joined(trouble, event if event.startswith(_KILLED_BY) else "")
    if not spec.has("nodeName"):
        told = _false(status)
        said = told.get(SLICE) or told.get(_SCHEDULED)
        return joined(said.text("reason"), said.text("message"), _hint(said.text("message"))) if said else ""
    unready = [each for each in status.children("containerStatuses") if not each.flag("ready")]
    ended = [f"container {each.text('name')} {how}, and runs again" for each in unready if (how := _end(each))]
    if event.startswith(_MOUNT) and not (_nothing_is_made(status) and any(each in event for each in _LACKS)):
        event = ""
    return joined(*ended[:1], event) if unready else ""


def that_lasts(status: Fields) -> str:
    """Of a pod that somebody waits for: what does not pass by itself."""
    return of_containers(status) or (_hint(said.text("message")) if (said := _false(status).get(_SCHEDULED)) else "")


def _false(status: Fields) -> dict[str, Fields]:
    return {each.text("type"): each for each in status.children("conditions") if each.text("status") == "False"}


def _hint(message: str) -> str:
    """Nobody refuses such a function, for nodes that are not ours may offer whole GPUs."""
    if not _LACKS_A_WHOLE_GPU.search(message):
        return ""
    return f"{_WHOLE_GPU} is a GPU that is not cut: a slice is asked for by a limit, like {RESOURCE_PREFIX}3g.20gb: 1"


def of_containers(status: Fields) -> str:
    """Of the first that is kept from running."""
    return next(filter(None, map(_of_container, _every(status))), "")


def _every(status: Fields) -> list[Fields]:
    return [*status.children("initContainerStatuses"), *status.children("containerStatuses")]


def _nothing_is_made(status: Fields) -> bool:
    return all(each.child("state").has("waiting") for each in _every(status))


def _of_container(container: Fields) -> str:
    state, name = container.child("state"), f"container {container.text('name')}"
    waiting, how = state.child("waiting"), _end(container)
    if state.has("running") or container.flag("ready"):
        return ""
    if waiting.text("reason") in _IS_MADE:
        return f"{name} {how}" if how else ""
    return joined(name, waiting.text("reason"), f"it {how}" if how else waiting.text("message"))


def _end(container: Fields) -> str:
    """Of its last life. Empty: none has ended."""
    state, before = container.child("state"), container.child("lastState")
    ended = next((each.child("terminated") for each in (state, before) if each.has("terminated")), None)
    if ended is None:
        return ""
    code, reason = ended.optional_integer("exitCode") or 0, ended.text("reason")
    how = f"ended with exit code {code}" + (f" ({reason})" if reason else "")
    last_words = [line for line in ended.text("message").splitlines() if line.strip()]
    return joined(how, *last_words[-1:])


def joined(*texts: str) -> str:
    """On one line, and with nothing in it that moves a terminal's cursor."""
    return ": ".join(_line(each) for each in texts if each)


def _line(text: str) -> str:
    line = " ".join(text.split())[:_MOST]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
