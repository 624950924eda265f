"""Decides which simulated node has which GPUs: a node for each part of `2xA100-40GB,1xH100-80GB`.

Called by `process`. A machine's GPUs are of one model, so a model more is a node more, with an agent of its own.
"""

from dataclasses import dataclass
from typing import Final

from knative_mig.adapters.sim_gpu.state import parse_spec
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import MOST_GPUS_A_NODE
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import Attribute

MOST_NODES: Final = 16  # a process each, and more would be no newcomer's machine


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNode:
    name: NodeName
    number: int
    gpus: str  # as its agent is told: 2xA100-40GB


def nodes_of(spec: str) -> tuple[SimulatedNode, ...]:
    """BadInput."""
    parts = tuple(each.strip() for each in spec.split(","))
    for part in parts:
        try:
            parse_spec(part, most=MOST_GPUS_A_NODE)
        except BadInput as bad:
            says_which = str(bad).startswith(f"{spec!r} ")
            raise type(bad)(f"--gpus {bad}" if says_which else f"--gpus {spec!r}: {bad}") from None
    if len(parts) > MOST_NODES:
        raise BadInput(f"--gpus {spec}: these are {len(parts)} nodes, and at most {MOST_NODES} are")
    return tuple(SimulatedNode(name=NodeName(f"node-{at + 1}"), number=at, gpus=part) for at, part in enumerate(parts))


def smallest_slice(node: SimulatedNode) -> str:
    """Of its GPUs, as a Pod asks for it."""
    (model, *_) = parse_spec(node.gpus)
    plain = (each.name for each in model.profiles if each.name.attribute is Attribute.PLAIN)
    return min(plain, key=lambda name: (name.compute, name.memory_gb)).resource
