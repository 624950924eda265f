"""A plan as data for programs: everything that is in it, in JSON's own types.

Keys are part of the command's interface: add, never rename.
"""

from collections.abc import Sequence

from knative_mig.core.geometry import Place
from knative_mig.core.planner.decisions import Plan, Reason, Rejection, Relocation, Step, Target

Data = dict[str, object]


def data_of(plan: Plan) -> Data:
    return {
        "steps": [_step(each) for each in plan.steps],
        "rejections": [_rejection(each) for each in plan.rejections],
        "reasons": _reasons(plan.reasons),
        "bound": {"served": plan.bound.served, "at_most": plan.bound.at_most, "gap": plan.bound.gap},
    }


def _step(step: Step) -> Data:
    return {
        "how": str(step.how),
        "function": str(step.function),
        "profile": str(step.profile),
        "target": _target(step.target),
        "relocations": [_relocation(each) for each in step.relocations],
        "until_s": step.until,
        "reasons": _reasons(step.reasons),
    }


def _target(target: Target) -> Data:
    return {
        "gpu": target.gpu,
        "node": target.node,
        **_place(target.place),
        "reuses": target.reuses,
        "destroys": [_place(each) for each in target.destroys],
        "awaits": [_place(each) for each in target.awaits],
    }


def _relocation(move: Relocation) -> Data:
    return {
        "function": str(move.function),
        "source": {"gpu": move.source_gpu, **_place(move.source)},
        "target": _target(move.target),
        "seconds": move.seconds,
    }


def _rejection(rejection: Rejection) -> Data:
    return {
        "function": str(rejection.pending.function),
        "profile": str(rejection.pending.profile),
        "count": rejection.count,
        "reason": _reasons([rejection.reason])[0],
        "helps": list(rejection.helps),
    }


def _reasons(reasons: Sequence[Reason]) -> list[Data]:
    return [{"code": str(each.code), "text": each.text} for each in reasons]


def _place(place: Place) -> Data:
    return {"profile": str(place.profile), "start": place.start}
