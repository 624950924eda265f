"""Composes the relay's process: the engine as its child, the port of the clients before it, and that of the movers.

    engine    waits for the child's end, and gives the slice back        user, move    accept connections
    deletion  waits for the agent's word that the pod was deleted

Called by `__main__`. The port of the clients is bound when the engine answers on its own, so that whoever probes it
finds both or none. Told to end, it leaves as if it had been moved: what has begun is finished first.
"""

import logging
import os
import resource
import sys
import threading
import time
from typing import Final

from knative_mig.adapters.program import when_told
from knative_mig.adapters.threads import Threads
from knative_mig.core.errors import BadInput
from services.relay import models
from services.relay.child import Child, take_orphans
from services.relay.desk import Desk
from services.relay.dialling import Dialled, dialled
from services.relay.engine_call import Address
from services.relay.engine_port import answers, free_port, own_number
from services.relay.move_port import MovePort
from services.relay.release import is_deleted, why_not_released
from services.relay.replica import Answered, Do, EngineEnded
from services.relay.settings import ENGINES, Settings
from services.relay.user_port import UserPort

_log = logging.getLogger(__name__)
_LOOKS_EACH_S: Final = 0.01
_ASKS_AGAIN_S: Final = 0.1
_LOOKS_FOR_DELETION_EACH_S: Final = 0.1  # the slice is to be free within a second
_ENDS_WITHIN_S: Final = 8.0  # more than an engine that hangs is given
# How long a thread keeps the interpreter when another wants it: a token is to be relayed in less than that.
_SWITCH_S: Final = 0.0005


def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT, and what has begun is over, or until the engine ends by itself; the exit code."""
    sys.setswitchinterval(_SWITCH_S)
    # Two connections for each client's, and its bell; many a container begins with 1,024 where it may have more.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    take_orphans()
    relay = Relay(settings)
    when_told(relay.stop.set)
    return relay.run()


class Relay:
    def __init__(self, settings: Settings) -> None:
        """BadInput: a setting is none. OSError: there is no such program."""
        self.stop = threading.Event()
        self._settings = settings
        self._secret = _secret(settings)
        elsewhere = Address.of(settings.function_url, settings.function_gateway) if settings.function_url else None
        port = settings.engine_port or free_port(own_number())
        kept = {name: value for name, value in os.environ.items() if name != "KNATIVE_MIG_PORT"}
        environment = {**kept, "PORT": str(port), "KNATIVE_MIG_HOST": "127.0.0.1"}
        self._child = Child(settings.command, environment, all_are_its=True)
        self._desk = Desk(
            engine=Address(host="127.0.0.1", port=port),
            traits=ENGINES[settings.engine],
            elsewhere=elsewhere,
            end_engine=self._child.end,
            dial=self._dial if self._secret else None,
        )
        self._threads = Threads(self.stop)
        self._code = 0
        self._serves = False

    def _dial(self, target: Address) -> Dialled:
        return dialled(target, self._secret, self._desk.id)

    def run(self) -> int:
        self._threads.run("engine", lambda _: self._watch_engine())
        self._threads.run("deletion", self._watch_deletion)
        while not (answers(self._desk.engine.port) or self.stop.wait(_LOOKS_EACH_S)):
            pass
        try:
            if not self.stop.is_set():
                self._start_serving()
        finally:  # a port that is taken ends the engine too
            self._desk.start_leaving(at_once=True)
            self._threads.join("engine", time.monotonic() + _ENDS_WITHIN_S)
        return self._code or (1 if self._threads.failed else 0)

    def _start_serving(self) -> None:
        self._serves = True
        if self._desk.traits.tells_tokens:
            self._desk.traits = models.with_models(self._desk.traits, models.asked(self._desk.engine.port))
        self._serve()

    def _serve(self) -> None:
        settings = self._settings
        user = UserPort(settings.host, settings.port, self._desk, at_most=settings.connections)
        self._threads.run("user", lambda _: user.serve())
        move_port = "no moves"
        if self._secret:
            move = MovePort(
                settings.host, settings.move_port, self._desk, secret=self._secret, at_most=settings.connections
            )
            self._threads.run("move", lambda _: move.serve())
            move_port = f"moves on port {move.port}"
        _log.info("the engine is relayed on port %d, %s", user.port, move_port)
        self.stop.wait()
        self._desk.start_leaving(at_once=True)
        self._desk.wait_until_empty()

    def _watch_deletion(self, stop: threading.Event) -> None:
        """SIGTERM would come when queue-proxy has seen no request for half a minute."""
        while not is_deleted(self._settings.slice_dir):
            if stop.wait(_LOOKS_FOR_DELETION_EACH_S):
                return
        _log.info("the pod was deleted: the engine ends when nobody needs it any more")
        self._desk.start_leaving()

    def _watch_engine(self) -> None:
        code = self._child.wait()
        do = self._desk.take(EngineEnded())
        if do is Do.EXIT:
            if self._serves:  # else the last line is the engine's, which says why it did not start
                _log.warning("the engine ended by itself, with code %d: so does the relay", code)
            self._code = code if code > 0 else 1
            self.stop.set()
        why = ""
        while do in {Do.ASK_RELEASE, Do.ASK_RELEASE_LATER}:
            if do is Do.ASK_RELEASE_LATER:
                time.sleep(_ASKS_AGAIN_S)
            before, why = why, why_not_released(self._settings.slice_dir)
            if why and why != before:
                _log.info("the slice is not given back yet: %s", why)
            do = self._desk.take(Answered(released=not why))
        if do is None:
            _log.info("the engine has ended, and its slice is given back")


def _secret(settings: Settings) -> str:
    """Empty where no file is told of, or there is none: nothing moves. BadInput: there is one, and no secret in it."""
    if settings.secret_file is None:
        return ""
    try:
        secret = settings.secret_file.read_text().strip()
    except FileNotFoundError:
        _log.warning("there is no %s: nothing moves, from here or to here", settings.secret_file)
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{settings.secret_file} holds no secret: {error}") from error
    if not (secret.isascii() and secret.isprintable() and secret):
        raise BadInput(f"{settings.secret_file} holds no secret that fits into a header")
    return secret
