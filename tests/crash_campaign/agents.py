"""Runs the real agent as a process of its own, with all that it calls announced.

`agent_host` is what the campaign starts agents by; `python -m tests.crash_campaign.agents` is its other side.
"""

import faulthandler
import json
import logging
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.core.inventory import NodeName
from reconfigurer.agent.kube_side import KubeSide
from reconfigurer.agent.process import Agent, Around
from reconfigurer.agent.settings import Settings
from tests.crash_campaign.hosts import ForkHost, serve
from tests.crash_campaign.watched import Announcer, WatchedClient, WatchedGpus, WatchedInjection, WatchedJournal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an agent is started with."""

    folder: str
    node: str
    gpus: str
    api: str
    latency_s: float = 0.0

    @property
    def announcements(self) -> Path:
        return Path(self.folder) / "announcements"

    @property
    def pods(self) -> Path:
        """Which processes belong to which pod; on a node its cgroups say so."""
        return Path(self.folder) / "pods"

    @property
    def log(self) -> Path:
        return Path(self.folder) / "agent.log"

    @property
    def stacks(self) -> Path:
        """What each thread is at, whenever it is asked by SIGUSR1."""
        return Path(self.folder) / "agent.stacks"

    @property
    def settings(self) -> Settings:
        folder = Path(self.folder)
        return Settings(
            node=NodeName(self.node),
            gpus=f"simulated:{self.gpus}",
            simulated_latency_s=self.latency_s,
            state_dir=folder / "state",
            sockets_dir=folder / "s",
            cdi_dir=folder / "cdi",
            kubelet_dir=folder / "kubelet",
            ops_host="127.0.0.1",
            ops_port=0,
        )


def agent_host() -> ForkHost:
    return ForkHost(__spec__.name)


@dataclass(frozen=True, slots=True)
class PodsInFile:
    """A `ports.processes.PodProcesses`."""

    path: Path

    def belongs(self, pid: int, pod_uid: str) -> bool:
        return pid in self._all().get(pod_uid, ())

    def of_pods(self, pod_uids: Iterable[str]) -> Mapping[str, frozenset[int]]:
        known = self._all()
        return {uid: frozenset(known.get(uid, ())) for uid in pod_uids}

    def descends(self, pid: int, ancestor: int) -> bool:  # noqa: ARG002 - nobody's child is on a slice here
        return False

    def sees_the_host(self) -> bool:
        return True

    def _all(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = json.loads(self.path.read_text())
        return found


def run_agent(order: Order) -> int:
    """Like `reconfigurer.agent.process.run`, but for what stands around the ports."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(filename=order.log, level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    faulthandler.register(signal.SIGUSR1, file=order.stacks.open("a"))
    _log.info("agent %d begins", os.getpid())
    announcer = Announcer(order.announcements)
    client = cast("KubeClient", WatchedClient(KubeClient.of_url(order.api), announcer))
    around = Around(
        driver=lambda driver: WatchedGpus(driver, announcer),
        journal=lambda journal: WatchedJournal(journal, announcer),
        injection=lambda injection: WatchedInjection(injection, announcer),
    )
    settings = order.settings

    def make() -> Agent:
        return Agent(settings, KubeSide.of(client, settings), PodsInFile(order.pods), stop=stop, around=around)

    agent = announcer.around("journal open", make)
    agent.start()
    stop.wait()
    agent.end()
    return 1 if agent.failed else 0


if __name__ == "__main__":
    serve(lambda order: run_agent(Order(**order)))
