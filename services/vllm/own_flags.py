"""What the function's own flags of vLLM say, of what the launcher has to know.

Called by `plan`; pure. vLLM reads `--max_num_seqs=8` and `--max-num-seqs 8` alike, some numbers as `8k`, and of a flag
that comes twice the last.
"""

import re
from collections.abc import Sequence
from typing import Final

# Two names for one thing, of which the function may have written the other.
ALSO: Final = {
    "--device-memory-utilization": "--gpu-memory-utilization",
    "-q": "--quantization",
    "-sc": "--speculative-config",
}
_TIMES: Final = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
_CHUNKED: Final = "--enable-chunked-prefill"
_NOT_CHUNKED: Final = "--no-enable-chunked-prefill"


def given(own: Sequence[str]) -> dict[str, str]:
    """By their names with `-` for `_`; of `--speculative-config.model` it is the option before the point."""
    found: dict[str, str] = {}
    for place, each in enumerate(own):
        if not each.startswith("-"):
            continue
        name, equals, value = each.partition("=")
        name = name.partition(".")[0].replace("_", "-")
        if not equals and place + 1 < len(own) and not own[place + 1].startswith("-"):
            value = own[place + 1]
        found[ALSO.get(name, name)] = value
    return found


def number(text: str | None) -> int | None:
    """None: there is none, or vLLM will say that it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)", text or "")
    return int(float(found[1]) * _TIMES[found[2]]) if found else None


def is_chunked(own: Sequence[str]) -> bool:
    said = [name for each in own if (name := each.replace("_", "-")) in {_CHUNKED, _NOT_CHUNKED}]
    return said[-1:] != [_NOT_CHUNKED]
