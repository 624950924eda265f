"""When a controller's stand-in looks: each time that it is woken, and when it said that it would look again.

Run by `cordons` and `evictor`, each on its thread. Who ends it sets `stop`, and then wakes it.
"""

import threading
import time
from collections.abc import Callable
from math import inf


def take_turns(stop: threading.Event, wake: threading.Event, look: Callable[[float], float]) -> None:
    """`look`: is told the time, and gives the seconds until it is to look again, if nothing changes before."""
    wait_s = inf
    while not stop.is_set():
        wake.wait(None if wait_s == inf else wait_s)
        wake.clear()
        wait_s = look(time.time())
