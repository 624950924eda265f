"""Composes `knative-mig dev`: which threads of this process run what, and which processes stand beside it.

    `parts`       planner, webhooks, source and an agent a node: processes, each on a thread that keeps it running
    `cluster`     everything else, on threads of this process

`run` is called by the verb. The subtle thing is the start. Ports are bound before anything else, so that one that is
taken is said at once; then the processes are started, and the stand-ins imported meanwhile: who asks the API before
that waits in its port's queue. Who ends it before it is ready waits for nothing. Where its last line names its logs,
they stay until the next start.
"""

import contextlib
import errno
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Final

from knative_mig.core.errors import BadInput, NotReadyInTime
from knative_mig.dev.api.routes import USER
from knative_mig.dev.state.folder import StateFolder
from knative_mig.dev.state.set_aside import SetAside
from knative_mig.dev.whereabouts import GATEWAY
from knative_mig.dev.whole import folders
from knative_mig.dev.whole.banner import FUNCTION, Places, banner, manifest
from knative_mig.dev.whole.chaos import Chaos
from knative_mig.dev.whole.files import Files, allowed, for_requests
from knative_mig.dev.whole.fleet import nodes_of
from knative_mig.dev.whole.identities import written
from knative_mig.dev.whole.parts import free_ports, parts
from knative_mig.dev.whole.readiness import Waiting
from knative_mig.dev.whole.room import Room
from knative_mig.dev.whole.settings import GPUS, HOST, DevSettings
from knative_mig.dev.whole.supervision import Kept, PartFailed
from knative_mig.dev.whole.told import Told

if TYPE_CHECKING:
    from knative_mig.dev.api.store import Store
    from knative_mig.dev.state.object_log import ObjectLog
    from knative_mig.dev.whole.cluster import Cluster

READY_WITHIN_S: Final = 60.0
DRAINS_WITHIN_S: Final = 10.0
PARTS_END_WITHIN_S: Final = 4.0
_LOOKS_EACH_S: Final = 0.02
_LOOKS_AT_ITSELF_S: Final = 0.2


