"""Holds the planner's Lease: takes it when nobody has it, renews it, stops at once when it is lost.

`step` is called by the process's lease thread, `token` by the planner's loop before each plan and before its writes.
The decision is `core.cluster.leadership`; here are the clock and the API. The subtle thing is that a leader stops by
its own clock: from the moment it asked for its last renewal on, it counts less than what others wait, so that a process
that was paused finds itself out before it writes anything.
"""

import logging
import threading
from collections.abc import Callable

from knative_mig.core.cluster.leadership import Exhausted, Renew, Sight, Take, Wait, decide, leads_until, look
from knative_mig.ports.kube import AlreadyExists, ClusterError, Conflict, Key, LeaseRecord, Leases
from reconfigurer.planner.settings import LeaseSettings

_log = logging.getLogger(__name__)
_RETRY_S = 1.0
_LISTING_S = 0.2  # how soon we look again whether the GpuNodes have been listed: nobody leads meanwhile


class Leader:
    def __init__(
        self,
        leases: Leases,
        key: Key,
        me: str,
        settings: LeaseSettings,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        highest: Callable[[], int | None],
        changed: Callable[[], None],
        address: str = "",
    ) -> None:
        """`highest`: the highest fencing token on any GpuNode, None while that is not known: nobody leads blindly."""
        self._leases = leases
        self._key = key
        self._me = me
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._highest = highest
        self._changed = changed
        self._address = address
        self._lock = threading.Lock()
        self._token: int | None = None
        self._until = 0.0
        self._at_least = 0
        self._sight: Sight | None = None
        self._elsewhere = ""
        self._stuck = ""

    def token(self) -> int | None:
        """Under which this process leads at this moment, None if it does not."""
        with self._lock:
            return self._token if self._clock() < self._until else None

    @property
    def elsewhere(self) -> str:
        """Where the one who holds the lease takes events; empty if that is us, nobody, or not known."""
        return self._elsewhere

    @property
    def stuck(self) -> str:
        """Why nobody can lead until a person has looked; empty while somebody can."""
        return self._stuck

    def lost(self, why: str, at_least: int = 0) -> None:
        """Somebody else leads: found out by a write that was refused under a token that is newer than ours."""
        self._at_least = max(self._at_least, at_least)
        self._stop(why)

    def step(self) -> float:
        """Seconds until the next one is due."""
        asked_at = self._clock()
        try:
            lease = self._leases.read(self._key)
            self._sight = look(self._sight, lease, asked_at)
            self._elsewhere = lease.address if lease and lease.holder not in ("", self._me) else ""
            highest = self._highest()
            if highest is None:
                return _LISTING_S
            if lease is None:  # whoever deleted it wants to begin anew, from what stands on the GpuNodes
                self._at_least = 0
            highest = max(highest, self._at_least)
            decision = decide(lease, self._sight, self._me, self._token, highest, asked_at)
            if not isinstance(decision, Exhausted):
                self._stuck = ""
            match decision:
                case Exhausted(token=token):
                    self._give_up(token)
                case Wait(holder=holder, until=until):
                    self._stop(f"{holder} holds the lease")
                    return min(self._settings.renew_s, max(0.05, until - asked_at))
                case Take(token=token, transitions=transitions):
                    self._stop("the lease is gone or another's", quietly=self._token is None)
                    self._write(lease, token, transitions, asked_at, acquired=self._wall())
                case Renew(token=token):
                    assert lease is not None
                    self._write(lease, token, lease.transitions, asked_at, acquired=lease.acquired)
        except (Conflict, AlreadyExists):
            self._stop("another one wrote the lease", quietly=self._token is None)
            return _RETRY_S
        except ClusterError as error:
            _log.warning("The lease cannot be renewed: %s", error)
            if self._token is not None and self.token() is None:
                self._stop("the lease could not be renewed in time")
            return _RETRY_S
        return self._settings.renew_s

    def _give_up(self, token: int) -> None:
        why = (
            f"nobody can lead: fencing token {token} stands on a GpuNode or on the Lease, and above it there is none; "
            f"delete the Lease {self._key.namespace}/{self._key.name} and each GpuNode that carries it"
        )
        if why != self._stuck:
            _log.error("%s", why)
        self._stop("its fencing token is the last there is", quietly=True)
        self._stuck = why

    def release(self) -> None:
        """On exit: the next one need not wait until the lease has run out."""
        with self._lock:
            token, self._token = self._token, None
        if token is None:
            return
        try:
            lease = self._leases.read(self._key)
            if lease and lease.holder == self._me and lease.fencing_token == token:
                self._leases.write(self._key, self._record(lease, token, lease.transitions, lease.acquired, holder=""))
        except ClusterError as error:
            _log.warning("The lease cannot be given back, it runs out by itself: %s", error)

    def _write(
        self, lease: LeaseRecord | None, token: int, transitions: int, asked_at: float, *, acquired: float
    ) -> None:
        record = self._record(lease, token, transitions, acquired, holder=self._me)
        written = self._leases.write(self._key, record)
        self._sight = look(self._sight, written, asked_at)
        with self._lock:
            new = self._token != token
            self._token = token
            self._until = leads_until(asked_at, self._settings.duration_s, self._settings.margin_s)
        if new:
            _log.info("%s leads under fencing token %d", self._me, token)
            self._changed()

    def _record(
        self, lease: LeaseRecord | None, token: int, transitions: int, acquired: float, *, holder: str
    ) -> LeaseRecord:
        return LeaseRecord(
            holder=holder,
            duration_s=self._settings.duration_s,
            acquired=acquired,
            renewed=self._wall(),
            transitions=transitions,
            resource_version=lease.resource_version if lease else "",
            address=self._address,
            fencing_token=token,
        )

    def _stop(self, why: str, *, quietly: bool = False) -> None:
        with self._lock:
            led, self._token = self._token is not None, None
        if led and not quietly:
            _log.warning("%s leads no more: %s", self._me, why)
        if led:
            self._changed()
