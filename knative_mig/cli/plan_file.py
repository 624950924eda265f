"""Reads the planner's input from YAML: GPUs with what is on them, functions that wait, quotas, policy, start-up times.

Called by `knative-mig plan`. docs/plan-file.md describes the format for its writers, a key a line. Times are seconds
from the moment of planning, which is 0: the same file gives the same plan, always.
"""

import re
from dataclasses import dataclass
from typing import Final

from knative_mig.cli.yaml_input import Field
from knative_mig.cli.yaml_tree import quoted
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Place, Profile
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
    Quotas,
    Slice,
    Use,
)
from knative_mig.core.layout import overlap
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import MeasuredStarts
from knative_mig.core.profile import RESOURCE_PREFIX, ProfileName

MOST_GPUS: Final = 100_000
MOST_SLICES: Final = 100_000  # of one pending, or of one quota
MOST_SECONDS: Final = 31_536_000  # a year: longer is a slip of the pen
MOST_PRIORITY: Final = 1_000_000_000  # Kubernetes' own limit for users
MOST_MOVES: Final = 2  # what the planner searches exactly

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NODE = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_NAMESPACE = re.compile(_LABEL, re.ASCII)
_FUNCTION = re.compile(rf"{_LABEL}/{_LABEL}(\.{_LABEL})*", re.ASCII)
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_FUNCTION_FORM: Final = "a function as namespace/name, in lower case"
_NODE_FORM: Final = "a node's name, in lower case"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    inventory: Inventory
    pendings: tuple[Pending, ...]
    policy: Policy
    startup: MeasuredStarts


def plan_input_of(root: Field) -> PlanInput:
    fields = root.keys(required=("gpus", "pendings"), optional=("quotas", "policy", "startup"))
    gpus = _gpus(fields["gpus"])
    nodes = tuple(sorted({gpu.node for gpu in gpus}))
    quotas = _quotas(fields["quotas"]) if "quotas" in fields else {}
    return PlanInput(
        inventory=Inventory(gpus=gpus, quotas=quotas),
        pendings=tuple(_pending(each, nodes) for each in fields["pendings"].items()),
        policy=_policy(fields["policy"]) if "policy" in fields else Policy(),
        startup=_startup(fields["startup"], nodes) if "startup" in fields else MeasuredStarts(),
    )


def _gpus(field: Field) -> tuple[Gpu, ...]:
    gpus: list[Gpu] = []
    named: dict[GpuUuid, str] = {}
    items = field.items()
    nodes = tuple(sorted({NodeName(each["node"].text(_NODE, _NODE_FORM)) for each in map(_gpu_keys, items)}))
    for item in items:
        for gpu in _gpu(item, nodes):
            if gpu.uuid in named:
                raise item.bad(f"uuid {gpu.uuid} is the name of {named[gpu.uuid]} already: legal is one of its own")
            named[gpu.uuid] = item.path
            gpus.append(gpu)
        if len(gpus) > MOST_GPUS:
            raise item.bad(f"makes {len(gpus)} GPUs, legal are at most {MOST_GPUS}")
    return tuple(gpus)


def _gpu_keys(item: Field) -> dict[str, Field]:
    return item.keys(required=("uuid", "node", "model"), optional=("layout", "slices", "count"))


def _gpu(item: Field, nodes: tuple[NodeName, ...]) -> list[Gpu]:
    """`count: 3` writes three GPUs in one entry: GPU-a-0, GPU-a-1, GPU-a-2."""
    fields = _gpu_keys(item)
    uuid = fields["uuid"].text(_UUID, "letters, digits, '.', '_' and '-', at most 63")
    model = fields["model"].parsed(gpu_model)
    layout = fields["layout"].choice("dynamic", "static") if "layout" in fields else "dynamic"
    node = NodeName(fields["node"].text())
    slices = _slices(fields["slices"], model, nodes) if "slices" in fields else ()
    names = [uuid]
    if "count" in fields:
        names = [f"{uuid}-{at}" for at in range(fields["count"].integer(1, MOST_GPUS))]
    return [Gpu(uuid=GpuUuid(name), node=node, model=model, slices=slices, static=layout == "static") for name in names]