class Dev:
    def __init__(self, settings: DevSettings, told: Told, tell: Callable[[str], None]) -> None:
        """BadInput: a port is taken."""
        self._began = time.monotonic()
        self.settings, self._told, self._tell = settings, told, tell
        self.stop = threading.Event()
        self.is_ready = False
        self.nodes = nodes_of(GPUS if settings.gpus is None else settings.gpus)
        self._state = None
        if settings.state is not None:
            self._state = StateFolder.open(settings.state, gpus=settings.gpus, default_gpus=GPUS)
            self.nodes = nodes_of(self._state.gpus)
            for line in self._state.lost(each.name for each in self.nodes):
                tell(line)
        self.most_files = allowed(len(self.nodes))
        self._api_socket = bound(settings.api_port, "--api-port")
        self._gateway_socket = bound(settings.port, "--port")
        self.folders = folders.made(self._state.path if self._state is not None else None)
        self.api = f"http://{HOST}:{self._api_socket.getsockname()[1]}"
        self.gateway_port = int(self._gateway_socket.getsockname()[1])
        self._ports = free_ports(len(self.nodes))
        self.kept: tuple[Kept, ...] = ()
        self._keepers: list[threading.Thread] = []
        self.cluster: Cluster | None = None
        self._log: ObjectLog | None = None
        self._manifest = self.folders.run / f"{FUNCTION}.json"

    def start(self) -> None:
        """Until all is ready, or it is told to end. NotReadyInTime, PartFailed. BadInput: the state cannot be read."""
        store = self._kept_objects()
        folders.write(self.folders.run / GATEWAY, f"{HOST}:{self.gateway_port}")
        written(self.folders.kubeconfig, self.api, USER)
        folders.write(self._manifest, json.dumps(manifest(self.nodes)))
        set_aside = SetAside(self.folders.kept)
        self._keep_parts()
        from knative_mig.dev.whole.cluster import Cluster  # noqa: PLC0415  while the processes start

        if self._told.to_end:
            return
        self.cluster = Cluster(
            self.nodes,
            self.folders,
            store,
            api_socket=self._api_socket,
            gateway_socket=self._gateway_socket,
            ports=self._ports,
            files=for_requests(self.most_files, len(self.nodes)),
            stop=self.stop,
        )
        self.cluster.start()
        if not self._waited():
            return
        for line in set_aside.since():
            self._tell(f"{line}; the logs in {self.folders.logs} say why")
        self.is_ready = True
        self.ready_s = time.monotonic() - self._began
        if not self.settings.keeps_hung:
            self._ask_parts()
        if (each_s := self.settings.chaos_s) is not None:
            chaos = Chaos(self.targets, self._tell, each_s=each_s, random=Random())  # noqa: S311  no secret
            threading.Thread(target=chaos.run, args=(self.stop,), name="chaos", daemon=True).start()

    def _kept_objects(self) -> "Store | None":
        if self._state is None:
            return None
        from knative_mig.dev.whole import kept_store  # noqa: PLC0415  else it is not needed yet

        store, self._log = kept_store.opened(self._state.objects, self._tell)
        return store

    def _keep_parts(self) -> None:
        of = parts(self.settings, self.nodes, self.folders, self.api, self._ports)
        self.kept = tuple(Kept(part, self._tell) for part in of)
        for each in self.kept:
            keeper = threading.Thread(target=each.run, args=(self.stop,), name=each.part.name, daemon=True)
            self._keepers.append(keeper)
            keeper.start()

    def _ask_parts(self) -> None:
        """From now on, whether they are well."""
        from knative_mig.dev.whole.liveness import liveness_of  # noqa: PLC0415  else it is not needed yet

        for each in self.kept:
            name = f"liveness-{each.part.name}"
            threading.Thread(target=liveness_of(each).run, args=(self.stop,), name=name, daemon=True).start()

    def targets(self) -> Mapping[str, int]:
        """What of it may be killed, by name: who is then started again at once. Others would be put off for longer each
        time, until nothing runs.
        """
        assert self.cluster is not None
        parts = {each.part.name: each.may_be_killed() for each in self.kept}
        return {**{name: pid for name, pid in parts.items() if pid is not None}, **self.cluster.may_be_killed()}

    def _waited(self) -> bool:
        """Until all is ready; no: it is to end before that."""
        assert self.cluster is not None
        deadline = time.monotonic() + READY_WITHIN_S
        parts = Waiting(each.part for each in self.kept)
        while waits := (*self.cluster.waits_for(), *parts.look()):
            time.sleep(_LOOKS_EACH_S)
            if self._told.to_end or self.failed:
                return False
            for each in self.kept:
                each.check()
            if time.monotonic() > deadline:
                raise NotReadyInTime(f"it still waits for {'; '.join(waits)}; the logs are in {self.folders.logs}")
        return True

    @property
    def banner(self) -> str:
        places = Places(
            nodes=self.nodes,
            gateway=self.gateway_port,
            api=self.api,
            brokers=self._ports.brokers,
            kubeconfig=self.folders.kubeconfig,
            manifest=self._manifest,
            logs=self.folders.logs,
            is_made=self.cluster is not None and self.cluster.is_function(FUNCTION),
        )
        return banner(places, ready_s=self.ready_s)

    @property
    def failed(self) -> str:
        return self.cluster.failed if self.cluster is not None else ""

    def is_full(self) -> bool:
        """Whether it can take no more requests now."""
        return self.cluster is not None and self.cluster.gateway_server.is_full

    def end(self, *, keeps_logs: bool) -> None:
        """Requests first, then pods, then the processes, and the API last: each needs those after it to end well."""
        if self.cluster is not None:
            self.cluster.drain(DRAINS_WITHIN_S, self._hurries, self._tell)
        self.stop.set()
        deadline = time.monotonic() + PARTS_END_WITHIN_S
        for each in self.kept:
            each.ask_to_end()
        while any(each.is_alive() for each in self._keepers) and not self._hurries() and time.monotonic() < deadline:
            time.sleep(_LOOKS_EACH_S)
        for each in self.kept:
            each.kill()
        if self.cluster is not None:
            self.cluster.end()
        if self._log is not None:
            self._log.close()
        self._api_socket.close()
        self._gateway_socket.close()
        self._ports.close()
        self.folders.remove(keeps_logs=keeps_logs)
        if self._state is not None:
            self._state.close()

    def _hurries(self) -> bool:
        """Whether nobody is waited for any more: its user says so, or nobody was ever served."""
        return self._told.to_hurry or not self.is_ready


def bound(port: int, option: str) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=4096)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise BadInput(f"port {port} cannot be listened on: {error.strerror}") from error
        raise BadInput(f"port {port} is taken: {option} says another one, 0 takes any") from error


def run(settings: DevSettings, told: Told) -> int:
    """Until it is told to end, by its terminal's end too, or a thread fails; an exit code. BadInput, NotReadyInTime,
    PartFailed.
    """
    if told.to_end:
        return told.exit_code
    dev = Dev(settings, told, _say)
    names_logs = False
    try:
        code = _served(dev, told)
        names_logs = bool(dev.failed)
    except (NotReadyInTime, PartFailed):
        names_logs = True
        raise
    finally:
        dev.end(keeps_logs=names_logs)
    return code


def _served(dev: Dev, told: Told) -> int:
    logging.raiseExceptions = False  # on a full disk it costs a line of the log, and no traceback for each
    logging.basicConfig(
        filename=dev.folders.logs / "dev.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    dev.start()
    if dev.is_ready:
        _say(dev.banner)
    room, files = Room(dev.folders.kept, _say), Files(dev.most_files, dev.is_full, _say)
    while not told.to_end and not dev.failed:
        room.look()
        files.look(time.monotonic())
        time.sleep(_LOOKS_AT_ITSELF_S)
    if dev.failed:
        _say(f"ending: {dev.failed} failed, see {dev.folders.logs / 'dev.log'}")
        return 1
    if dev.is_ready:
        _say("ending")
        return 0
    return told.exit_code


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # who read it has gone; what runs runs on
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
