"""Keeps the garbage collector from walking a thousand nodes in the middle of a round.

Called by the process after its first whole round, and by `bench.planner_process`. What stands then, stands for as long
as its node does not change: it is taken out of the collector's sight, and what rounds make and drop is collected young.
"""

import gc
from typing import Final

# Objects made before a young collection: a round makes tens of thousands and drops nearly all of them.
_YOUNG: Final = 50_000


def settle() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
