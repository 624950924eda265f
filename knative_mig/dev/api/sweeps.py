"""Looks again at whatever a change may have made wrong: what each small controller of a cluster has in common.

Made by `garbage`, `quotas` and `namespace_begins`, each of which says what of a change concerns it and what it does
then; run by `server`, on a thread of its own. What came while it looked is looked at once more, so that the last word
counts.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from knative_mig.dev.api.store import Change, Key, Store

_log = logging.getLogger(__name__)


class Sweep:
    def __init__(self, store: Store, concerned: Callable[[Change], Iterable[Key]], look: Callable[[Key], None]) -> None:
        """`concerned` is called under the store's lock, at first with all that is there as if it came."""
        self._concerned, self._look = concerned, look
        self._suspects: set[Key] = set()
        self._woken = threading.Condition()
        self._ended = False
        with store.held():
            for key, stored in store:
                self._note(Change(stored.version, key, None, stored))
            self._end = store.listen(self._note)

    def run(self) -> None:
        """Until `stop`."""
        while True:
            with self._woken:
                self._woken.wait_for(lambda: self._suspects or self._ended)
                if self._ended:
                    return
            self.settle()

    def stop(self) -> None:
        self._end()
        with self._woken:
            self._ended = True
            self._woken.notify_all()

    def settle(self) -> None:
        """Until nothing is left to look at."""
        while True:
            with self._woken:
                suspects, self._suspects = self._suspects, set()
            if not suspects:
                return
            for key in sorted(suspects):
                try:
                    self._look(key)
                except Exception:  # noqa: BLE001  a fault with one is not the others'
                    _log.exception("What concerns %s %s/%s is not seen to", key.place, key.namespace, key.name)

    def again(self, key: Key) -> None:
        """By who looks at it, where it changed meanwhile."""
        with self._woken:
            self._suspects.add(key)

    def _note(self, change: Change) -> None:
        with self._woken:
            self._suspects.update(self._concerned(change))
            if self._suspects:
                self._woken.notify_all()
