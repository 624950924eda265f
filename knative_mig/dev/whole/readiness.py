"""Says what `dev` still waits for before it is ready: its processes, and the GPUs of its nodes.

Asked by `process` until it is empty. A process says at its own /readyz what it lacks, as a kubelet would be told.
"""

import http.client
from collections.abc import Iterable
from typing import Final

from knative_mig.dev.whole.supervision import Part

_ANSWERS_WITHIN_S: Final = 1.0  # it is asked again, and meanwhile nobody hears that `dev` is to end


class Waiting:
    """For each until it said once that it is ready: what fails after that is started anew, and is no start."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = tuple(parts)

    def look(self) -> tuple[str, ...]:
        """What is still waited for, and why."""
        why = {part: _why_not(part.ready_at) for part in self._parts}
        self._parts = tuple(part for part in self._parts if why[part])
        return tuple(f"{part.name}: {why[part]}" for part in self._parts)


def _why_not(address: tuple[str, int]) -> str:
    connection = http.client.HTTPConnection(*address, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return "it has not begun to answer"
    finally:
        connection.close()
    return "" if answer.status == 200 else said
