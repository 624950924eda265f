"""The leader's meters: loaded when it begins to lead, accrued in every round, stored now and then and at the end.

Called by the loop. What counts is what is stored: a leader whose store was overtaken by another's lets go of all it has
counted since, for the other counts that time itself.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.meters import Meters, Rates, Shares, Unused, accrue, decoded, encoded, lost_s, waiting
from knative_mig.core.cluster.waiting import wanted_profile
from knative_mig.core.cluster.world import WorldKeeper
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import Layout
from knative_mig.core.inventory import NodeName
from knative_mig.core.planner.decisions import Because
from knative_mig.ports.kube import AlreadyExists, ClusterError, Conflict
from knative_mig.ports.meter_store import MeterStore, StoredMeters
from reconfigurer.planner.metrics import PlannerMetrics

_log = logging.getLogger(__name__)

# Who is refused for another reason, a quota, a profile that nobody has, a place that is held for another, waits for
# that and not because what is free is in pieces.
_FOR_WANT_OF_A_PLACE: Final = frozenset({Because.NO_FREE_PLACE, Because.MOVE_UNDER_WAY})
_ODD_S: Final = 1.0  # replicas' clocks are so far apart every day

# Has it called soon, on another thread perhaps.
Later = Callable[[Callable[[], None]], object]


def at_once(call: Callable[[], None]) -> None:
    call()


class Metering:
    def __init__(self, store: MeterStore, metrics: PlannerMetrics, every_s: float, later: Later = at_once) -> None:
        self._later = later
        self._store = store
        self._metrics = metrics
        self._every_s = every_s
        self._shares = Shares()
        self._unused = Unused()
        self._rates: Rates | None = None
        self._meters: Meters | None = None
        self._stored: StoredMeters | None = None
        self._stored_at = 0.0
        self._term = 0  # a save that was begun in an earlier one says nothing of this
        self._saving = False
        self._overtaken = False

    def begin(self, now: float) -> None:
        """On beginning to lead."""
        self._term += 1
        self._overtaken = False
        self._rates = None
        self._load(now)

    def look_anew(self) -> None:
        """The next round takes in every node there is; one that went in between would be counted for ever."""
        self._shares = Shares()
        self._unused = Unused()

    def _load(self, now: float) -> None:
        """Where the store cannot be read nothing is counted until it can."""
        self._meters = None
        try:
            self._stored = self._store.load()
            self._meters = decoded(self._stored.data) if self._stored else Meters(until=now)
        except (ClusterError, BadInput) as error:
            _log.warning("Meters stand still: %s", error)
        self._stored_at = now

    def end(self, now: float) -> None:
        """On ceasing to lead in good order."""
        self.accrue(now)
        if self._meters and not self._saving:
            self._save(self._meters, self._stored, self._term)
        self.drop()

    def drop(self) -> None:
        self._meters = None
        self._metrics.meters.show(None)

    def accrue(self, now: float) -> None:
        """Up to now, with what held until now; before what is new is taken in."""
        if self._meters is None:
            if now - self._stored_at >= self._every_s:
                self._load(now)
            return
        if self._rates:
            if lost := lost_s(self._meters, now):
                self._metrics.meters_lost.inc(lost)
                if lost > _ODD_S:
                    _log.warning("Nobody's in the meters: %.0f s in which nobody led, or a clock was set", lost)
            self._meters = accrue(self._meters, self._rates, now)

    def take(self, keeper: WorldKeeper, changed: Iterable[NodeName], decision: Decision, now: float) -> None:
        """What holds from now on; for a new leader also what has held since the last one stored its meters."""
        for name in changed:
            self._shares.put(name, keeper.gpu_nodes.get(name), keeper.bound(name))
            node = keeper.gpu_nodes.get(name)
            static = node is not None and node.status is not None and node.status.layout is Layout.STATIC
            # What an administrator has left uncut nobody may cut: it is as good as taken.
            self._unused.put(name, None if static else keeper.views.get(name))
        here: dict[frozenset[NodeName], frozenset[NodeName]] = {}  # one object for all who can run on the same nodes
        pods = [(each.pod, each.key.profile, each.nodes) for each in decision.waiting]
        for refused in decision.refused:
            if refused.reason.code not in _FOR_WANT_OF_A_PLACE:
                continue
            nodes = keeper.nodes_of(refused.pod)
            if nodes not in here:
                here[nodes] = nodes & keeper.everywhere
            pods.append((refused.pod, wanted_profile(refused.pod), here[nodes]))
        fragmented, blocked = waiting(self._unused, pods)
        begins = self._rates is None
        self._rates = Rates(shares=dict(self._shares.per_second), fragmented=fragmented, blocked=blocked)
        if begins:
            self.accrue(now)

    def store(self, now: float) -> None:
        """Beside the rounds, one save at a time: thousands of lines and a write would hold up who waits next."""
        self._metrics.meters.show(self._meters)
        if self._overtaken:
            self._overtaken = False
            self._load(now)
        elif self._meters and not self._saving and now - self._stored_at >= self._every_s:
            self._saving, self._stored_at = True, now
            meters, replaces, term = self._meters, self._stored, self._term
            self._later(lambda: self._save(meters, replaces, term))

    def _save(self, meters: Meters, replaces: StoredMeters | None, term: int) -> None:
        try:
            stored = self._store.save(encoded(meters), replaces=replaces)
            if term == self._term:
                self._stored = stored
        except (Conflict, AlreadyExists):
            _log.warning("Somebody else has stored meters: what was counted here since is dropped")
            self._overtaken = term == self._term
        except ClusterError as error:
            _log.warning("Meters cannot be stored, they are kept until they can: %s", error)
        finally:
            self._saving = False
