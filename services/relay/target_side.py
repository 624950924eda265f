"""A generation that comes here from another relay, seen from here.

Called by the thread that keeps the link, with what comes over it and what the own engine says; it answers with what is
to be done, in that order. One `TargetSide` for each link. While the source's engine goes on, this one computes the keys
and values of what was said (a request for one token, whose answer nobody reads); told to go on it says what comes next.
It keeps nothing that outlives the link: without it nobody is there to hear.
"""

from dataclasses import dataclass
from typing import Any

from services.relay.link_messages import (
    FromSource,
    FromTarget,
    Go,
    Leave,
    Onward,
    Open,
    Prompt,
    Refuse,
    Said,
    Stays,
    Stuck,
    Tokens,
    Warm,
)
from services.relay.resumable import Traits, judged

# -- what happens ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """From the source."""

    message: FromSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoke:
    """The own engine's next tokens. `last`: with all that follows them, up to the end."""

    run: int
    ids: tuple[int, ...]
    chunks: tuple[str, ...]
    last: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the own engine tells when it is asked from the beginning: the prompt's tokens, or why nobody could go on."""

    run: int
    message: Prompt | Stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    run: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Somebody wants this engine's slice too, and another relay is there to go on."""

    to: str


Event = Came | LinkLost | Warmed | Spoke | Told | Failed | Leaving


# -- what is to be done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The own engine, to go on from these tokens: to the end, or to warm up by one token."""

    run: int
    path: str
    body: dict[str, Any]
    prompt: tuple[int, ...] | None
    ids: tuple[int, ...]
    only_warms: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsking:
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    message: FromTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """It has left as it was to: another goes on, or the source's own engine, which had not stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stayed:
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """After what was said has gone out."""


Action = Ask | StopAsking | Say | Gone | Stayed | HangUp


class TargetSide:
    def __init__(self, engine: Traits) -> None:
        self.is_over = False
        self._engine = engine
        self._asked: Open | None = None
        self._prompt: tuple[int, ...] | None = None
        self._tokens: list[int] = []
        self._runs = 0
        self._running: int | None = None
        self._warming_to = 0  # tokens
        self._at: int | None = None  # the place of what is said next, once told to go on
        self._is_leaving = False

    @property
    def place(self) -> int:
        """The tokens so far, the source's too."""
        return len(self._tokens) if self._at is None else self._at

    def take(self, event: Event) -> tuple[Action, ...]:
        if self.is_over:
            return ()
        match event:
            case LinkLost():
                return self._end()
            case Leaving(to=to):
                return self._leave(to)
            case Came(message=message):
                return self._came(message)
            case Warmed(run=run) if run == self._running and self._at is None:
                self._running = None
                warm = Say(message=Warm(count=self._warming_to))
                return (warm, *self._warm()) if self._warming_to < len(self._tokens) else (warm,)
            case Spoke(run=run, ids=ids, chunks=chunks, last=last) if run == self._running and self._at is not None:
                said = Say(message=Said(at=self._at, ids=ids, chunks=chunks, last=last, whole=event.whole))
                self._at += len(ids)
                if last:
                    self._running = None
                    return (said, *self._end())
                return (said,)
            case Told(run=run, message=message) if run == self._running and self._at == 0 and self._prompt is None:
                return (Say(message=message),)
            case Failed(run=run, why=why) if run == self._running:
                self._running = None
                return self._refuse(why)
        return ()

    def _came(self, message: FromSource) -> tuple[Action, ...]:
        match message:
            case Leave():
                return (*((Gone(),) if self._is_leaving else ()), *self._end())
            case Stays(why=why) if self._is_leaving:
                self._is_leaving = False
                return (Stayed(why=why),)
            case Open() if self._asked is None:
                self._asked = message
                why = self._why_not(message)
                return self._refuse(why) if why else ()
            case Prompt(ids=ids) if self._asked and self._prompt is None and not self._tokens and self._at is None:
                self._prompt = ids
                return ()
            case Tokens(ids=ids) | Go(ids=ids) if ids and self._engine.goes_on_by_prompt and self._prompt is None:
                return self._refuse("the source does not say its prompt")
            case Tokens(at=at, ids=ids) if self._asked and self._at is None and at == len(self._tokens):
                self._tokens += ids
                return self._warm() if self._running is None else ()
            case Go(at=at, ids=ids) if self._asked and at <= len(self._tokens):
                self._tokens[at:] = ids
                self._at = len(self._tokens)
                return (*self._stop(), self._ask(only_warms=False))
        return self._refuse("the source says what it cannot say now")

    def _why_not(self, asked: Open) -> str:
        own = self._engine.model_of(asked.body)
        if own != asked.model:
            return f"its model is {own or 'not known'}, and the source's {asked.model or 'is not'}"[:512]
        return judged(asked.path, asked.body, self._engine).why_not

    def _leave(self, to: str) -> tuple[Action, ...]:
        if self._at is None:  # the source's engine goes on still
            return (Gone(), *self._refuse("its replica is leaving"))
        self._is_leaving = True
        return (Say(message=Onward(to=to)),)

    def _warm(self) -> tuple[Action, ...]:
        self._warming_to = len(self._tokens)
        return (self._ask(only_warms=True),)

    def _ask(self, *, only_warms: bool) -> Ask:
        assert self._asked is not None
        self._runs += 1
        self._running = self._runs
        return Ask(
            run=self._runs,
            path=self._asked.path,
            body=self._asked.body,
            prompt=self._prompt,
            ids=tuple(self._tokens),
            only_warms=only_warms,
        )

    def _refuse(self, why: str) -> tuple[Action, ...]:
        return (*self._stop(), Say(message=Refuse(why=why)), *self._end())

    def _end(self) -> tuple[Action, ...]:
        stop = self._stop()
        self.is_over = True
        return (*stop, HangUp())

    def _stop(self) -> tuple[Action, ...]:
        if self._running is None:
            return ()
        run, self._running = self._running, None
        return (StopAsking(run=run),)
