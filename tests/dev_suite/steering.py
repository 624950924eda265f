"""Changes the system's own processes of a running `knative-mig dev` for a story: how often the planner looks by itself,
how many pending sources there are and where they send. What tests/cluster/steering.py does to Deployments.

`dev` has one of each, as it wants them. Where a story wants another, the one of `dev` is stopped and a copy runs in its
place until the story asks for what `dev` has: then the stopped one is killed, and `dev` starts it again.
"""

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from knative_mig.adapters.sim_gpu.controls import SimulationControls
from knative_mig.adapters.sim_gpu.state_file import FileStore
from knative_mig.core.inventory import GpuUuid
from tests.cluster.api import BROKER, Api, Object
from tests.cluster.brokers import Broker
from tests.cluster.observed import Sent
from tests.cluster.simulation import CALLS, instance_of
from tests.cluster.slices import metric_at
from tests.cluster.steering import DEAD_LETTERS, SYSTEMS_BROKER, counts_dead_letter, fencing_token, stamped, tell
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.waits import eventually
from tests.dev_suite.parts import Part, Parts, free_port
from tests.scenarios.stage import Listener

_PLANNER: Final = "reconfigurer.planner"
_SOURCE: Final = "activator_hooks.source"
_AGENT: Final = "reconfigurer.agent"
_SENT: Final = re.compile(r"^(\S+ \S+) .*: Sent: '(\S+) (\S+)'$")
_NOBODY: Final = "http://127.0.0.1:9"  # who listens there discards


@dataclass(slots=True, kw_only=True)
class Steering:
    parts: Parts
    api: Api
    _stopped: dict[str, Part] = field(default_factory=dict)  # of `dev`, by their modules
    _planner: Part | None = None  # in the place of its own
    _leads: ExitStack = field(default_factory=ExitStack)  # that planner
    _tells: ExitStack = field(default_factory=ExitStack)  # copies of the source
    _count: int = 1
    _sink: str = ""  # another than the planner

    def resync(self, seconds: float) -> None:
        before = fencing_token(self.api)
        self._tells.close()
        self._leads.close()
        self._planner = self._copy_of_planner().has(resync_s=f"{seconds:.0f}")
        self._stop(_PLANNER)
        self._leads.enter_context(self.parts.copied(self._planner))
        token = eventually("it leads", lambda: fencing_token(self.api), lambda now: now > before)
        stamped(self.api, token)
        self._settle(self._count, self._sink)

    @contextmanager
    def sources(self, count: int) -> Iterator[None]:
        try:
            self._settle(count, self._sink)
            yield
        finally:
            self._settle(1, self._sink)

    def kill_source(self) -> None:
        self.parts.one(_SOURCE).kill()

    @contextmanager
    def events_to(self, whom: Listener) -> Iterator[None]:
        with ExitStack() as stack:
            sink = _NOBODY
            if whom is Listener.STANDBY:
                standby = stack.enter_context(self.parts.copied(self._copy_of_planner().named("standby")))
                sink = _events_of(standby)
            try:
                self._settle(self._count, sink)
                yield
            finally:
                self._settle(self._count, "")

    def tell(self, revision: Object, profile: str, identity: str, count: int) -> None:
        tell(_events_of(self._leader).removeprefix("http://"), revision, profile, identity, count)

    def sent(self, seconds: int) -> Iterator[Sent]:
        since = time.time() - seconds
        for log in self.parts.logs.glob("*source*.log"):
            for line in log.read_text(errors="replace").splitlines():
                match = _SENT.match(line)
                if match and (at := datetime.fromisoformat(match[1]).timestamp()) >= since:
                    yield at, match[2], match[3]

    def broker_between(self) -> AbstractContextManager[None]:
        """It always is."""
        return nullcontext()

    def broker_away(self) -> AbstractContextManager[None]:
        """For who sends."""
        return self.events_to(Listener.NOBODY)

    def broker(self, namespace: str, name: str = "default") -> Broker:
        url = self.api.get(BROKER, SYSTEMS_BROKER, PLANNER_NAMESPACE)["status"]["address"]["url"]
        return Broker(self.api, namespace, name, ingress=urlsplit(url).netloc)

    def is_dead_letter(self, identity: str) -> bool:
        source = self.parts.one(_SOURCE)
        told = (self.parts.logs / "source.log").read_text(errors="replace")
        return counts_dead_letter(told, metric_at(source.ops, DEAD_LETTERS), identity)

    def end(self) -> None:
        """Nothing of it is left, nor stopped."""
        self._tells.close()
        self._leads.close()
        for part in self._stopped.values():
            part.kill()

    @property
    def _leader(self) -> Part:
        return self._planner or self.parts.one(_PLANNER)

    def _copy_of_planner(self) -> Part:
        own = self._stopped.get(_PLANNER) or self.parts.one(_PLANNER)
        return own.has(events_port=free_port(), ops_port=free_port())

    def _settle(self, count: int, sink: str) -> None:
        """So many sources from now on, that send there."""
        self._count, self._sink = count, sink
        self._tells.close()
        if count == 1 and not sink and self._planner is None:
            self._start(_SOURCE)
            return
        self._stop(_SOURCE)
        if not sink and self._planner is not None:  # the Broker knows the other one
            sink = _events_of(self._planner)
        copy = self._stopped[_SOURCE].has(**({"sink": sink} if sink else {}))
        for _ in range(count):
            one = copy.has(ops_port=free_port(), dead_letters_port=free_port())
            self._tells.enter_context(self.parts.copied(one))

    def _stop(self, module: str) -> None:
        if module not in self._stopped:
            self._stopped[module] = part = self.parts.one(module)
            part.stop()

    def _start(self, module: str) -> None:
        if part := self._stopped.pop(module, None):
            part.kill()
            self.parts.wait_ready(module, other_than=part)


@dataclass(frozen=True, slots=True)
class Gpus:
    """The simulated GPUs of a running `dev`."""

    parts: Parts

    def calls(self, node: str, call: str) -> int:
        return int(metric_at(self._agent(node).ops, CALLS, call=call))

    def break_slice(self, node: str, gpu: str, uuid: str, xid: int) -> None:
        store = FileStore(Path(self._agent(node).told("--state-dir")) / "simulated-gpus")
        SimulationControls(store).raise_xid(GpuUuid(gpu), xid, gi_id=instance_of(store, uuid))

    def _agent(self, node: str) -> Part:
        [found] = [each for each in self.parts.all(_AGENT) if each.told("--node") == node]
        return found


def _events_of(planner: Part) -> str:
    return f"http://127.0.0.1:{planner.told('--events-port')}"
