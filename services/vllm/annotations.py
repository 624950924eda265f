"""What a function says of itself in its annotations, as the downward API writes them into a file of the pod.

Called by `__main__`. A pod has its Revision's annotations; a projected volume shows them, each as `key="value"` with
the value quoted as Go quotes strings. Those that say how long requests are decide how many fit at once.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.admission.annotations import KNOWN, PREFIX
from knative_mig.core.errors import BadInput

INPUT: Final = PREFIX + "input-tokens"
OUTPUT: Final = PREFIX + "output-tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Of a request, in tokens; None: nobody said."""

    input_tokens: int | None = None
    output_tokens: int | None = None


def read(path: Path) -> Lengths:
    """Nobody said, where there is no such file."""
    try:
        return lengths(path.read_text())
    except FileNotFoundError:
        return Lengths()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} holds no annotations: {error}") from error


def lengths(text: str) -> Lengths:
    """BadInput: a value that admission would have refused, or a line that is none."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, equals, quoted = line.partition("=")
        if key not in {INPUT, OUTPUT}:
            continue
        try:
            value = json.loads(quoted) if equals else None
        except ValueError:
            value = None
        legal, what = KNOWN[key]
        if not isinstance(value, str) or not legal(value):
            raise BadInput(f"the annotation {key} is {quoted}: legal is {what}")
        found[key] = int(value)
    return Lengths(input_tokens=found.get(INPUT), output_tokens=found.get(OUTPUT))
