"""The tiny model as a process whose tokens come slowly for as long as a test looks around in the middle of a stream.

    python -m tests.rigs.slow_tiny_llm FILE ...

Run by `relay_processes`; behind FILE are the options of `services.tiny_llm`, which this is while there is no such file.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from services.tiny_llm import capacity
from services.tiny_llm.__main__ import command

SLOW_S: Final = 0.025  # a token: hundreds outlast whatever stops one of the processes for some seconds


def main(file: Path, arguments: list[str]) -> None:
    paced: Callable[..., float] = vars(capacity)["step_s"]

    def step_s(*of: Any, **by: Any) -> float:
        return SLOW_S if file.exists() else paced(*of, **by)

    vars(capacity)["step_s"] = step_s
    command(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
