"""A generation that may move, seen from the relay that has its client.

Called by the one thread that serves the client, with what its engine, the link to another relay and the client bring;
it answers with what is to be done, in that order. One `SourceSide` for each generation, from its first token to its
end.

Voices say tokens: the own engine, the target of a move, the target before when it is moved on from there, and in need
any replica behind the function's URL. Each token
has its place, and the client gets each place once, whoever says it first; where a second voice says another token than
the client has, that voice is not believed. The subtle thing is when the own engine stops: not before the target has
said some tokens that the own engine has said too. So a target which dies on the way costs nothing, and one of another
model is found out before a client has a word of it, also where it is faster. A target that is left in its turn stops in
the same way. Where nobody speaks any more, whoever goes on says the last few tokens again.

Whoever goes on does so from where the text was last whole. With an engine that takes tokens as said, that is behind the
last token; with another, a character that is half said is said again, by the same tokens where it can be compared, and
else by a new draw, as the client has seen nothing of it.
"""

from bisect import bisect_right
from enum import Enum
from typing import Any, Final

from services.relay.link_messages import (
    FromTarget,
    Go,
    Leave,
    Onward,
    Open,
    Prompt,
    Refuse,
    Said,
    Stays,
    Tokens,
    Warm,
)
from services.relay.link_messages import Stuck as StuckThere
from services.relay.resumable import Verdict
from services.relay.source_words import (
    Action,
    Break,
    CallOff,
    ClientLeft,
    Dial,
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
from services.relay.voice import Voice

NEAR: Final = 20  # tokens behind that are computed at once, as in ServerlessLLM
MOST_ROUNDS: Final = 5
COMPARED: Final = 4  # tokens that a voice is to say as another has before it is believed
_DIFFERS: Final = "it says something else than the client has got"


class Phase(Enum):
    STAYS = "stays"
    WARMS = "warms"  # the target computes what was said, the own engine goes on
    GOES = "goes"  # the target was told to go on
    MOVED = "moved"  # and has begun to


class SourceSide:
    """The voice 0 is the own engine, which has been asked already."""

    def __init__(self, path: str, body: dict[str, Any], verdict: Verdict, *, model: str = "") -> None:
        """`model`: what the own engine says of the one that was asked for."""
        self.said: list[int] = []
        self.phase = Phase.STAYS
        self.is_over = False
        self._path = path
        self._body = body
        self._model = model
        self._repeats = verdict.repeats
        self._why_not = verdict.why_not
        self._prompt: tuple[int, ...] | None = None
        self._wholes = [0]  # the places where the text was whole
        self._voices = {0: Voice(Kind.OWN)}
        self._voices_so_far = 1
        self._has_emitted = False
        self._opened_by: int | None = None
        self._own_died = False
        self._sent = 0  # tokens that the target was sent
        self._behind = 0  # by how many it was at the last round's end
        self._rounds = 0

    @property
    def needs_engine(self) -> bool:
        return not self.is_over and self._voice_of(Kind.OWN) is not None

    @property
    def waited_for(self) -> int | None:
        """The voice that a target is ahead of."""
        target = self._voice_of(Kind.TARGET)
        return self._speaker() if target is not None and self._voices[target].held else None

    @property
    def _whole(self) -> int:
        """The last of those places."""
        return self._wholes[-1]

    @property
    def begins(self) -> Resume:
        """What the voice 0 is asked."""
        return self._resume(0, Kind.OWN, 0)

    def take(self, event: Event) -> tuple[Action, ...]:
        """What is late (of a voice that was silenced, of a generation that is over) changes nothing."""
        if self.is_over:
            return (NotMoved(why="it is over"),) if isinstance(event, Move) else ()
        match event:
            case Spoke(voice=voice) if voice in self._voices:
                return self._spoke(event)
            case Move():
                return self._move()
            case CallOff(why=why):
                return self._call_off(why)
            case ClientLeft():
                return self._over()
            case Quiet():
                speaker = self._speaker()
                return () if speaker is None else self._failed(speaker, "it says nothing while the target does")
            case Tokenized(ids=ids):
                return self._tokenized(ids)
            case Stuck(why=why):
                return self._stuck(why)
            case Heard(voice=voice, message=message) if voice in self._voices:
                return self._heard(voice, message)
            case Reached(voice=voice) if voice in self._voices:
                return self._move_on(voice)
            case Unreached(voice=voice, why=why) if voice in self._voices:
                return (Send(voice=voice, message=Stays(why=why)),)
            case Failed(voice=voice) if voice in self._voices and self._voices[voice].has_said_all:
                return (Silence(voice=voice),)  # who has no more to say may hang up
            case Failed(voice=voice, why=why) if voice in self._voices:
                return self._failed(voice, why)
        return ()

    # -- the way there -------------------------------------------------------------------------------------------------

    def _move(self) -> tuple[Action, ...]:
        if self._why_not:
            return (NotMoved(why=self._why_not),)
        if self.phase is not Phase.STAYS:
            return ()
        if not self.needs_engine:
            return (Moved(),)
        return self._begin_move()

    def _begin_move(self) -> tuple[Action, ...]:
        voice = self._new_voice(Kind.TARGET)
        self.phase, self._rounds, self._sent = Phase.WARMS, 1, self._whole
        self._behind = self._whole
        prompt = () if self._prompt is None else (Send(voice=voice, message=Prompt(ids=self._prompt)),)
        return (
            Link(voice=voice),
            Send(voice=voice, message=Open(path=self._path, body=self._body, model=self._model)),
            *prompt,
            Send(voice=voice, message=Tokens(at=0, ids=tuple(self.said[: self._whole]))),
        )

    def _asked_onward(self, number: int, to: str) -> tuple[Action, ...]:
        """By a target whose replica is wanted in its turn. The client stays here, so there is no chain of relays."""
        voice = self._voices[number]
        if voice.kind is Kind.TARGET and self.phase is not Phase.MOVED:
            if self._speaker() is not None:
                return (Send(voice=number, message=Leave()), *self._failed(number, "its replica is leaving"))
            return (Send(voice=number, message=Stays(why="it has not begun there yet")),)
        if self._why_not:
            return (Send(voice=number, message=Stays(why=self._why_not)),)
        return (Dial(voice=number, to=to),)

    def _move_on(self, number: int) -> tuple[Action, ...]:
        if self.phase in {Phase.WARMS, Phase.GOES}:
            return (Send(voice=number, message=Stays(why="it is being moved already")),)
        self._voices[number].kind = Kind.FORMER
        return self._begin_move()

    def _tokenized(self, ids: tuple[int, ...]) -> tuple[Action, ...]:
        """It comes before any token, so a target that was opened without has been sent none yet."""
        if self._prompt is not None:
            return ()
        self._prompt = ids
        target = self._voice_of(Kind.TARGET) if self.phase is Phase.WARMS else None
        return () if target is None else (Send(voice=target, message=Prompt(ids=ids)),)

    def _stuck(self, why: str) -> tuple[Action, ...]:
        """Seen in what the own engine says, so that one speaks still."""
        self._why_not = self._why_not or why
        return self._call_off(why)

    def _call_off(self, why: str) -> tuple[Action, ...]:
        """Where somebody speaks still."""
        if self.phase not in {Phase.WARMS, Phase.GOES} or self._speaker() is None:
            return ()
        target = self._voice_of(Kind.TARGET)
        self.phase = Phase.STAYS
        return (*(() if target is None else self._silence(target)), *self._not_moved(why))

    def _heard(self, voice: int, message: FromTarget) -> tuple[Action, ...]:
        was_target = self._voices[voice].kind is Kind.FORMER
        may_speak = was_target or self.phase in {Phase.GOES, Phase.MOVED}
        match message:
            case Refuse(why=why):
                return self._failed(voice, why)
            case Warm(count=count) if self.phase is Phase.WARMS and count == self._sent and not was_target:
                return self._next_round(voice)
            case Warm() if self.phase is Phase.GOES and not was_target:  # crossed with a go that could not wait
                return ()
            case Prompt(ids=ids) if may_speak:
                return self._tokenized(ids)
            case StuckThere(why=why) if may_speak:
                self._why_not = self._why_not or why
                return ()
            case Onward(to=to) if may_speak:
                return self._asked_onward(voice, to)
            case Said(at=at, ids=ids, chunks=chunks, last=last) if may_speak:
                if at != self._voices[voice].next and self._voices[voice].begins_anew:
                    return ()
                if at == self._voices[voice].next:
                    self._voices[voice].begins_anew = False
                    return self._spoke(Spoke(voice=voice, ids=ids, chunks=chunks, last=last, whole=message.whole))
        return self._failed(voice, "it says what it cannot say now")

    def _next_round(self, voice: int) -> tuple[Action, ...]:
        behind = self._whole - self._sent
        # A round that brought it no nearer was computed from the beginning, and so would be the next.
        if behind <= NEAR or self._rounds >= MOST_ROUNDS or (self._rounds > 1 and behind >= self._behind):
            return self._go(voice)
        self._rounds += 1
        self._behind = behind
        return self._send_rest(voice)

    def _send_rest(self, voice: int) -> tuple[Action, ...]:
        at, self._sent = self._sent, self._whole
        return (Send(voice=voice, message=Tokens(at=at, ids=tuple(self.said[at : self._whole]))),)

    def _go(self, voice: int) -> tuple[Action, ...]:
        is_anew, self.phase = self.phase is Phase.GOES, Phase.GOES
        place = self._begin_behind_whole(voice, anew=is_anew)
        at, self._sent = min(self._sent, place), place
        actions: list[Action] = [Send(voice=voice, message=Go(at=at, ids=tuple(self.said[at:place])))]
        if not self._repeats:  # what two engines draw cannot be compared, so only one may draw
            actions += self._silence_all_but(voice)
        return tuple(actions)

    def _begin_behind_whole(self, number: int, *, anew: bool = False) -> int:
        """The place from which this voice goes on: where nobody else speaks, some of what was said is said again."""
        if not self._repeats:
            del self.said[self._whole :]
        place = self._whole
        if self._repeats and self._speaker(but=number) is None:
            place = self._wholes[max(0, bisect_right(self._wholes, len(self.said) - COMPARED) - 1)]
        self._voices[number].begin(place, anew=anew)
        return place

    # -- tokens --------------------------------------------------------------------------------------------------------

    def _spoke(self, event: Spoke) -> tuple[Action, ...]:
        number, voice = event.voice, self._voices[event.voice]
        is_to_begin = voice.kind is Kind.TARGET and self.phase is Phase.GOES
        if not event.ids and not event.last:
            return () if voice.kind is Kind.TARGET and voice.next else self._opened(number, event.chunks)
        if is_to_begin and not event.ids and voice.next == voice.begins:
            return self._failed(number, "it ends without a token")
        if is_to_begin:
            voice.held.append(event)
            return self._compared(number)
        actions = self._believed(event)
        target = self._voice_of(Kind.TARGET) if self.phase is Phase.GOES and not self.is_over else None
        return actions if target is None else (*actions, *self._compared(target))

    def _compared(self, number: int) -> tuple[Action, ...]:
        """With what the client has by now; from when on the target is believed."""
        voice = self._voices[number]
        if not voice.agrees(self.said):
            return self._failed(number, _DIFFERS)
        others_speak = self._speaker() is not None
        wanted = COMPARED if others_speak and self.said else len(self.said) - voice.begins
        if not (voice.compared or voice.held) or voice.compared < wanted:
            return ()
        if not voice.is_even_with(self.said):
            return () if others_speak else self._failed(number, "it says at once what the client has in part")
        self.phase = Phase.MOVED
        actions = [*self._silence_all_but(number), Moved()]
        held, voice.held = voice.held, []
        for each in held:
            actions += self._believed(each)
        return tuple(actions)

    def _believed(self, event: Spoke) -> tuple[Action, ...]:
        voice = self._voices[event.voice]
        if voice.at < len(self.said):
            return self._said_again(event.voice, event.ids, last=event.last)
        voice.at += len(event.ids)
        self.said += event.ids
        if event.whole and event.ids:
            self._wholes.append(len(self.said))
        actions = self._emit(event.chunks)
        return (*actions, *self._over(), Finish()) if event.last else actions

    def _opened(self, number: int, chunks: tuple[str, ...]) -> tuple[Action, ...]:
        """What comes before the first token is the same from all, and wanted from one."""
        if self._opened_by not in {None, number}:
            return ()
        self._opened_by = number
        return self._emit(chunks)

    def _emit(self, chunks: tuple[str, ...]) -> tuple[Action, ...]:
        self._has_emitted = self._has_emitted or bool(chunks)
        return (Emit(chunks=chunks),) if chunks else ()

    def _said_again(self, number: int, ids: tuple[int, ...], *, last: bool) -> tuple[Action, ...]:
        voice = self._voices[number]
        until = voice.at + len(ids)
        if last or until > len(self.said) or tuple(self.said[voice.at : until]) != ids:
            return self._failed(number, _DIFFERS)
        voice.at = until
        return ()

    # -- ends ----------------------------------------------------------------------------------------------------------

    def _failed(self, number: int, why: str) -> tuple[Action, ...]:
        voice = self._voices.pop(number)
        actions: list[Action] = [Silence(voice=number)]
        if voice.kind is Kind.TARGET:
            moved, self.phase = self.phase is Phase.MOVED, Phase.STAYS
            if not moved:
                actions += self._not_moved(f"{voice.kind.value}: {why}")
        elif voice.kind in {Kind.OWN, Kind.FORMER}:
            self._own_died = self._own_died or voice.kind is Kind.OWN
            if (target := self._voice_of(Kind.TARGET)) is not None:
                actions += self._speaks_alone(target)
        if not self._voices:
            actions += self._in_need(voice.kind, why)
        return tuple(actions)

    def _speaks_alone(self, target: int) -> tuple[Action, ...]:
        """Whom it was to be compared with is gone: it is asked for some tokens that were said before that."""
        voice = self._voices[target]
        if self.phase is Phase.WARMS or (
            self.phase is Phase.GOES and self._repeats and voice.begins > 0 and len(self.said) < voice.begins + COMPARED
        ):
            return self._go(target)
        return self._compared(target) if self.phase is Phase.GOES else ()

    def _not_moved(self, why: str) -> tuple[Action, ...]:
        former = self._voice_of(Kind.FORMER)
        stays = () if former is None else (Send(voice=former, message=Stays(why=why)),)
        return (*stays, NotMoved(why=why))

    def _in_need(self, after: Kind, why: str) -> tuple[Action, ...]:
        """Nobody speaks for the client: who else can? Each kind is asked once, so this comes to an end."""
        may_repeat = not self._why_not or not self._has_emitted
        if after is Kind.ELSEWHERE or not may_repeat:
            self.is_over = True
            return (Break(why=f"{after.value}: {why}"),)
        kind = Kind.ELSEWHERE if after is Kind.OWN or self._own_died else Kind.OWN
        voice = self._new_voice(kind)
        place = self._begin_behind_whole(voice)
        return (self._resume(voice, kind, place),)

    def _resume(self, voice: int, kind: Kind, place: int) -> Resume:
        ids = tuple(self.said[:place])
        return Resume(voice=voice, kind=kind, path=self._path, body=self._body, prompt=self._prompt, ids=ids)

    def _over(self) -> tuple[Action, ...]:
        self.is_over = True
        was_moving = self.phase in {Phase.WARMS, Phase.GOES}
        return (*((NotMoved(why="it is over"),) if was_moving else ()), *self._silence_all_but(None))

    # -- voices --------------------------------------------------------------------------------------------------------

    def _new_voice(self, kind: Kind) -> int:
        number = self._voices_so_far
        self._voices_so_far += 1
        self._voices[number] = Voice(kind)
        return number

    def _voice_of(self, kind: Kind) -> int | None:
        for number, voice in self._voices.items():
            if voice.kind is kind:
                return number
        return None

    def _speaker(self, but: int | None = None) -> int | None:
        """Who says tokens while a target does not yet."""
        voices = self._voices.items()
        return next((number for number, voice in voices if voice.kind is not Kind.TARGET and number != but), None)

    def _silence(self, number: int) -> tuple[Action, ...]:
        kind = self._voices.pop(number).kind
        leave = (Send(voice=number, message=Leave()),) if kind in {Kind.TARGET, Kind.FORMER} else ()
        return (*leave, Silence(voice=number))

    def _silence_all_but(self, kept: int | None) -> tuple[Action, ...]:
        others = [number for number in self._voices if number != kept]
        return tuple(action for number in others for action in self._silence(number))
