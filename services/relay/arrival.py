"""A generation that another relay sends here, from its link's first message to its last: the I/O around `target_side`.

Run by the thread of the link's connection, which waits for the link and for its own engine at once. What is decided is
decided by `TargetSide`; here it is done.
"""

import secrets
import socket
import time
from queue import SimpleQueue
from typing import Final

from services.relay.dialect import question, told
from services.relay.engine_call import Address, CallFailed, EngineCall, NotAStream, request_bytes
from services.relay.letterbox import Letterbox
from services.relay.link_messages import Go, Leave, Message, Misunderstood, Open, Prompt, Refuse, Stays, Stuck, Tokens
from services.relay.resumable import Traits
from services.relay.source_words import Moved, NotMoved
from services.relay.stream_events import Piece, StreamBroken
from services.relay.target_side import (
    Action,
    Ask,
    Came,
    Event,
    Failed,
    Gone,
    HangUp,
    Leaving,
    LinkLost,
    Say,
    Spoke,
    Stayed,
    StopAsking,
    TargetSide,
    Told,
    Warmed,
)
from services.relay.wire import RelayLink, wait

Reports = SimpleQueue[Moved | NotMoved]
_OVER: Final = NotMoved(why="it is over")
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
        self.id = secrets.token_hex(8)
        self._letters: Letterbox[tuple[str, Reports] | Reports] = Letterbox()
        self._reports: Reports | None = None  # of who has asked that it goes on from here
        self._told: list[Prompt | Stuck] = []  # of this call

    def move(self, to: str) -> Reports:
        """From any thread: it is to go on at the relay with this address. There will be one report, whatever comes."""
        reports: Reports = SimpleQueue()
        if not self._letters.put((to, reports)):
            reports.put(_OVER)
        return reports

    def withdraw(self, reports: Reports) -> None:
        """From any thread: nobody waits for that any more, and another relay may be tried."""
        self._letters.put(reports)

    @property
    def output_tokens(self) -> int:
        return self._side.place

    def run(self) -> None:
        """Until it is over, or the link is. OSError: that broke."""
        try:
            while not self._side.is_over:
                self._step()
            self._link.wire.flush_all()
        finally:
            self._stop()
            self._report(_OVER)
            for letter in self._letters.close():
                if isinstance(letter, tuple):
                    letter[1].put(_OVER)

    def _step(self) -> None:
        """OSError: nobody is there to hear."""
        call = self._call
        ready = wait([self._link, self._letters, *([call] if call else [])], _TICK_S)
        now = time.monotonic()
        if call is not None and call.fileno() in ready:
            self._read_call(call)
        if self._link.fileno() in ready:
            try:
                messages = [_from_source(message) for message in self._link.hear(now)]
            except Misunderstood as error:
                self._link.say(Refuse(why=str(error)), now)
                self._take(LinkLost())  # whoever that is
                return
            for message in messages:
                self._take(message)
        if self._letters.fileno() in ready:
            for letter in self._letters.take():
                if isinstance(letter, tuple):
                    self._leave(*letter)
                elif self._reports is letter:
                    self._reports = None
        if not self._side.is_over:
            self._link.tick(now)

    def _leave(self, to: str, reports: Reports) -> None:
        if self._reports is not None:
            reports.put(NotMoved(why="it is being moved already"))
            return
        self._reports = reports
        self._take(Leaving(to=to))

    def _report(self, report: Moved | NotMoved) -> None:
        if self._reports is not None:
            self._reports.put(report)
            self._reports = None

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
            case Gone():
                self._report(Moved())
            case Stayed(why=why):
                self._report(NotMoved(why=why))
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
    if isinstance(message, Open | Prompt | Tokens | Go | Leave | Stays):
        return Came(message=message)
    raise Misunderstood("a source says what only a target says")
