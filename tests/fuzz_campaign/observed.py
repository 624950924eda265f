"""`python -m tests.fuzz_campaign.observed EVERY MODULE …` runs a process of ours and watches for exceptions.

An exception that is none of the error tree's is a fault, whatever it is answered with. It may be raised by a library
and be named anew where that was called; so what is written to the log is one that crosses from one function of ours
into another, but for those that say so, and one that shows a mistake (an attribute, a type, a key) wherever it is
caught. Only threads of connections are looked at, one in EVERY: it makes them slower.
"""

import os
import runpy
import sys
import threading
from itertools import count
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from knative_mig.core.errors import KnativeMigError

MARK: Final = "OUTSIDE THE ERROR TREE"
_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = tuple(f"{_ROOT / name}{os.sep}" for name in ("knative_mig", "activator_hooks", "reconfigurer"))
# Called back by json, whose ValueError it is to be; and the one parser whose docstring says ValueError.
_SAY_SO: Final = frozenset({"_once", "_no_number", "_finite", "seconds_of"})
_MISTAKES: Final = (TypeError, AttributeError, LookupError, AssertionError, ArithmeticError, NameError, MemoryError)
_MEANT: Final = (KnativeMigError, OSError, StopIteration, GeneratorExit)
_OF_CONNECTIONS: Final = "(process_request_thread)"


class Watcher:
    def __init__(self, every: int) -> None:
        self._every = every
        self._connections = count()
        self._told: set[str] = set()

    def begin(self, *_: object) -> Any:
        """The first call in a thread: whether it is looked at."""
        if _OF_CONNECTIONS in threading.current_thread().name and next(self._connections) % self._every == 0:
            sys.settrace(self._called)
        else:
            sys.settrace(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002 - as sys.settrace calls it
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_lines = False
        return self._within

    def _within(self, frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002 - likewise
        if event == "exception":
            kind, error, traceback = argument
            if not issubclass(kind, _MEANT):
                self._judge(kind, error, _ours(traceback))
        return self._within

    def _judge(self, kind: type[BaseException], error: object, names: list[str]) -> None:
        """`names`: of our functions that it has come through, the one that it is in first."""
        crossed = len(names) > 1 and names[-1].rpartition(".")[2] not in _SAY_SO
        if not crossed and not issubclass(kind, _MISTAKES):
            return
        way = f"{kind.__name__} in {' < '.join(names)}"
        if way not in self._told:
            self._told.add(way)
            sys.stderr.write(f"{MARK}: {way}: {str(error)[:200]!r}\n")


def _ours(traceback: TracebackType | None) -> list[str]:
    found: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        # A comprehension is a frame of its own, and no function.
        if code.co_filename.startswith(_OURS) and not code.co_name.startswith("<"):
            found.append(code.co_qualname)
        traceback = traceback.tb_next
    return found


def main() -> None:
    _, every, module, *words = sys.argv
    sys.argv = [module, *words]
    threading.settrace(Watcher(int(every)).begin)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
