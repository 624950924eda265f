"""Why functions are not ready, each in a line: what the pods of its newest Revision say, or that Revision itself.

Called through `cluster` by `ls` and `invoke`, with the API's objects. Knative's own word on a function that waits is
that it waits, and on one whose container ended in silence that it failed, and nothing after the colon.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.parse import REVISION_LABEL, SERVICE_LABEL
from knative_mig.cli import silence
from knative_mig.cli.function_text import condition, is_ready
from knative_mig.cli.pod_trouble import joined, of_pod
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GpuNode

Objects = Iterable[Mapping[str, Any]]
Name = tuple[str, str]  # namespace and name
# Events in which the kubelet says of a pod what its status does not.
TELLING: Final = tuple(
    {"fieldSelector": f"involvedObject.kind=Pod,reason={reason}"} for reason in ("Unhealthy", "FailedMount")
)


def are_wanted(services: Objects, pods: Objects) -> bool:
    """Whether more is to be read, for something is not ready."""
    return not (all(map(is_ready, map(Fields, services))) and all(map(is_ready, map(Fields, pods))))


def causes(
    services: Objects, *, revisions: Objects, pods: Objects, events: Objects, nodes: Sequence[GpuNode], now: float
) -> dict[Name, str]:
    """Of those services of which one is known. `events`: those that are telling. `now`: seconds since the epoch."""
    of_revisions = {_name(each): each for each in map(Fields, revisions)}
    said = _said_last(events)
    replicas: dict[Name, list[Fields]] = {}
    for pod in map(Fields, pods):
        about = pod.child("metadata")
        if not about.has("deletionTimestamp"):
            replicas.setdefault((about.text("namespace"), _label(pod, SERVICE_LABEL)), []).append(pod)
    found = {}
    for service in map(Fields, services):
        name = _name(service)
        known = _known(service, replicas.get(name, ()), of_revisions, said, lambda pod: _unsaid(pod, nodes, now))
        if cause := next(filter(None, known), ""):
            found[name] = cause
    return found


def _known(
    service: Fields,
    pods: Sequence[Fields],
    revisions: Mapping[Name, Fields],
    said_of: Mapping[Name, str],
    unsaid: Callable[[Fields], str],
) -> Iterator[str]:
    """The most telling first; empty ones say nothing."""
    newest = service.child("status").text("latestCreatedRevisionName")
    starts = is_ready(service)  # from zero, and not for the first time
    if starts and any(map(is_ready, pods)):
        return
    about = [each for each in pods if starts or _label(each, REVISION_LABEL) == newest]
    # One that has failed for good has another in its place.
    for pod in sorted(about, key=lambda each: each.child("status").text("phase") == "Failed"):
        if trouble := unsaid(pod) or of_pod(pod, said_of.get(_name(pod), "")):
            yield joined(_label(pod, REVISION_LABEL), trouble)
    if starts:
        return
    revision = revisions.get((_name(service)[0], newest))
    if revision is not None and (said := _false(revision, "Ready")):
        yield joined(newest, said)
    yield _false(service, "ConfigurationsReady")


def _unsaid(pod: Fields, nodes: Sequence[GpuNode], now: float) -> str:
    with suppress(BadInput):  # an odd pod: what its status says stands all the same
        facts = parse.pod(pod.values)
        if said := silence.of_pod(facts, nodes):
            return f"it waits for {max(0.0, now - facts.created):.0f} s: {said}"
    return ""


def _false(top: Fields, kind: str) -> str:
    """What a condition says that does not hold."""
    said = condition(top, kind)
    if said is None or said.text("status") != "False":
        return ""
    message = said.text("message").rstrip()
    return joined(said.text("reason"), f"{message} nothing" if message.endswith(":") else message)


def _said_last(events: Objects) -> dict[Name, str]:
    """By pod."""
    found: dict[Name, str] = {}
    for event in sorted(map(Fields, events), key=lambda each: each.time("lastTimestamp") or 0.0):
        about = event.child("involvedObject")
        found[about.text("namespace"), about.text("name")] = event.text("message")
    return found


def _label(pod: Fields, name: str) -> str:
    return pod.child("metadata").labels("labels").get(name, "")


def _name(top: Fields) -> Name:
    about = top.child("metadata")
    return about.text("namespace"), about.text("name")