def _slices(field: Field, model: GpuModel, nodes: tuple[NodeName, ...]) -> tuple[Slice, ...]:
    slices: list[Slice] = []
    for item in field.items():
        fields = item.keys(
            required=("profile", "start"),
            optional=("function", "movable", "move_s", "nodes", "free_in_s", "idle"),
        )
        place = _place(fields, model)
        clash = overlap([*(each.place for each in slices), place])
        if clash:
            at = next(at for at, each in enumerate(slices) if each.place == clash[0])
            raise item.bad(f"{place} overlaps {field.path}[{at}], {clash[0]}: legal are places side by side")
        slices.append(Slice(place, _use(item, fields, nodes)))
    return tuple(slices)


def _place(fields: dict[str, Field], model: GpuModel) -> Place:
    profile = fields["profile"].parsed(lambda text: _profile_of(model, _profile_name(text)))
    start = fields["start"].integer(0, model.memory_units - 1)
    try:
        return model.place(profile, start)
    except BadInput as bad:
        raise fields["start"].bad(str(bad)) from None


def _use(item: Field, fields: dict[str, Field], nodes: tuple[NodeName, ...]) -> Use:
    if ("idle" in fields) == ("function" in fields):
        raise item.bad("is busy or idle: legal is one of function and idle")
    if "idle" in fields:
        _refuse_beside(fields, "idle", ("movable", "move_s", "nodes", "free_in_s"))
        return _idle(fields["idle"])
    function = _function(fields["function"])
    if "free_in_s" in fields:
        _refuse_beside(fields, "free_in_s", ("movable", "move_s", "nodes"))
        return Ending(function, fields["free_in_s"].number(0, MOST_SECONDS))
    movable = fields["movable"].flag() if "movable" in fields else False
    if movable and "move_s" not in fields:
        raise item.bad("move_s is missing: a movable function needs the seconds of a start elsewhere and a drain here")
    if not movable:
        _refuse_beside(fields, "a function that is not movable", ("move_s", "nodes"))
    return Busy(
        function=function,
        movable=movable,
        move_s=fields["move_s"].number(0, MOST_SECONDS) if movable else 0.0,
        nodes=_nodes(fields["nodes"], nodes) if "nodes" in fields else None,
    )


def _refuse_beside(fields: dict[str, Field], owner: str, others: tuple[str, ...]) -> None:
    for key in others:
        if key in fields:
            raise fields[key].bad(f"says nothing beside {owner}: leave it out")


def _idle(field: Field) -> Idle:
    fields = field.keys(optional=("worth_s", "next_start_s", "likelihood"))
    if "worth_s" in fields:
        _refuse_beside(fields, "worth_s", ("next_start_s", "likelihood"))
        return Idle(fields["worth_s"].number(0, MOST_SECONDS))
    if ("next_start_s" in fields) != ("likelihood" in fields):
        raise field.bad("says half of its worth: legal is worth_s, or next_start_s with likelihood, or {}")
    if "likelihood" not in fields:
        return Idle()
    return Idle.from_reuse(fields["next_start_s"].number(0, MOST_SECONDS), fields["likelihood"].number(0, 1))


def _pending(item: Field, nodes: tuple[NodeName, ...]) -> Pending:
    fields = item.keys(required=("function", "profile"), optional=("count", "priority", "waiting_s", "nodes"))
    return Pending(
        function=_function(fields["function"]),
        profile=_asked_profile(fields["profile"]),
        count=fields["count"].integer(1, MOST_SLICES) if "count" in fields else 1,
        priority=fields["priority"].integer(-MOST_PRIORITY, MOST_PRIORITY) if "priority" in fields else 0,
        since=-fields["waiting_s"].number(0, MOST_SECONDS) if "waiting_s" in fields else 0.0,
        nodes=_nodes(fields["nodes"], nodes) if "nodes" in fields else None,
    )


