"""Small worlds in words, for tests of the planner.

gpu("A", "3g.20gb@0 is chat", "1g.5gb@4 is mail, moves in 10", "1g.5gb@5 idle, worth 0.5", "1g.5gb@6 is x, ends at 9")
"""

import re

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import (
    Busy,
    Ending,
    Function,
    Gpu,
    GpuUuid,
    Idle,
    Inventory,
    NodeName,
    Pending,
    Slice,
    Use,
)
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.batch import plan
from knative_mig.core.planner.decisions import Plan, Step, Target
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import StartupEstimate
from knative_mig.core.profile import ProfileName

_SLICE = re.compile(
    r"(?P<profile>\S+)@(?P<start>\d+) (?:idle(?:, worth (?P<worth>[\d.]+))?"
    r"|is (?P<name>[\w/-]+)(?:, moves in (?P<move>[\d.]+)(?: to (?P<nodes>[\w ]+))?|, ends at (?P<end>[\d.]+))?)"
)


def function(name: str) -> Function:
    namespace, _, short = name.rpartition("/")
    return Function(namespace or "default", short)


def place(model: str, words: str) -> Place:
    profile, _, start = words.partition("@")
    found = gpu_model(model)
    return found.place(found.profile(ProfileName.parse(profile)), int(start))


def gpu(uuid: str, *slices: str, model: str = "A100-40GB", node: str = "n1", static: bool = False) -> Gpu:
    return Gpu(
        uuid=GpuUuid(uuid),
        node=NodeName(node),
        model=gpu_model(model),
        slices=tuple(_slice(model, words) for words in slices),
        static=static,
    )


def pending(
    name: str,
    profile: str,
    *,
    count: int = 1,
    priority: int = 0,
    since: float = 0.0,
    nodes: tuple[str, ...] | None = None,
) -> Pending:
    return Pending(
        function=function(name),
        profile=ProfileName.parse(profile),
        count=count,
        priority=priority,
        since=since,
        nodes=None if nodes is None else frozenset(NodeName(node) for node in nodes),
    )


def planned(
    gpus: list[Gpu],
    *pendings: Pending,
    now: float = 0.0,
    policy: Policy | None = None,
    startup: StartupEstimate | None = None,
    quotas: dict[str, dict[str, int]] | None = None,
) -> Plan:
    limits = {ns: {ProfileName.parse(name): left for name, left in by.items()} for ns, by in (quotas or {}).items()}
    return plan(Inventory(gpus=tuple(gpus), quotas=limits), pendings, policy or Policy(), now, startup=startup)


def told(step: Step) -> str:
    """A step in one line: what a story's last sentence is compared with."""
    words = f"{step.function.name}: {step.how} {_where(step.target)}"
    for each in step.relocations:
        words += f", moving {each.function.name} from {each.source_gpu}:{each.source} to {_where(each.target)}"
    return words


def _where(target: Target) -> str:
    gone = f" over {' '.join(str(place) for place in target.destroys)}" if target.destroys else ""
    return f"{target.gpu}:{target.place}{gone}"


def _slice(model: str, words: str) -> Slice:
    match = _SLICE.fullmatch(words)
    assert match, words
    where = place(model, f"{match['profile']}@{match['start']}")
    return Slice(where, _use(match))


def _use(match: re.Match[str]) -> Use:
    if match["name"] is None:
        return Idle(float(match["worth"] or 0))
    who = function(match["name"])
    if match["end"]:
        return Ending(who, float(match["end"]))
    nodes = frozenset(NodeName(node) for node in match["nodes"].split()) if match["nodes"] else None
    return Busy(who, match["move"] is not None, float(match["move"] or 0), nodes)
