"""What a person asks first of a failure, in lines that are printed beside it: who is not Ready, whose process ended,
and what the GPUs have.

Called with the folder of evidence, which has all the rest and may be out of reach for whoever reads the output.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from tests.cluster.api import POD, Kind, Object, RefusedError
from tests.cluster.slices import EVENT, GPU_NODE, SLICE_CONDITION, asked_by, slices_of
from tests.cluster.waits import condition, is_true

_MOST: Final = 12  # lines of each kind
_LONGEST: Final = 300  # characters of a line


class Api(Protocol):
    def items(self, kind: Kind, namespace: str | None = None) -> Sequence[Object]: ...


def first_look(api: Api, namespace: str | None) -> list[str]:
    """Also where no API server answers: then that is what is told."""
    try:
        pods = api.items(POD)
        lines = [*_limited(_pods(pods, namespace)), *_limited(_ended(pods)), *_limited(_gpu_nodes(api.items(GPU_NODE)))]
        if namespace:
            lines += _limited(_warnings(api.items(EVENT, namespace)))
    except (OSError, RefusedError) as trouble:
        return [f"no first look: {trouble!r}"]
    return [line[:_LONGEST] for line in lines]


def _limited(lines: Iterable[str]) -> Iterator[str]:
    found = [*lines]
    yield from found[:_MOST]
    if len(found) > _MOST:
        yield f"and {len(found) - _MOST} more such lines"


def _pods(pods: Iterable[Object], namespace: str | None) -> Iterator[str]:
    """Those of the test that are not Ready; of others whoever keeps a slice's resource while it goes."""
    for pod in pods:
        about, status = pod["metadata"], pod.get("status", {})
        goes = "deletionTimestamp" in about
        if about["namespace"] == namespace:
            if is_true(pod) and not goes:
                continue
        elif not (goes and asked_by(pod)):
            continue
        told = [f"pod {about['namespace']}/{about['name']}", str(status.get("phase")), *asked_by(pod)]
        told += [f"on {pod['spec']['nodeName']}"] if pod["spec"].get("nodeName") else ["on no node"]
        told += [f"goes at {about['deletionTimestamp']}"] if goes else []
        told += [f"gate {each['name']}" for each in pod["spec"].get("schedulingGates", [])]
        told += [_why(condition(pod, each)) for each in ("PodScheduled", SLICE_CONDITION, "Ready")]
        told += [_container(each) for each in status.get("containerStatuses", []) if not each.get("ready")]
        yield ", ".join(filter(None, [*told, status.get("reason"), status.get("message")]))


def _ended(pods: Iterable[Object]) -> Iterator[str]:
    """Whatever of the system is another process than it was at first."""
    for pod in pods:
        for each in pod.get("status", {}).get("containerStatuses", []):
            if last := each.get("lastState", {}).get("terminated"):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                why = f"{last.get('reason', '')} {last.get('exitCode')} at {last.get('finishedAt')}"
                yield f"{each['name']} of {name} ended {each.get('restartCount')} times, last by {why}"


def _why(told: Object) -> str:
    if told.get("status") != "False":
        return ""
    return f"{told['type']}: {told.get('reason', '')} {told.get('message', '')}".strip()


def _container(status: Object) -> str:
    states = status.get("state", {})
    return ", ".join(f"{status['name']} {name} {each.get('reason', '')}".strip() for name, each in states.items())


def _gpu_nodes(nodes: Iterable[Object]) -> Iterator[str]:
    for node in nodes:
        name = node["metadata"]["name"]
        for each in node.get("status", {}).get("conditions", []):
            if each["status"] != "True":
                yield f"GpuNode {name}: {each['type']} {each['status']}: {each.get('reason')} {each.get('message', '')}"
        wanted = {each["uuid"]: each["slices"] for each in node.get("spec", {}).get("gpus", [])}
        for gpu in node.get("status", {}).get("gpus", []):
            there = [f"{each} {' '.join(each.holders)}".strip() for each in slices_of(_alone(gpu))]
            asked = [f"{each['profile']}@{each['start']}" for each in wanted.get(gpu["uuid"], [])]
            yield f"GPU {name}/{gpu['uuid']}: has {', '.join(there) or 'nothing'}; is to have {', '.join(asked)}"


def _alone(gpu: Object) -> Object:
    return {"status": {"gpus": [gpu]}}


def _warnings(events: Iterable[Object]) -> Iterator[str]:
    """The last of them."""
    warnings = [each for each in events if each.get("type") == "Warning"]
    for each in sorted(warnings, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime")))[-_MOST:]:
        about = each["involvedObject"]
        yield f"{about['kind']} {about['name']}: {each.get('reason')}: {each.get('message')}"