def _function(field: Field) -> Function:
    namespace, _, name = field.text(_FUNCTION, _FUNCTION_FORM).partition("/")
    return Function(namespace, name)


def _nodes(field: Field, known: tuple[NodeName, ...]) -> frozenset[NodeName]:
    return frozenset(NodeName(each.choice(*known)) for each in field.items())


def _profile_name(text: str) -> ProfileName:
    return ProfileName.from_resource(text) if text.startswith(RESOURCE_PREFIX) else ProfileName.parse(text)


def _profile_of(model: GpuModel, name: ProfileName) -> Profile:
    """By the table's name, or by the one that the GPU's own driver gives it."""
    return model.resolve(name) or model.profile(name)


def _asked_profile(field: Field) -> ProfileName:
    """One that some model has, under this name or another driver's: that no GPU here has it is for the plan to say."""
    name = field.parsed(_profile_name)
    if not any(model.resolve(name) for model in GPU_MODELS):
        raise field.bad(f"{name} is a profile of no known GPU model: `knative-mig profiles MODEL` lists them")
    return name


def _profile_keys(field: Field) -> dict[ProfileName, Field]:
    """A mapping whose keys are profiles."""
    named: dict[ProfileName, Field] = {}
    for key, value in field.mapping().items():
        try:
            name = _profile_name(key)
        except BadInput as bad:
            raise value.bad(str(bad)) from None
        if not any(model.resolve(name) for model in GPU_MODELS):
            raise value.bad(f"{name} is a profile of no known GPU model: `knative-mig profiles MODEL` lists them")
        if name in named:
            raise value.bad(f"{name} stands twice: first as {named[name].path}")
        named[name] = value
    return named


def _quotas(field: Field) -> Quotas:
    quotas: dict[str, dict[ProfileName, int]] = {}
    for namespace, limits in field.mapping().items():
        if not _NAMESPACE.fullmatch(namespace):
            raise limits.bad(f"{quoted(namespace)} is no namespace: legal is a name in lower case")
        quotas[namespace] = {name: each.integer(0, MOST_SLICES) for name, each in _profile_keys(limits).items()}
    return quotas


def _policy(field: Field) -> Policy:
    fields = field.keys(optional=("max_moves", "starving_after_s", "wait_at_most_s", "reserve_whole", "demand"))
    usual = Policy()
    return Policy(
        max_moves=fields["max_moves"].integer(0, MOST_MOVES) if "max_moves" in fields else usual.max_moves,
        starving_after_s=(
            fields["starving_after_s"].number(1, MOST_SECONDS)
            if "starving_after_s" in fields
            else usual.starving_after_s
        ),
        wait_at_most_s=(
            fields["wait_at_most_s"].number(0, MOST_SECONDS) if "wait_at_most_s" in fields else usual.wait_at_most_s
        ),
        reserve_whole=(
            fields["reserve_whole"].integer(0, MOST_GPUS) if "reserve_whole" in fields else usual.reserve_whole
        ),
        demand=(
            {name: each.number(0, 1) for name, each in _profile_keys(fields["demand"]).items()}
            if "demand" in fields
            else usual.demand
        ),
    )


def _startup(field: Field, nodes: tuple[NodeName, ...]) -> MeasuredStarts:
    usual: dict[Function, float] = {}
    on_node: dict[Function, dict[NodeName, float]] = {}
    for key, of_function in field.mapping().items():
        if not _FUNCTION.fullmatch(key):
            raise of_function.bad(f"{quoted(key)} is no function: legal is {_FUNCTION_FORM}")
        namespace, _, name = key.partition("/")
        fields = of_function.keys(required=("usual_s",), optional=("on_node_s",))
        usual[Function(namespace, name)] = fields["usual_s"].number(0, MOST_SECONDS)
        if "on_node_s" in fields:
            measured = fields["on_node_s"].keys(optional=nodes)
            on_node[Function(namespace, name)] = {
                NodeName(node): each.number(0, MOST_SECONDS) for node, each in measured.items()
            }
    return MeasuredStarts(usual_s=usual, on_node=on_node)
