"""The mover's journal in a ConfigMap: each move one entry, named by the UID of the pod that it is for.

Called by the planner's leader. An entry that somebody made unreadable is a move that nobody can resume: it is told and
dropped, its request runs out by itself, and what was marked stays marked.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.config_records import TOKEN, ConfigRecord, token_of
from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.choose import Journal
from knative_mig.core.mover.values import Leg, Move, Phase, PodRef, Spot
from knative_mig.ports.autoscaling import StoredMoves
from knative_mig.ports.kube import Key

MOVES: Final = "knative-mig-moves"
_RESTING: Final = "resting"

_log = logging.getLogger(__name__)


class KubeMoveStore:
    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._record = ConfigRecord(client, Key(namespace, MOVES))

    def load(self) -> StoredMoves:
        return _stored(*self._record.load())

    def save(self, moves: StoredMoves) -> StoredMoves:
        data = {uid: json.dumps(_told(move)) for uid, move in moves.journal.moves.items()}
        resting = {str(function): until for function, until in moves.journal.resting.items()}
        return _stored(
            *self._record.save({**data, _RESTING: json.dumps(resting), TOKEN: str(moves.token)}, moves.resource_version)
        )


def _stored(data: Mapping[str, str], version: str) -> StoredMoves:
    moves = {}
    resting: dict[Function, float] = {}
    for name, text in data.items():
        try:
            if name == _RESTING:
                resting = {
                    _function(each): float(until)  # type: ignore[arg-type]  # TypeError is caught below
                    for each, until in Fields.parse(text).values.items()
                }
            elif name != TOKEN:
                moves[name] = _move(Fields.parse(text))
        except (BadInput, ValueError, TypeError) as error:
            _log.warning("Entry %s of the moves cannot be read and is dropped: %s", name, error)
    return StoredMoves(journal=Journal(moves=moves, resting=resting), token=token_of(data), resource_version=version)


def _told(move: Move) -> dict[str, Any]:
    return {
        "beneficiary": {"function": str(move.function), **_pod_told(move.beneficiary)},
        "place": _spot_told(move.place),
        "legs": [
            {
                "function": str(leg.function),
                "revisionUID": leg.revision_uid,
                "old": _pod_told(leg.old),
                "source": _spot_told(leg.source),
                "target": _spot_told(leg.target),
            }
            for leg in move.legs
        ],
        "at": move.at,
        "phase": str(move.phase),
        "began": move.began,
        "since": move.since,
        "floor": move.floor,
        "until": move.until,
        "known": sorted(move.known),
        "cost": move.cost,
        "why": move.why,
        "recreates": move.recreates,
    }


def _move(fields: Fields) -> Move:
    whose = fields.child("beneficiary")
    legs = tuple(
        Leg(
            function=_function(each.name("function")),
            revision_uid=each.name("revisionUID"),
            old=_pod(each.child("old")),
            source=_spot(each.child("source")),
            target=_spot(each.child("target")),
        )
        for each in fields.children("legs")
    )
    at = fields.integer("at")
    if at >= len(legs):
        raise fields.bad("at", f"less than the {len(legs)} legs")
    cost = fields.values.get("cost")
    return Move(
        beneficiary=_pod(whose),
        function=_function(whose.name("function")),
        place=_spot(fields.child("place")),
        legs=legs,
        at=at,
        phase=fields.parsed("phase", Phase, f"one of {', '.join(Phase)}"),
        began=_number(fields, "began"),
        since=_number(fields, "since"),
        floor=fields.integer("floor"),
        until=_number(fields, "until"),
        known=frozenset(fields.texts("known")),
        cost=cost if isinstance(cost, int) else None,
        why=fields.text("why"),
        recreates=fields.flag("recreates"),
    )


def _number(fields: Fields, key: str) -> float:
    value = fields.values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fields.bad(key, "a number")
    return float(value)


def _function(text: str) -> Function:
    namespace, _, name = text.partition("/")
    if not (namespace and name):
        raise BadInput(f"{text!r} is no function: it is written <namespace>/<name>")
    return Function(namespace, name)


def _pod_told(pod: PodRef) -> dict[str, str]:
    return {"pod": pod.name, "uid": pod.uid}


def _pod(fields: Fields) -> PodRef:
    return PodRef(name=fields.name("pod"), uid=fields.name("uid"))


def _spot_told(spot: Spot) -> dict[str, str]:
    return {"node": str(spot.node), "slice": str(spot.slice)}


def _spot(fields: Fields) -> Spot:
    return Spot(node=NodeName(fields.name("node")), slice=fields.parsed("slice", SliceId.parse, "a slice's id"))
