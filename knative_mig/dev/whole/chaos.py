"""`--chaos`: kills a part or a replica every few seconds, by SIGKILL, and says which: all is to be well again after it.

Made by `process`; `run` is a thread's body. What is killed is one of those that it is given at that moment, each as
likely as the others. The main process is none of them: with it everything ends.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from random import Random


class Chaos:
    def __init__(
        self, targets: Callable[[], Mapping[str, int]], tell: Callable[[str], None], *, each_s: float, random: Random
    ) -> None:
        """`targets`: process ids, by what a person calls them."""
        self._targets, self._tell, self._each_s, self._random = targets, tell, each_s, random

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._each_s * self._random.uniform(0.5, 1.5)):
            self.strike()

    def strike(self) -> None:
        targets = self._targets()
        if not targets:
            return
        name = self._random.choice(sorted(targets))
        try:
            os.kill(targets[name], signal.SIGKILL)
        except ProcessLookupError:
            return  # it ended by itself
        self._tell(f"chaos: {name} is killed")
