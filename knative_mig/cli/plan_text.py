"""A plan as people read it: the GPUs it touches before and after, its steps, what is rejected and what would help."""

from collections.abc import Iterator, Sequence

from knative_mig.cli.aftermath import Change, changes
from knative_mig.cli.slot_map import LEGEND, draw
from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Inventory
from knative_mig.core.planner.decisions import Bound, How, Plan, Reason, Rejection, Relocation, Step

_INDENT = " " * 4


def text_of(inventory: Inventory, plan: Plan, *, explain: bool, colour: bool) -> str:
    changed = changes(inventory, plan)
    paragraphs = [
        *("\n".join(_picture(each, colour=colour)) for each in changed),
        *(["\n".join(_steps(plan.steps, explain=explain))] if plan.steps else []),
        *(["\n".join(_rejections(plan.rejections))] if plan.rejections else []),
        *(["\n".join(_overall(plan))] if explain else []),
        _tally(plan),
        *([LEGEND] if changed else []),
    ]
    return "\n\n".join(paragraphs)


def _picture(change: Change, *, colour: bool) -> Iterator[str]:
    gpu = change.gpu
    yield f"{gpu.uuid}, {gpu.model} on {gpu.node}{', static layout' if gpu.static else ''}"
    yield f"  before  {draw(gpu.model, change.before, colour=colour)}"
    yield f"  after   {draw(gpu.model, change.after, colour=colour)}"


def _steps(steps: Sequence[Step], *, explain: bool) -> Iterator[str]:
    for at, step in enumerate(steps, start=1):
        target = step.target
        yield f"{at}. {step.how}: {step.function} gets {target.place} of {target.gpu} on {target.node}"
        for move in step.relocations:
            yield _INDENT + _relocation(move)
        if step.how is How.WAIT and step.until is not None:
            yield f"{_INDENT}in {step.until:g} s, when the pods on {_places(target.awaits)} are gone"
        if target.destroys:
            yield f"{_INDENT}destroys idle {_places(target.destroys)}"
        if explain:
            yield from _reasons(step.reasons)


def _relocation(move: Relocation) -> str:
    target = move.target
    over = f", which destroys idle {_places(target.destroys)}" if target.destroys else ""
    onto = "the idle" if target.reuses else "a new"
    return (
        f"first {move.function} moves from {move.source} of {move.source_gpu} to {onto} {target.place} of {target.gpu} "
        f"on {target.node}{over} (about {move.seconds:g} s)"
    )


def _places(places: Sequence[Place]) -> str:
    return ", ".join(str(place) for place in sorted(places, key=lambda place: place.start))


def _rejections(rejections: Sequence[Rejection]) -> Iterator[str]:
    for rejection in rejections:
        pending = rejection.pending
        yield f"rejected: {rejection.count} x {pending.profile} for {pending.function}"
        yield from _reasons([rejection.reason])
        for help_ in rejection.helps:
            yield f"{_INDENT}would help: {help_}"


def _reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    for reason in reasons:
        yield f"{_INDENT}{reason.code}: {reason.text}"


def _overall(plan: Plan) -> Iterator[str]:
    yield "the plan as a whole"
    yield from _reasons(plan.reasons)
    yield _INDENT + _bound(plan.bound)


def _bound(bound: Bound) -> str:
    return (
        f"it serves {bound.served} compute slices; no plan serves more than {bound.at_most} "
        f"(gap {100 * bound.gap:.1f} %)"
    )


def _tally(plan: Plan) -> str:
    rejected = sum(each.count for each in plan.rejections)
    asked = len(plan.steps) + rejected
    return f"{len(plan.steps)} of {asked} slices granted" if asked else "nothing is pending"
