"""Runs the real planner as a process of its own, with its writes to the API server announced.

`planner_host` is what the campaign starts planners by; `python -m tests.crash_campaign.planners` is its other side. Not
announced are Events and meters, which others than moves and floors are about, and all writes of a Lease but the
first, by which a new process takes it: the others come with time.
"""

import faulthandler
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import CONFIG_MAP, EVENT, LEASE, POD
from knative_mig.adapters.kube.meter_store import NAME as METERS
from knative_mig.adapters.kube.parse import DELETION_COST
from knative_mig.core.mover.values import Patience
from reconfigurer.planner.process import Planner
from reconfigurer.planner.settings import MoverSettings, PlannerSettings
from tests.crash_campaign.hosts import ForkHost, serve
from tests.crash_campaign.watched import Announcer, WatchedClient, Write, by_kind

TAKES_LEASE: Final = "api take leases"
LEAVES_WITHIN_S: Final = 2.0  # an autoscaler here acts at once; whoever has not left then does not leave by itself

SETTINGS: Final = PlannerSettings(
    events_port=0,
    ops_port=0,
    resync_s=0.4,
    mover=MoverSettings(patience=Patience(leave_s=LEAVES_WITHIN_S, rest_s=1.0)),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a planner is started with."""

    folder: str
    api: str
    name: str = "planner-a"

    @property
    def announcements(self) -> Path:
        return Path(self.folder) / "announcements"

    @property
    def log(self) -> Path:
        return Path(self.folder) / "planner.log"

    @property
    def stacks(self) -> Path:
        return Path(self.folder) / "planner.stacks"


class Naming:
    """Of one process's writes. Pods and nodes are not named: which it is depends on the order of things."""

    def __init__(self) -> None:
        self._has_asked_for_lease = False

    def __call__(self, write: Write) -> str:
        if write.kind == EVENT or (write.kind, write.key.name) == (CONFIG_MAP, METERS):
            return ""
        if write.kind == LEASE:
            first, self._has_asked_for_lease = not self._has_asked_for_lease, True
            return TAKES_LEASE if first else ""
        if write.kind == CONFIG_MAP:
            return f"api {write.verb} configmaps/{write.key.name}"
        if write.kind == POD and isinstance(write.body, list):
            return "api lift pods"
        if write.kind == POD and isinstance(write.body, dict) and not write.below:
            cost = write.body["metadata"]["annotations"][DELETION_COST]
            return "api unmark pods" if cost is None else "api mark pods"
        return by_kind(write)


def planner_host() -> ForkHost:
    return ForkHost(__spec__.name)


def run_planner(order: Order) -> int:
    """Like `reconfigurer.planner.process.run`, but for who stands between it and the API server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(filename=order.log, level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    faulthandler.register(signal.SIGUSR1, file=order.stacks.open("a"))
    _log.info("planner %d begins", os.getpid())
    client = WatchedClient(KubeClient.of_url(order.api), Announcer(order.announcements), Naming())
    planner = Planner(SETTINGS, cast("KubeClient", client), me=order.name)
    planner.start()
    planner.stop.wait()
    planner.end()
    return 1 if planner.failed else 0


if __name__ == "__main__":
    serve(lambda order: run_planner(Order(**order)))
