"""Keeps what moves ask of the floor standing in its object, whoever deletes or edits that.

Called by the mover in each round. The object has one writer, and anybody may change it all the same; so what stands is
compared with what is wanted, and not only with what was put last. What is wanted anew is put at once. What was put and
does not stand is put again at once too, if it was left alone for long, and ever more rarely where somebody fights over
it: two that each put right what the other wrote would never end.

The subtle thing is a mirror that has not shown our own write yet. That looks like somebody's change; so nothing is put
again within the first pause, and whoever is asked to put what stands already writes nothing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from knative_mig.core.floor.values import Request
from knative_mig.core.inventory import Function
from knative_mig.ports.autoscaling import FloorRequests
from knative_mig.ports.kube import ClusterError, Mirror
from reconfigurer.planner.clocks import Now

_log = logging.getLogger(__name__)
AGAIN_S: Final = 0.5
AGAIN_MOST_S: Final = 30.0
_ROUNDED_S: Final = 1e-3  # the text that stands has less of a time than we


class Asking:
    def __init__(
        self,
        requests: FloorRequests,
        mirror: Mirror[tuple[Request, ...]],
        component: str,
        *,
        mirror_age_limit_s: float,
    ) -> None:
        """`mirror`: of everybody's requests."""
        self._requests = requests
        self._mirror = mirror
        self._component = component
        self._age_limit_s = mirror_age_limit_s
        self.drop()

    def drop(self) -> None:
        """Another one leads, or may have."""
        self._wanted: tuple[Request, ...] | None = None
        self._asked: dict[Function, float] | None = None
        self._not_before = float("-inf")
        self._times = 0  # put again, since it was last left alone for long
        self._waits = False

    @property
    def asked(self) -> Mapping[Function, float] | None:
        """What was put; None: whatever was asked before may stand."""
        return self._asked

    def wake_on_changes(self, wake: Callable[[], None]) -> None:
        """While a pause runs nobody is woken: `ask` has said that it has to be called again."""

        def changed(_: object) -> None:
            wanted = self._wanted
            if wanted is not None and not self._waits and not self._stands(wanted):
                wake()

        self._mirror.on_change(changed)

    def ask(self, requests: Sequence[Request], now: Now) -> bool:
        """False: it has to be called again soon, with the same or with what is wanted then."""
        wanted = tuple(sorted(requests, key=lambda each: each.id))
        is_new, self._wanted, self._waits = wanted != self._wanted, wanted, False
        if not is_new:
            if self._asked is not None and (self._is_blind(now) or self._stands(wanted)):
                return True
            if now.monotonic < self._not_before:
                self._waits = True
                return False
            if self._asked is not None:
                _log.warning("What the floor is asked does not stand in its ConfigMap: it is asked again")
        return self._put(wanted, now, is_new=is_new)

    def _put(self, wanted: tuple[Request, ...], now: Now, *, is_new: bool) -> bool:
        if is_new or now.monotonic - self._not_before >= AGAIN_MOST_S:
            self._times = 0
        pause_s = min(AGAIN_MOST_S, AGAIN_S * 2.0 ** min(self._times, 16))
        self._not_before, self._times = now.monotonic + pause_s, 0 if is_new else self._times + 1
        try:
            self._requests.put(wanted)
        except ClusterError as error:
            self._asked, self._waits = None, True
            _log.warning("The floor could not be asked: %s", error)
            return False
        self._asked = {Function(each.namespace, each.revision): each.value for each in wanted}
        return True

    def _is_blind(self, now: Now) -> bool:
        return not self._mirror.synced or self._mirror.age_s(now.monotonic) > self._age_limit_s

    def _stands(self, wanted: tuple[Request, ...]) -> bool:
        there = [each for asked in self._mirror.snapshot().values() for each in asked]
        mine = sorted((each for each in there if each.component == self._component), key=lambda each: each.id)
        return len(mine) == len(wanted) and all(map(_alike, mine, wanted))


def _alike(stands: Request, wanted: Request) -> bool:
    return replace(stands, until=wanted.until) == wanted and abs(stands.until - wanted.until) < _ROUNDED_S
