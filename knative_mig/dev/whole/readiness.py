"""Says what `dev` still waits for before it is ready: its processes, and the GPUs of its nodes.

Asked by `process` until it is empty. A process says at its own /readyz what it lacks, as a kubelet would be told.
"""

import http.client
from collections.abc import Iterator, Sequence
from typing import Final

from knative_mig.dev.whole.supervision import Kept

_ANSWERS_WITHIN_S: Final = 2.0


def waits_for(kept: Sequence[Kept]) -> Iterator[str]:
    for each in kept:
        why = _why_not(each.part.ready_at)
        if why:
            yield f"{each.part.name}: {why}"


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
