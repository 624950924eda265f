"""Which GPUs vLLM is shown: the one slice that the container holds, by a name that it does not stumble over.

Called by `__main__` with the container's environment, before anything is started. NVIDIA_VISIBLE_DEVICES is what the
node agent handed out; CUDA_VISIBLE_DEVICES is what somebody may have set beside it. CUDA takes a slice's UUID there.
vLLM took it for a number and fell (vllm #41848, #46132); the pinned release asks NVML which index the UUID has, gets
that of the slice within its GPU, and uses it as if it were a GPU's: it then reads another GPU, or none. In a container
that holds one slice the variable says nothing, so it is dropped, and vLLM finds the slice as device 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.vllm.failures import Ending, NotStarted

SHOWN: Final = "CUDA_VISIBLE_DEVICES"
HANDED_OUT: Final = "NVIDIA_VISIBLE_DEVICES"
_ALLOCATOR: Final = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_GROWING: Final = "expandable_segments:True"
_NONE: Final = frozenset({"void", "none"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    variables: Mapping[str, str]
    notes: tuple[str, ...] = ()  # what was changed, and why


def environment(given: Mapping[str, str]) -> Environment:
    """NotStarted: CUDA would find no slice there, or another one than was handed out."""
    shown = _names(given[SHOWN]) if SHOWN in given else None
    handed = _names(given.get(HANDED_OUT, ""))
    slices = [name for name in handed if _is_slice(name)]
    if len(slices) > 1:
        raise _wrong(f"{HANDED_OUT} names {len(slices)} slices, and a process can use one")
    if handed and set(handed) <= _NONE:
        raise _wrong(f"{HANDED_OUT} is {given[HANDED_OUT]!r}: the container holds no GPU")
    if shown is not None:
        _check(given[SHOWN], shown, slices)
    variables, notes = dict(given), []
    if shown and _is_slice(shown[0]):
        if slices:
            del variables[SHOWN]
            notes.append(f"{SHOWN} is dropped: {shown[0]} is all that the container holds, and so device 0")
        else:
            notes.append(
                f"{SHOWN} names {shown[0]}, and {HANDED_OUT} does not: vLLM may ask NVML about another GPU. "
                "Hand the container that slice alone"
            )
    if slices or (shown and _is_slice(shown[0])):
        for name in _ALLOCATOR:
            if _GROWING in variables.get(name, ""):
                variables[name] = variables[name].replace(_GROWING, "expandable_segments:False")
                notes.append(f"{name} is not to have {_GROWING}: growing asks NVML for what a slice may not be asked")
    return Environment(variables=variables, notes=tuple(notes))


def _check(text: str, shown: list[str], slices: list[str]) -> None:
    if not shown:
        raise _wrong(f"{SHOWN} is set and empty: CUDA finds no GPU")
    named = [name for name in shown if _is_slice(name)]
    if named and len(shown) > 1:
        raise _wrong(f"{SHOWN} is {text!r}: a process can use one slice")
    if not slices:
        return
    if named and named[0].casefold() != slices[0].casefold():
        raise _wrong(f"{SHOWN} names {named[0]}, and the container was handed {slices[0]}")
    if not named and shown != ["0"]:
        raise _wrong(f"{SHOWN} is {text!r}, and of the one slice that the container was handed 0 is legal")


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _is_slice(name: str) -> bool:
    return name.startswith("MIG-")


def _wrong(why: str) -> NotStarted:
    return NotStarted(Ending.WRONG_SLICE, why)
