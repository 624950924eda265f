"""Functions as people read them: what each is at now, what it wants, which slices its pods have, where it is asked.

Called by `ls` with the API's objects. A function is a Knative Service; whether it is at zero is said by its pods, for
Knative calls it ready either way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.kube import pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.cli.gpu_text import SHORT_UUID
from knative_mig.cli.table import table
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GpuNode

MODEL: Final = "knative-mig.dev/model"
NOTHING: Final = "-"
_HEADER: Final = ("NAMESPACE", "FUNCTION", "STATE", "PODS", "WANTS", "SLICES", "URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """That a pod holds."""

    pod: tuple[str, str]  # namespace and name
    node: str
    gpu: str
    profile: str
    start: int

    def __str__(self) -> str:
        return f"{self.profile}@{self.start} on {self.node} {self.gpu[:SHORT_UUID]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`why`: of one that is not ready: the cause, or what Knative says where none is known."""

    namespace: str
    name: str
    state: str
    why: str
    wants: str
    pods: int
    ready_pods: int
    slices: tuple[Slice, ...]
    url: str


def functions(
    services: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    nodes: Iterable[GpuNode],
    causes: Mapping[tuple[str, str], str] = {},
) -> tuple[Function, ...]:
    """In the order of their names. `causes`: why one is not ready, by namespace and name, where it is known."""
    held = tuple(_held(nodes))
    replicas: dict[tuple[str, str], list[Fields]] = {}
    for body in pods:
        top = Fields(body)
        about = top.child("metadata")
        if (service := about.labels("labels").get(SERVICE_LABEL)) and not about.has("deletionTimestamp"):
            replicas.setdefault((about.text("namespace"), service), []).append(top)
    found = [_function(Fields(each), replicas, held, causes) for each in services]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def text_of(found: Iterable[Function]) -> str:
    rows = tuple(found)
    if not rows:
        return "no functions: make one with `kn service create`"
    lines = [
        (
            each.namespace,
            each.name,
            each.state,
            each.pods,
            each.wants,
            ", ".join(map(str, each.slices)) or NOTHING,
            each.url or NOTHING,
        )
        for each in rows
    ]
    whys = [f"{each.namespace}/{each.name}: {each.why}" for each in rows if each.why]
    return "\n".join([table(_HEADER, lines), *([""] if whys else []), *whys])


def data_of(found: Iterable[Function]) -> list[dict[str, Any]]:
    return [
        {
            "namespace": each.namespace,
            "name": each.name,
            "state": each.state,
            "why": each.why,
            "wants": each.wants,
            "pods": each.pods,
            "readyPods": each.ready_pods,
            "url": each.url,
            "slices": [
                {"pod": held.pod[1], "node": held.node, "gpu": held.gpu, "profile": held.profile, "start": held.start}
                for held in each.slices
            ],
        }
        for each in found
    ]


def _function(
    top: Fields,
    replicas: Mapping[tuple[str, str], list[Fields]],
    held: tuple[Slice, ...],
    causes: Mapping[tuple[str, str], str],
) -> Function:
    about, status = top.child("metadata"), top.child("status")
    namespace, name = about.text("namespace"), about.name("name")
    mine = replicas.get((namespace, name), [])
    names = {(namespace, each.child("metadata").text("name")) for each in mine}
    ready = sum(is_ready(each) for each in mine)
    state, why = _state(top, causes.get((namespace, name), ""), pods=len(mine), ready=ready)
    return Function(
        namespace=namespace,
        name=name,
        state=state,
        why=why,
        wants=_wants(top.child("spec").child("template")),
        pods=len(mine),
        ready_pods=ready,
        slices=tuple(each for each in held if each.pod in names),
        url=status.text("url"),
    )


def _state(service: Fields, cause: str, *, pods: int, ready: int) -> tuple[str, str]:
    if service.child("metadata").has("deletionTimestamp"):
        return "ending", ""
    said = condition(service, "Ready")
    why = cause or (": ".join(filter(None, (said.text("reason"), said.text("message")))) if said else "")
    match said.text("status") if said else "":
        case "True" if ready:
            return "ready", ""
        case "True":
            return ("starting", cause) if pods else ("at zero", "")
        case "False":
            return "failed", why
        case _:
            return "deploying", why


def is_ready(top: Fields) -> bool:
    """A pod, or a Service."""
    said = condition(top, "Ready")
    return said is not None and said.text("status") == "True"


def condition(top: Fields, kind: str) -> Fields | None:
    return next((each for each in top.child("status").children("conditions") if each.text("type") == kind), None)


def _wants(template: Fields) -> str:
    try:
        asked = pod_requests.slices(pod_requests.of_pod(template.child("spec")))
    except BadInput:  # what the API server took and no node can have: its pods say so
        return NOTHING
    sizes = [f"{count} x {profile}" if count > 1 else str(profile) for profile, count in asked.items() if count]
    model = template.child("metadata").labels("annotations").get(MODEL)
    return ", ".join(sizes) or (f"a slice for {model}" if model else NOTHING)


def _held(nodes: Iterable[GpuNode]) -> Iterable[Slice]:
    for node in nodes:
        for gpu in node.status.gpus if node.status else ():
            for each in gpu.slices:
                for holder in each.holders:
                    yield Slice(
                        pod=(holder.namespace, holder.pod),
                        node=node.name,
                        gpu=gpu.uuid,
                        profile=str(each.key.profile),
                        start=each.key.start,
                    )
