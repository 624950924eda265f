"""When each pod had its last request, for who ends it, and what its queue-proxy would tell the autoscaler.

Kept by `hall`. A pod that is deleted is ended when nothing new has come to it for a while, as queue-proxy waits; it has
then still to finish what it has. The subtle thing is that a pod is remembered beyond its object while a request is at
it.
"""

from dataclasses import dataclass, field

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.load import Meter
from knative_mig.ports.kube import Key


@dataclass(slots=True, eq=False)
class _Seen:
    meter: Meter
    last_came: float | None = None
    last_stat: Stat = field(default_factory=Stat)
    is_there: bool = True


class PodLedger:
    def __init__(self) -> None:
        self._pods: dict[Key, _Seen] = {}

    def last_came(self, pod: Key) -> float | None:
        """When its last request did, by the gateway's clock; None: nothing ever did."""
        seen = self._pods.get(pod)
        return seen.last_came if seen is not None else None

    def appeared(self, pod: Key, now: float) -> None:
        self._seen(pod, now).is_there = True

    def went_away(self, pod: Key) -> None:
        if (seen := self._pods.get(pod)) is not None:
            seen.is_there = False
            self._forget(pod, seen)

    def came(self, pod: Key, now: float, *, proxied: bool) -> None:
        seen = self._seen(pod, now)
        seen.meter.came(now, proxied=proxied)
        seen.last_came = now

    def went(self, pod: Key, now: float, *, proxied: bool) -> None:
        seen = self._pods[pod]
        seen.meter.went(now, proxied=proxied)
        self._forget(pod, seen)

    def take_stats(self, now: float) -> None:
        """Each second: what each pod then answers until the next."""
        for seen in self._pods.values():
            seen.last_stat = seen.meter.report(now)

    def stat(self, pod: Key) -> Stat:
        seen = self._pods.get(pod)
        return seen.last_stat if seen is not None else Stat()

    def _seen(self, pod: Key, now: float) -> _Seen:
        return self._pods.get(pod) or self._pods.setdefault(pod, _Seen(Meter(now)))

    def _forget(self, pod: Key, seen: _Seen) -> None:
        if not seen.is_there and not seen.meter.requests:
            del self._pods[pod]
