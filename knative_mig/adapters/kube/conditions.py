"""Conditions as the API has them: those of GpuNodes, and our one of pods.

Called by `gpu_node_codec`, `parse` and `pods`.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.fields import Fields, time_text
from knative_mig.core.gpu_node import Condition

_MEANING: Final[Mapping[str, bool | None]] = {"True": True, "False": False, "Unknown": None}
_TEXT: Final = {meaning: text for text, meaning in _MEANING.items()}


def read(kind: str, fields: Fields) -> Condition:
    if (status := fields.text("status")) not in _MEANING:
        raise fields.bad("status", "True, False or Unknown")
    return Condition(
        type=kind,
        status=_MEANING[status],
        reason=fields.text("reason"),
        message=fields.text("message"),
        since=fields.time("lastTransitionTime") or 0.0,
    )


def written(condition: Condition) -> dict[str, Any]:
    """Without its type."""
    return {
        "status": _TEXT[condition.status],
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": time_text(condition.since),
    }
