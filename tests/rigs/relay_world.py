"""Two relays, the link between them and three engines that tell stories, all simulated: a test says who acts next.

Nothing happens by itself: what an engine says waits until its relay takes it, what is sent waits in the link, and in
between anybody may die. An engine's next token depends on all that it was given and has said, and its text on all of
its tokens, so that who goes on from the wrong place says something else.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from services.relay import source_side, target_side
from services.relay.link_messages import FromSource, FromTarget, Misunderstood, Said, Warm, line_of, message_of
from services.relay.resumable import Traits, Verdict
from services.relay.source_side import Kind, Phase, SourceSide
from services.relay.target_side import TargetSide

CHAT = "/v1/chat/completions"
FULL = Traits(tells_tokens=True, resumes=True)
CACHED_A_STEP = 8  # tokens that an engine computes while it could say one


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


def token_after(body: dict[str, Any], tokens: tuple[int, ...], luck: int) -> int:
    return _number(body["seed"], body["prompt"], tokens, luck) % 97


def text_of(tokens: tuple[int, ...]) -> tuple[str, ...]:
    """Of the last one; now and then a token has none."""
    return () if tokens[-1] % 5 == 0 else (f"<{_number(tokens) % 1000}>",)


def is_complete(body: dict[str, Any], tokens: tuple[int, ...]) -> bool:
    return len(tokens) == body["max_tokens"] or bool(tokens and tokens[-1] == 13)


def closing_of(tokens: tuple[int, ...]) -> str:
    return f"end after {len(tokens)}"


def story_of(body: dict[str, Any]) -> tuple[str, ...]:
    """What the client of an engine that nothing happens to gets."""
    tokens: tuple[int, ...] = ()
    while not is_complete(body, tokens):
        tokens = (*tokens, token_after(body, tokens, 0))
    return text_with_ends(tokens)


def text_with_ends(tokens: tuple[int, ...]) -> tuple[str, ...]:
    said = [each for count in range(1, len(tokens) + 1) for each in text_of(tokens[:count])]
    return ("role", *said, closing_of(tokens))


@dataclass(slots=True)
class Run:
    body: dict[str, Any]
    tokens: tuple[int, ...]
    opens: bool
    uncached: int
    only_warms: bool = False
    is_closing: bool = False


@dataclass(slots=True)
class StoryTeller:
    """An engine. `luck` other than 0: it draws by chance, and no other engine draws the same."""

    luck: int = 0
    caches: bool = True
    ends_apart: bool = False  # its last token and its end come one after the other
    dead: bool = False
    runs: dict[int, Run] = field(default_factory=dict)
    known: set[tuple[int, ...]] = field(default_factory=set)  # what it has keys and values of

    def ask(self, number: int, body: dict[str, Any], tokens: tuple[int, ...], *, only_warms: bool = False) -> bool:
        if self.dead or is_complete(body, tokens):
            return False
        cached = max((n for n in range(len(tokens), 0, -1) if tokens[:n] in self.known), default=0)
        uncached = len(body["prompt"]) * (not cached) + len(tokens) - cached
        self.runs[number] = Run(body, tokens, opens=not tokens, uncached=uncached, only_warms=only_warms)
        return True

    def step(self, number: int) -> tuple[tuple[int, ...], tuple[str, ...], bool] | None:
        """Tokens, text, and whether that was the last; None: it is computing."""
        run = self.runs[number]
        if run.uncached > CACHED_A_STEP:
            run.uncached -= CACHED_A_STEP
            return None
        if self.caches:
            self.known.add(run.tokens)
        run.uncached = 0
        if run.opens and not run.only_warms:
            run.opens = False
            return (), ("role",), False
        if run.is_closing:
            del self.runs[number]
            return (), (closing_of(run.tokens),), True
        luck = self.luck and _number(self.luck, run.tokens)
        run.tokens = (*run.tokens, token_after(run.body, run.tokens, luck))
        text = text_of(run.tokens)
        last = is_complete(run.body, run.tokens) or run.only_warms
        if last and self.ends_apart and not run.only_warms:
            run.is_closing = True
            return run.tokens[-1:], text, False
        if last:
            del self.runs[number]
            return run.tokens[-1:], (*text, closing_of(run.tokens)), True
        return run.tokens[-1:], text, False

    def die(self) -> tuple[int, ...]:
        self.dead = True
        died, self.runs = tuple(self.runs), {}
        return died


@dataclass(slots=True)
class SimLink:
    """`hung_up` by an end: what it has sent before still arrives."""

    voice: int
    side: TargetSide
    to_target: deque[bytes] = field(default_factory=deque)
    to_source: deque[bytes] = field(default_factory=deque)
    source_hung_up: bool = False
    target_hung_up: bool = False
    source_knows: bool = False
    target_knows: bool = False
    inbox: deque[target_side.Event] = field(default_factory=deque)
    runs: dict[int, int] = field(default_factory=dict)  # this side's number of a run to the engine's


class World:
    def __init__(self, body: dict[str, Any], *, repeats: bool, caches: bool, ends_apart: bool) -> None:
        self.body = body
        self.repeats = repeats
        self.engines = {
            kind: StoryTeller(luck=0 if repeats else n, caches=caches, ends_apart=ends_apart)
            for n, kind in enumerate(Kind, start=1)
        }
        self.source = SourceSide(CHAT, body, Verdict(repeats=repeats))
        self.source_is_up = True
        self.target_is_up = True
        self.inbox: deque[source_side.Event] = deque()
        self.links: dict[int, SimLink] = {}
        self.got: list[str] = []
        self.outcome = ""
        self.reports: list[source_side.Moved | source_side.NotMoved] = []
        self.lie = 0
        self._runs = 0
        self._voice_of_run: dict[tuple[Kind, int], int] = {}
        self._resume(0, Kind.OWN, ())

    # -- who acts ------------------------------------------------------------------------------------------------------

    def act(self, what: str) -> bool:
        """Whether there was anything to do."""
        match what:
            case "source takes" if self.inbox and self.source_is_up:
                self._do(self.source.take(self.inbox.popleft()))
            case "move" if self.source_is_up:
                self.inbox.append(source_side.Move())
            case "own speaks":
                return self._asked_speaks(Kind.OWN)
            case "elsewhere speaks":
                return self._asked_speaks(Kind.ELSEWHERE)
            case "target speaks":
                return self._target_speaks()
            case "target takes":
                return sum(self._target_takes(link) for link in self.links.values()) > 0
            case "to target":
                return sum(self._deliver_to_target(link) for link in self.links.values()) > 0
            case "to source":
                return sum(self._deliver_to_source(link) for link in self.links.values()) > 0
            case _:
                return False
        return True

    def harm(self, what: str) -> None:
        match what:
            case "own dies":
                self._engine_dies(Kind.OWN)
            case "elsewhere dies":
                self._engine_dies(Kind.ELSEWHERE)
            case "target's engine dies":
                self._engine_dies(Kind.TARGET)
            case "target dies":
                self.target_is_up = False
                self.engines[Kind.TARGET].die()
                self._cut(target_hears=False)
            case "link is cut":
                self._cut()
            case "client leaves":
                self.inbox.append(source_side.ClientLeft())
            case "source dies":
                self.source_is_up = False
                self.outcome = self.outcome or "broken"  # the connection was its own
                self.engines[Kind.OWN].die()
                self.engines[Kind.ELSEWHERE].runs.clear()
                self._cut(source_hears=False)
            case "target lies":
                self.lie += 1

    # -- the source ----------------------------------------------------------------------------------------------------

    def _do(self, actions: tuple[source_side.Action, ...]) -> None:
        for action in actions:
            match action:
                case source_side.Emit(chunks=chunks):
                    assert not self.outcome, "after the end"
                    self.got += chunks
                case source_side.Finish():
                    assert not self.outcome
                    self.outcome = "finished"
                case source_side.Break():
                    assert not self.outcome
                    self.outcome = "broken"
                case source_side.Moved() | source_side.NotMoved():
                    self.reports.append(action)
                case source_side.Resume(voice=voice, kind=kind, ids=ids):
                    self._resume(voice, kind, ids)
                case source_side.Silence(voice=voice):
                    self._silence(voice)
                case source_side.Link(voice=voice):
                    if self.target_is_up:
                        self.links[voice] = SimLink(voice, TargetSide(FULL))
                    else:
                        self.inbox.append(source_side.Failed(voice=voice, why="refused"))
                case source_side.Send(voice=voice, message=message):
                    link = self.links.get(voice)
                    if link and not (link.source_hung_up or link.target_knows):
                        link.to_target.append(line_of(message))

    def _resume(self, voice: int, kind: Kind, ids: tuple[int, ...]) -> None:
        self._runs += 1
        if self.engines[kind].ask(self._runs, self.body, ids):
            self._voice_of_run[kind, self._runs] = voice
        else:
            self.inbox.append(source_side.Failed(voice=voice, why="refused"))

    def _silence(self, voice: int) -> None:
        for (kind, run), owner in self._voice_of_run.items():
            if owner == voice:
                self.engines[kind].runs.pop(run, None)
        if link := self.links.get(voice):
            link.source_hung_up = True

    def _asked_speaks(self, kind: Kind) -> bool:
        engine = self.engines[kind]
        for run in tuple(engine.runs):
            said = engine.step(run)
            if said:
                ids, chunks, last = said
                voice = self._voice_of_run[kind, run]
                self.inbox.append(source_side.Spoke(voice=voice, ids=ids, chunks=chunks, last=last))
            return True
        return False

    def _engine_dies(self, kind: Kind) -> None:
        died = self.engines[kind].die()
        for run in died:
            if kind is not Kind.TARGET:
                self.inbox.append(source_side.Failed(voice=self._voice_of_run[kind, run], why="it died"))
        if kind is Kind.TARGET:
            for link in self.links.values():
                for own, run in link.runs.items():
                    if run in died:
                        link.inbox.append(target_side.Failed(run=own, why="it died"))

    # -- the link ------------------------------------------------------------------------------------------------------

    def _cut(self, *, source_hears: bool = True, target_hears: bool = True) -> None:
        for link in self.links.values():
            link.to_target.clear()
            link.to_source.clear()
            if source_hears and not link.source_knows:
                self.inbox.append(source_side.Failed(voice=link.voice, why="the link broke"))
            if target_hears and not link.target_knows:
                link.inbox.append(target_side.LinkLost())
            link.source_hung_up = link.target_hung_up = link.source_knows = link.target_knows = True

    def _deliver_to_target(self, link: SimLink) -> bool:
        if link.to_target:
            message = message_of(link.to_target.popleft())
            assert isinstance(message, FromSource)
            link.inbox.append(target_side.Came(message=message))
            return True
        if link.source_hung_up and not link.target_knows:
            link.target_knows = True
            link.inbox.append(target_side.LinkLost())
            return True
        return False

    def _deliver_to_source(self, link: SimLink) -> bool:
        if link.to_source:
            try:
                message = message_of(self._perhaps_a_lie(link.to_source.popleft()))
                assert isinstance(message, FromTarget)
                self.inbox.append(source_side.Heard(voice=link.voice, message=message))
            except Misunderstood as error:
                self.inbox.append(source_side.Failed(voice=link.voice, why=str(error)))
            return True
        if link.target_hung_up and not link.source_knows:
            link.source_knows = True
            self.inbox.append(source_side.Failed(voice=link.voice, why="it hung up"))
            return True
        return False

    def _perhaps_a_lie(self, line: bytes) -> bytes:
        if not self.lie:
            return line
        kind, self.lie = self.lie % 4, 0
        message = message_of(line)
        if kind == 1:
            return b'{"said": {"at": "here"}}\n'
        if isinstance(message, Warm):
            return line_of(Warm(count=message.count + 1))
        # What is said alone cannot be seen to be wrong; its place can.
        if isinstance(message, Said) and kind == 2 and self._is_compared(message):
            return line_of(replace(message, ids=tuple(each + 1 for each in message.ids)))
        if isinstance(message, Said):
            return line_of(replace(message, at=message.at + 1))
        return line

    def _is_compared(self, message: Said) -> bool:
        return self.source.phase is Phase.GOES and message.at + len(message.ids) <= len(self.source.said)

    # -- the target ----------------------------------------------------------------------------------------------------

    def _target_takes(self, link: SimLink) -> bool:
        if not (link.inbox and self.target_is_up):
            return False
        for action in link.side.take(link.inbox.popleft()):
            match action:
                case target_side.Say(message=message):
                    if not (link.target_hung_up or link.source_hung_up):
                        link.to_source.append(line_of(message))
                case target_side.HangUp():
                    link.target_hung_up = True
                case target_side.Ask(run=run, body=body, ids=ids, only_warms=only_warms):
                    self._runs += 1
                    if self.engines[Kind.TARGET].ask(self._runs, body, ids, only_warms=only_warms):
                        link.runs[run] = self._runs
                    else:
                        link.inbox.append(target_side.Failed(run=run, why="refused"))
                case target_side.StopAsking(run=run):
                    self.engines[Kind.TARGET].runs.pop(link.runs.get(run, 0), None)  # one that refused it has none
        return True

    def _target_speaks(self) -> bool:
        engine = self.engines[Kind.TARGET]
        owners = {run: (link, own) for link in self.links.values() for own, run in link.runs.items()}
        for run in tuple(engine.runs):
            link, own = owners[run]
            warms = engine.runs[run].only_warms
            said = engine.step(run)
            if said and warms:
                link.inbox.append(target_side.Warmed(run=own))
            elif said:
                ids, chunks, last = said
                link.inbox.append(target_side.Spoke(run=own, ids=ids, chunks=chunks, last=last))
            return True
        return False
