"""Forgets Events an hour after they were last written, as the real API server does: a long run would drown in them.

`run` is the body of a thread that `server` makes. No webhook is asked: on a cluster it is etcd that forgets. The subtle
thing is an Event that is told again: its hour begins anew. So does that of one which a run before has left, for nobody
knows when it was written; what was too old by its own times was not taken over (`state.survivors`).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from knative_mig.dev.api.store import Change, Key, Store

LAST_S: Final = 3600.0
LOOKS_EACH_S: Final = 60.0
_PLACE: Final = "events"


class OldEvents:
    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._due: OrderedDict[Key, datetime] = OrderedDict()  # the next one first; guarded by the store's lock
        self._stopped = threading.Event()
        with store.held():
            for stored in store.all(_PLACE)[0]:
                about = stored.body["metadata"]
                self._due[Key(_PLACE, about["namespace"], about["name"])] = self._when()
            self._end = store.listen(self._note)

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped.wait(LOOKS_EACH_S):
            self.settle()

    def stop(self) -> None:
        self._end()
        self._stopped.set()

    def settle(self) -> None:
        """One at a time, so that nobody waits for the store meanwhile."""
        while self._forgets_one():
            pass

    def _forgets_one(self) -> bool:
        with self._store.held():
            key = next(iter(self._due), None)
            if key is None or self._due[key] > self._now():
                return False
            if (stored := self._store.read(key)) is not None:
                self._store.remove(key, over=stored.version)
            return True

    def _note(self, change: Change) -> None:
        """Under the store's lock."""
        if change.key.place == _PLACE:
            self._due.pop(change.key, None)
            if change.after is not None:
                self._due[change.key] = self._when()

    def _when(self) -> datetime:
        return self._now() + timedelta(seconds=LAST_S)
