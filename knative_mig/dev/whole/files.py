"""How many files `dev` may have open: whether they are enough, how many are for requests, and that none is left.

Asked by `process`: once before much is opened, then again and again while all runs. Here a file is whatever has a
descriptor. The subtle thing is who gets them: a crowd of requests that took the last one would keep the very pod from
starting that it waits for, so requests have their share, and the rest is the others'.
"""

import os
import resource
from collections.abc import Callable
from typing import Final

from knative_mig.core.errors import BadInput

_OWN: Final = 128  # of the stand-ins, without a node: 82 when it is ready, and more under load
_OF_A_NODE: Final = 48  # 20 when it is ready, and some for each kind of slice
_FEWEST: Final = 64  # for requests, pods and clients, where there are no more
_OTHERS: Final = 1000  # for pods and their probes, kubectl and kn, events: at most so many are kept back
_AGAIN_AFTER_S: Final = 2.0  # of one crowd it is told once


def allowed(nodes: int) -> int:
    """As many as this process may have, from now on: many a shell begins with 1,024 where it may have more. BadInput:
    too few for so many nodes.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _own(nodes) + _FEWEST
    if most < needed:
        of = f"{nodes} node{'s' if nodes > 1 else ''}"
        raise BadInput(
            f"a process may have {most} files open here (ulimit -Hn): legal are {needed} and more for {of}, and two "
            "more for each request at a time"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def for_requests(most: int, nodes: int) -> int:
    left = most - _own(nodes)
    return left - min(left // 4, _OTHERS)


def _own(nodes: int) -> int:
    return _OWN + nodes * _OF_A_NODE


class Files:
    """`is_full`: whether requests have their share."""

    def __init__(self, most: int, is_full: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self._most, self._is_full, self._tell = most, is_full, tell
        self._short_at: float | None = None  # when they last were

    def look(self, now: float) -> None:
        if self._is_full() or not _is_one_left():
            if self._short_at is None:
                self._tell(
                    f"a process may have {self._most} files open here (ulimit -n), and none is left for one more "
                    "request: those that come now wait until others have ended"
                )
            self._short_at = now
        elif self._short_at is not None and now - self._short_at >= _AGAIN_AFTER_S:
            self._short_at = None
            self._tell("there are enough files again")


def _is_one_left() -> bool:
    try:
        os.close(os.eventfd(0, os.EFD_CLOEXEC))
    except OSError:
        return False
    return True
