"""Why vLLM did not come up, in one line and an exit code, from what it wrote before it ended.

Called by `process` when the engine is gone before it was ready; `NotStarted` is raised by what refuses to start it at
all. An engine that fails says so in a hundred lines, from several processes, and the last of them names no cause
("Engine core initialization failed. See root cause above"): the first line that bears a known sign is the cause.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from knative_mig.core.errors import KnativeMigError


class Ending(IntEnum):
    """The launcher's exit codes."""

    TOLD = 0  # to end, and it did
    FAILED = 1
    BAD_INPUT = 2
    DOES_NOT_FIT = 3
    WRONG_SLICE = 4
    UNKNOWN_MODEL = 5
    TOO_LATE = 6  # not healthy in time


WORDS: Final = {
    Ending.TOLD: "told to end",
    Ending.FAILED: "failed",
    Ending.BAD_INPUT: "bad input",
    Ending.DOES_NOT_FIT: "does not fit",
    Ending.WRONG_SLICE: "wrong slice",
    Ending.UNKNOWN_MODEL: "unknown model",
    Ending.TOO_LATE: "not healthy in time",
}


class NotStarted(KnativeMigError):
    """The engine would only fail, and later."""

    reason = "NotStarted"

    def __init__(self, ending: Ending, why: str) -> None:
        super().__init__(f"{WORDS[ending]}: {why}")
        self.ending = ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    ending: Ending
    line: str


_MEMORY, _SLICE, _MODEL, _INPUT = Ending.DOES_NOT_FIT, Ending.WRONG_SLICE, Ending.UNKNOWN_MODEL, Ending.BAD_INPUT
_SIGNS: Final = tuple(
    (re.compile(pattern), ending)
    for pattern, ending in (
        # vLLM's own arithmetic, and what comes where that was too hopeful.
        (r"No available memory for the cache blocks", _MEMORY),
        (r"To serve at least one request with the model's max seq len", _MEMORY),
        (r"Free memory on device .* on startup is less than", _MEMORY),
        (r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError", _MEMORY),
        # On a slice the allocator may not ask NVML how much there is, and breaks there before it can say the above.
        (r"NVML_SUCCESS == r INTERNAL ASSERT FAILED", _MEMORY),
        (r"invalid literal for int\(\) with base 10: '(?:MIG|GPU)-", _SLICE),
        (r"Non-integer device ID '(?:MIG|GPU)-", _SLICE),
        (r"NVMLError_(?:NotFound|InvalidArgument)", _SLICE),
        (r"No CUDA GPUs are available|no CUDA-capable device is detected", _SLICE),
        (r"CUDA-capable device\(s\) is/are busy or unavailable|invalid device ordinal", _SLICE),
        (r"Failed to infer device type", _SLICE),
        (r"Invalid repository ID or local directory specified|Could not detect config format", _MODEL),
        (r"RepositoryNotFoundError|is not a valid model identifier|GatedRepoError|Cannot access gated repo", _MODEL),
        (r"Model architectures .* are not supported|Cannot find model module", _MODEL),
        (r"max_num_batched_tokens \(\d+\) (?:is smaller than|must be greater)", _INPUT),
        (r"\berror: (?:unrecognized arguments|argument |ambiguous option|the following arguments)", _INPUT),
    )
)
# "(EngineCore pid=57) ERROR 11-29 02:00:00 [core.py:1160] ": who says it and when, in front of what is said.
_PREFIX: Final = re.compile(
    r"^(?:\([^()]* pid=\d+\)\s*)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+\S+\s+\S+\s+\[[^\]]*\]\s*)?"
)
_LONGEST: Final = 400  # characters: a line that a person reads in a pod's status


def failure(lines: Iterable[str], returncode: int) -> Failure:
    """Of an engine that ended by itself before it was ready; a negative code is a signal, as `subprocess` has it."""
    last = ""
    for line in lines:
        said = _PREFIX.sub("", line.strip()).strip()
        for sign, ending in _SIGNS:
            if sign.search(said):
                return Failure(ending=ending, line=_one_line(ending, said))
        last = said or last
    if returncode < 0:
        why = f"the engine was ended by {signal.Signals(-returncode).name} before it was ready"
        if -returncode == signal.SIGKILL:
            why += ": as the kernel does to a container that takes more memory than its limit"
        return Failure(ending=Ending.FAILED, line=_one_line(Ending.FAILED, why))
    why = f"the engine ended with {returncode} before it was ready" + (f": {last}" if last else "")
    return Failure(ending=Ending.FAILED, line=_one_line(Ending.FAILED, why))


def _one_line(ending: Ending, said: str) -> str:
    text = f"{WORDS[ending]}: {said}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
