"""A generation that another relay sends here, from its link's first message to its last: the I/O around `target_side`.

Run by the thread of the link's connection, which waits for the link and for its own engine at once. What is decided is
decided by `TargetSide`; here it is done.
"""

import socket
import time
from typing import Final

from services.relay.dialect import question, told
from services.relay.engine_call import Address, CallFailed, EngineCall, NotAStream, request_bytes
from services.relay.link_messages import Go, Leave, Message, Misunderstood, Open, Prompt, Stuck, Tokens
from services.relay.resumable import Traits
from services.relay.stream_events import Piece, StreamBroken
from services.relay.target_side import (
    Action,
    Ask,
    Came,
    Event,
    Failed,
    HangUp,
    LinkLost,
    Say,
    Spoke,
    StopAsking,
    TargetSide,
    Told,
    Warmed,
)
from services.relay.wire import RelayLink, wait

_TICK_S: Final = 0.5
_HEADERS: Final = (("Content-Type", "application/json"),)


class Arrival:
    def __init__(self, connection: socket.socket, *, engine: Address, traits: Traits) -> None:
        self._link = RelayLink(connection, time.monotonic())
        self._side = TargetSide(traits)
        self._engine = engine
        self._traits = traits
        self._run: int | None = None
        self._call: EngineCall | None = None
        self._only_warms = False
        self._told: list[Prompt | Stuck] = []  # of this call

    def run(self) -> None:
        """Until it is over, or the link is. OSError: that broke."""
        try:
            while not self._side.is_over:
                self._step()
            self._link.wire.flush_all()
        finally:
            self._stop()

    def _step(self) -> None:
        """OSError: nobody is there to hear."""
        call = self._call
        ready = wait([self._link, *([call] if call else [])], _TICK_S)
        now = time.monotonic()
        if call is not None and call.fileno() in ready:
            self._read_call(call)
        if self._link.fileno() in ready:
            try:
                messages = [_from_source(message) for message in self._link.hear(now)]
            except Misunderstood:
                self._take(LinkLost())  # whoever that is
                return
            for message in messages:
                self._take(message)
        if not self._side.is_over:
            self._link.tick(now)

    def _read_call(self, call: EngineCall) -> None:
        assert self._run is not None
        run = self._run
        try:
            pieces = call.read()
        except (CallFailed, NotAStream, StreamBroken) as error:
            self._take(Failed(run=run, why=str(error)))
            return
        for message in told(call.stream, self._traits):
            if message not in self._told:
                self._told.append(message)
                self._take(Told(run=run, message=message))
        for piece in pieces:
            if (event := self._event(run, piece)) is not None:
                self._take(event)

    def _event(self, run: int, piece: Piece) -> Event | None:
        if not self._only_warms:
            return Spoke(run=run, ids=piece.ids, chunks=piece.chunks, last=piece.last, whole=piece.whole)
        return Warmed(run=run) if piece.last else None

    def _take(self, event: Event) -> None:
        for action in self._side.take(event):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Ask():
                self._stop()
                self._only_warms = action.only_warms
                self._ask(action)
            case StopAsking():
                self._stop()
            case Say(message=message):
                self._link.say(message, time.monotonic())
            case HangUp():
                pass  # `run` ends, when what was said has gone out

    def _ask(self, ask: Ask) -> None:
        self._told = []
        what = question(ask.path, ask.body, ask.ids, self._traits, prompt=ask.prompt, only_warms=ask.only_warms)
        request = request_bytes("POST", self._engine, what.path, _HEADERS, what.body)
        try:
            self._run, self._call = ask.run, EngineCall(self._engine, request, what.reading)
        except OSError as error:
            self._take(Failed(run=ask.run, why=str(error)))

    def _stop(self) -> None:
        if self._call is not None:
            self._call.close()
            self._call = None


def _from_source(message: Message) -> Came:
    """Misunderstood."""
    if isinstance(message, Open | Prompt | Tokens | Go | Leave):
        return Came(message=message)
    raise Misunderstood("a source says what only a target says")
