"""One streamed generation, from its request to its end, with whoever says its tokens: the I/O around `source_side`.

Run by the thread of the client's connection, which waits for its client, its engine, the link of a move and the mover
at once: no token is handed from one thread to another. What is decided is decided by `SourceSide`; here it is done.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Final, Protocol

from knative_mig.core.errors import BadInput
from services.relay.client_end import ClientEnd
from services.relay.dialect import question
from services.relay.dialling import Dialled
from services.relay.engine_call import Address, CallFailed, EngineCall, NotAStream, request_bytes
from services.relay.letterbox import Letterbox
from services.relay.link_messages import FromTarget, Go, Message, Misunderstood, Onward, Prompt, Refuse, Said, Warm
from services.relay.link_messages import Stuck as StuckThere
from services.relay.resumable import Traits, Verdict
from services.relay.said_check import check
from services.relay.source_side import SourceSide
from services.relay.source_words import (
    Action,
    Break,
    CallOff,
    ClientLeft,
    Emit,
    Event,
    Failed,
    Finish,
    Heard,
    Kind,
    Link,
    Move,
    Moved,
    NotMoved,
    Quiet,
    Reached,
    Resume,
    Send,
    Silence,
    Spoke,
    Stuck,
    Tokenized,
    Unreached,
)
from services.relay.source_words import Dial as DialIt
from services.relay.stream_events import EngineStream, Envelope, StreamBroken, envelope_of, in_envelope
from services.relay.wire import RelayLink, Waited, wait

_TICK_S: Final = 0.5
# A target that lives and says nothing for so long has an engine that does not: before its first token, and after that.
_BEGINS_WITHIN_S: Final = 30.0
_SAYS_WITHIN_S: Final = 15.0
_QUIET_FOR_S: Final = 5.0  # so long a target that is ahead waits for the own engine's next word


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A link to the target, and where the mover waits for what comes of it."""

    dialled: Dialled
    onward_of: int | None = None  # the voice whose replica is left; None: this one
    reports: "SimpleQueue[Moved | NotMoved]" = field(default_factory=SimpleQueue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Of an order that takes too long."""

    order: Order
    why: str


Dial = Callable[[Address], Dialled]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that may move, as it came."""

    path: str
    body: dict[str, Any]  # with a seed
    headers: tuple[tuple[str, str], ...]
    verdict: Verdict


class NeedsEngine(Protocol):
    def __call__(self, *, need: bool) -> None: ...


class Conversation:
    """`needs_engine` is told when that changes. `elsewhere`: any replica of the function, where it is known.

    `dial`: how another relay is reached, where there is a secret to show it.
    """

    def __init__(
        self,
        asked: Asked,
        client: ClientEnd,
        *,
        engine: Address,
        traits: Traits,
        elsewhere: Address | None,
        needs_engine: NeedsEngine,
        dial: Dial | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.asked = asked
        self.side = SourceSide(asked.path, asked.body, asked.verdict, model=traits.model_of(asked.body))
        self.not_a_stream: EngineCall | None = None  # the engine answered with this, and it is the client's
        self.broke_because = ""
        self.input_tokens: int | None = None  # where the engine tells
        self._client_left = False
        self._client = client
        self._engine = engine
        self._traits = traits
        self._elsewhere = elsewhere
        self._tell_need = needs_engine
        self._dial = dial
        self._needed = True
        self._calls: dict[int, EngineCall] = {}
        self._links: dict[int, RelayLink] = {}
        self._letters: Letterbox[Order | Unreached | Withdrawal] = Letterbox()
        self._order: Order | None = None
        self._envelope: Envelope | None = None
        self._envelope_of: int | None = None  # which voice's it is
        self._said_at: dict[int, float] = {}  # when each voice last said something, or was asked for more
        self._has_spoken: set[int] = set()  # those of links that have said a token

    # -- from any thread -----------------------------------------------------------------------------------------------

    def move(self, order: Order) -> None:
        """Its reports get one answer, whatever comes."""
        if not self._letters.put(order):
            _refuse(order, "it is over")

    def withdraw(self, order: Order, why: str) -> None:
        """Where it is under way still."""
        self._letters.put(Withdrawal(order=order, why=why))

    @property
    def output_tokens(self) -> int:
        return len(self.side.said)

    # -- the client's thread -------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Whether the client has all of it, and its connection may go on."""
        try:
            self._resume(self.side.begins)
            while not (self.side.is_over or self.not_a_stream):
                self._step()
        except OSError:  # of the client's connection: the others' are heard of as failures
            self._client_left = True
        finally:
            self._close()
        return not (self.broke_because or self.not_a_stream or self._client_left)

    def _step(self) -> None:
        whom: list[Waited] = [*self._calls.values(), *self._links.values(), self._letters, self._client]
        is_behind = self._client.wire.is_behind
        ready = wait(whom, _TICK_S if self._links or is_behind else None)
        now = time.monotonic()
        for voice, call in tuple(self._calls.items()):
            if call.fileno() in ready and self._calls.get(voice) is call:
                self._read_call(voice, call)
        for voice, link in tuple(self._links.items()):
            if self._links.get(voice) is link:
                self._read_link(voice, link, now, has_something=link.fileno() in ready)
        quiet = self.side.waited_for if self._links else None
        if quiet is not None and now - self._said_at.get(quiet, now) > _QUIET_FOR_S:
            self._take(Quiet())
        if self._letters.fileno() in ready:
            for letter in self._letters.take():
                self._take_letter(letter)
        if self._client.fileno() in ready or is_behind:
            self._client.wire.flush()
            if self._client.is_quiet and self._client.is_gone():
                self._client_left = True
                self._take(ClientLeft())

    def _read_call(self, voice: int, call: EngineCall) -> None:
        try:
            pieces = call.read()
        except NotAStream as error:
            if voice == 0 and not self._client.has_begun:
                self.not_a_stream = self._calls.pop(voice)
                return
            self._take(Failed(voice=voice, why=str(error)))
            return
        except (CallFailed, StreamBroken) as error:
            self._take(Failed(voice=voice, why=str(error)))
            return
        if call.answer.head is not None:
            self._client.begin()
        self._take_what_it_tells(call.stream)
        if pieces:
            self._said_at[voice] = time.monotonic()
        for piece in pieces:
            if voice not in self._calls:
                return
            if self._envelope is None:
                self._envelope, self._envelope_of = call.stream.envelope, voice
            chunks = self._enveloped(piece.chunks, voice)
            self._take(Spoke(voice=voice, ids=piece.ids, chunks=chunks, last=piece.last, whole=piece.whole))

    def _take_what_it_tells(self, stream: EngineStream) -> None:
        """The first that tells its prompt was asked from the beginning, as nobody goes on without."""
        if self.input_tokens is None and stream.prompt is not None:
            self.input_tokens = len(stream.prompt)
            if self._traits.goes_on_by_prompt:
                self._take(Tokenized(ids=stream.prompt))
        if stream.stuck:
            self._take(Stuck(why=stream.stuck))

    def _read_link(self, voice: int, link: RelayLink, now: float, *, has_something: bool) -> None:
        why, heard = "", []
        try:
            if has_something:
                heard = [self._from_target(message, voice, now) for message in link.hear(now)]
            link.tick(now)
            within_s = _SAYS_WITHIN_S if voice in self._has_spoken else _BEGINS_WITHIN_S
            if now - self._said_at[voice] > within_s:
                why = f"it said nothing for {within_s:g} s"
        except (Misunderstood, StreamBroken, OSError) as error:
            why = str(error) or type(error).__name__
        for each in heard:
            self._take(Heard(voice=voice, message=each))
        if why:
            self._take(Failed(voice=voice, why=why))

    def _from_target(self, message: Message, voice: int, now: float) -> FromTarget:
        """Misunderstood, StreamBroken."""
        if isinstance(message, Said):
            check(message, self.asked.path, self.asked.body, self._traits)
            if message.ids or message.last:
                self._said_at[voice] = now
                self._has_spoken.add(voice)
            return replace(message, chunks=self._enveloped(message.chunks, voice))
        if isinstance(message, Warm):
            self._said_at[voice] = now
        if isinstance(message, Prompt) and self.input_tokens is None:
            self.input_tokens = len(message.ids)
        if isinstance(message, Warm | Prompt | StuckThere | Onward | Refuse):
            return message
        raise Misunderstood("a target says what only a source says")

    def _take_letter(self, letter: Order | Unreached | Withdrawal) -> None:
        if isinstance(letter, Unreached):
            self._take(letter)
            return
        if isinstance(letter, Withdrawal):
            if self._order is letter.order:
                self._take(CallOff(why=letter.why))
            return
        if self._order is not None:
            _refuse(letter, "it is being moved already")
            if letter.onward_of is not None:
                self._take(Unreached(voice=letter.onward_of, why="it is being moved already"))
            return
        self._order = letter
        self._take(Move() if letter.onward_of is None else Reached(voice=letter.onward_of))
        if self._order is letter and not self._has_link_of(letter):
            self._report(NotMoved(why="it is being moved already") if self.side.needs_engine else Moved())

    def _dial_onward(self, dial: Dial, voice: int, to: str) -> None:
        """On a thread of its own."""
        letter: Order | Unreached
        try:
            letter = Order(dialled=dial(Address.of(to)), onward_of=voice)
        except (BadInput, OSError) as error:
            letter = Unreached(voice=voice, why=f"{to[:128]} cannot be reached: {error}")
        if not self._letters.put(letter) and isinstance(letter, Order):
            letter.dialled.link.close()

    # -- what is to be done --------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        """OSError: the client is gone."""
        for action in self.side.take(event):
            self._do(action)
        if (needed := self.side.needs_engine) is not self._needed:
            self._needed = needed
            self._tell_need(need=needed)

    def _do(self, action: Action) -> None:
        match action:
            case Emit(chunks=chunks):
                self._client.send(chunks)
            case Finish():
                self._client.finish()
            case Break(why=why):
                self._break(why)
            case Link(voice=voice):
                assert self._order is not None
                dialled = self._order.dialled
                self._said_at[voice] = time.monotonic()
                self._links[voice] = RelayLink(dialled.link, self._said_at[voice], dialled.unread)
            case DialIt(voice=voice, to=to):
                assert self._dial is not None, "who has been sent somewhere has shown the secret"
                threading.Thread(target=self._dial_onward, args=(self._dial, voice, to), daemon=True).start()
            case Send(voice=voice, message=message):
                self._say(voice, message)
            case Resume():
                self._resume(action)
            case Silence(voice=voice):
                if (call := self._calls.pop(voice, None)) is not None:
                    call.close()
                if (link := self._links.pop(voice, None)) is not None:
                    link.close()
            case Moved() | NotMoved():
                self._report(action)

    def _say(self, voice: int, message: Any) -> None:
        link = self._links.get(voice)
        if isinstance(message, Go):
            self._said_at[voice] = time.monotonic()
            self._has_spoken.discard(voice)
        if link is None:
            return
        try:
            link.say(message, time.monotonic())
        except OSError:
            return  # whoever waits for the link hears of it

    def _report(self, report: Moved | NotMoved) -> None:
        if self._order is not None:
            self._order.reports.put(report)
            if not self._has_link_of(self._order):
                self._order.dialled.link.close()
            self._order = None

    def _has_link_of(self, order: Order) -> bool:
        return any(link.wire.socket is order.dialled.link for link in self._links.values())

    def _resume(self, how: Resume) -> None:
        address = self._engine if how.kind is Kind.OWN else self._elsewhere
        if address is None:
            self._take(Failed(voice=how.voice, why="no other replica is known"))
            return
        what = question(how.path, how.body, how.ids, self._traits, prompt=how.prompt)
        sent_on = how.kind is Kind.ELSEWHERE
        request = request_bytes("POST", address, what.path, self.asked.headers, what.body, sent_on=sent_on)
        try:
            self._calls[how.voice] = EngineCall(address, request, what.reading)
        except OSError as error:
            self._take(Failed(voice=how.voice, why=str(error)))

    def _enveloped(self, chunks: tuple[str, ...], speaker: int) -> tuple[str, ...]:
        """All chunks of an answer have one id, whoever said them. StreamBroken: they are none."""
        if self._envelope is None and chunks:
            self._envelope, self._envelope_of = envelope_of(chunks[0]), speaker
        if self._envelope is None or speaker == self._envelope_of:
            return chunks
        return tuple(in_envelope(chunk, self._envelope) for chunk in chunks)

    def _break(self, why: str) -> None:
        if self._client.has_begun:
            self._client.break_off(why)
        self.broke_because = why

    # -- its end -------------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        late = self._letters.close()
        if self._needed:
            self._needed = False
            self._tell_need(need=False)
        for call in self._calls.values():
            call.close()
        for link in self._links.values():
            link.close()
        self._report(NotMoved(why="it is over"))
        for letter in late:
            if isinstance(letter, Order):
                _refuse(letter, "it is over")


def _refuse(order: Order, why: str) -> None:
    order.dialled.link.close()
    order.reports.put(NotMoved(why=why))
