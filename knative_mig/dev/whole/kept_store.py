"""The API server's store over a file: what a run before has kept is in it, and each change goes to the file.

Called by `process` where there is a state folder, before the API server is made on the store, which adds what is not
there yet.
"""

import time
from collections.abc import Callable
from pathlib import Path

from knative_mig.dev.api.store import Key, Store
from knative_mig.dev.state import object_log, survivors
from knative_mig.dev.state.object_log import ObjectLog


def opened(
    path: Path, tell: Callable[[str], None], *, clock: Callable[[], float] = time.time
) -> tuple[Store, ObjectLog]:
    """The log is to be closed when nothing writes any more. BadInput: the file is damaged, newer, or not to be written.

    `tell`: to the user, in one line each.
    """
    found = object_log.read(path)
    if found.cut:
        tell(f"{path}: its last line was torn ({found.cut} bytes) and is cut off")
    taken = survivors.of(found.objects, clock()).objects
    store = Store()
    store.restore(found.version, {Key(*name): body for name, body in taken.items()})
    log = ObjectLog.begin(path, found.version, taken, tell)
    store.listen(log.note)
    return store, log
