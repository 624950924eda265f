"""How a process of ours begins to log, and how it ends: with an exit code, and at once.

Called by a process's `__main__`. The subtle thing is the end: threads that wait in a driver, for a kubelet or for an
API server that is away would hold up an ordinary exit, so what has been said is flushed and the process is gone.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from knative_mig.core.errors import BadInput, KnativeMigError


def run_program(who: str, body: Callable[[], int], *, log_level: str) -> NoReturn:
    """Ends with what `body` answers, with 2 for bad input, and with 1 where it failed for a reason that has a name."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code = body()
    except (KnativeMigError, OSError) as error:
        sys.stderr.write(f"{who}: {error}\n")
        code = 2 if isinstance(error, BadInput) else 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
