"""Three relays, the links between them and four engines that tell stories, all simulated: a test says who acts next.

Nothing happens by itself: what an engine says waits until its relay takes it, what is sent waits in the link, and in
between anybody may die. An engine's next token depends on all that it was given and has said, and its text on all of
its tokens, so that who goes on from the wrong place says something else.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from services.relay import source_words, target_side
from services.relay.dialect import question
from services.relay.link_messages import FromSource, FromTarget, Misunderstood, Prompt, Said, Warm, line_of, message_of
from services.relay.resumable import Traits, Verdict, judged
from services.relay.source_side import Phase, SourceSide
from services.relay.source_words import Kind
from services.relay.stream_events import EngineStream, Envelope, Piece, in_envelope
from services.relay.target_side import TargetSide
from tests.rigs import vllm_model

CHAT = "/v1/chat/completions"
FULL = Traits(tells_tokens=True, resumes=True)
BY_PROMPT: Final = Traits(tells_tokens=True, resumes=False, longest=vllm_model.LONGEST)
ENVELOPE: Final = Envelope(id="the-first", created=5, model="m")
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


class Teller(Protocol):
    """An engine."""

    dead: bool

    @property
    def runs(self) -> Mapping[int, Any]:
        """By the number that they were asked by."""

    def ask(
        self,
        number: int,
        path: str,
        body: dict[str, Any],
        tokens: tuple[int, ...],
        *,
        prompt: tuple[int, ...] | None,
        only_warms: bool = False,
    ) -> bool:
        """Whether it takes that."""

    def step(self, number: int) -> Piece | None:
        """None: it is computing."""

    def prompt_of(self, number: int) -> tuple[int, ...] | None:
        """Where it tells that, and has."""

    def stop(self, number: int) -> None: ...


@dataclass(slots=True)
class StoryTeller:
    """`luck` other than 0: it draws by chance, and no other engine draws the same."""

    luck: int = 0
    caches: bool = True
    ends_apart: bool = False  # its last token and its end come one after the other
    dead: bool = False
    runs: dict[int, Run] = field(default_factory=dict)
    known: set[tuple[int, ...]] = field(default_factory=set)  # what it has keys and values of

    def ask(
        self,
        number: int,
        path: str,
        body: dict[str, Any],
        tokens: tuple[int, ...],
        *,
        prompt: tuple[int, ...] | None,
        only_warms: bool = False,
    ) -> bool:
        assert (path, prompt) == (CHAT, None)
        if self.dead or is_complete(body, tokens):
            return False
        cached = max((n for n in range(len(tokens), 0, -1) if tokens[:n] in self.known), default=0)
        uncached = len(body["prompt"]) * (not cached) + len(tokens) - cached
        self.runs[number] = Run(body, tokens, opens=not tokens, uncached=uncached, only_warms=only_warms)
        return True

    def step(self, number: int) -> Piece | None:
        run = self.runs[number]
        if run.uncached > CACHED_A_STEP:
            run.uncached -= CACHED_A_STEP
            return None
        if self.caches:
            self.known.add(run.tokens)
        run.uncached = 0
        if run.opens and not run.only_warms:
            run.opens = False
            return Piece(ids=(), chunks=("role",))
        if run.is_closing:
            del self.runs[number]
            return Piece(ids=(), chunks=(closing_of(run.tokens),), last=True)
        luck = self.luck and _number(self.luck, run.tokens)
        run.tokens = (*run.tokens, token_after(run.body, run.tokens, luck))
        text = text_of(run.tokens)
        last = is_complete(run.body, run.tokens) or run.only_warms
        if last and self.ends_apart and not run.only_warms:
            run.is_closing = True
            return Piece(ids=run.tokens[-1:], chunks=text)
        if last:
            del self.runs[number]
            return Piece(ids=run.tokens[-1:], chunks=(*text, closing_of(run.tokens)), last=True)
        return Piece(ids=run.tokens[-1:], chunks=text)

    def prompt_of(self, number: int) -> tuple[int, ...] | None:
        del number
        return None

    def stop(self, number: int) -> None:
        self.runs.pop(number, None)


@dataclass(slots=True)
class VllmRun:
    events: Iterator[str]
    stream: EngineStream
    only_warms: bool


@dataclass(slots=True)
class VllmTeller:
    """What is asked of it and what it answers goes through the relay's own words for it, chunk by chunk."""

    luck: int = 0
    dead: bool = False
    runs: dict[int, VllmRun] = field(default_factory=dict)

    def ask(
        self,
        number: int,
        path: str,
        body: dict[str, Any],
        tokens: tuple[int, ...],
        *,
        prompt: tuple[int, ...] | None,
        only_warms: bool = False,
    ) -> bool:
        what = question(path, body, tokens, BY_PROMPT, prompt=prompt, only_warms=only_warms)
        try:
            saying = vllm_model.Saying.of(
                what.path, json.loads(what.body), luck=self.luck and _number(self.luck, number), number=number
            )
        except vllm_model.Refused:
            return False
        if not self.dead:
            self.runs[number] = VllmRun(saying.events(), EngineStream(what.reading), only_warms)
        return not self.dead

    def step(self, number: int) -> Piece | None:
        run = self.runs[number]
        found = run.stream.feed(f"data: {next(run.events)}\n\n".encode())
        if run.stream.is_done:
            del self.runs[number]
        assert not run.stream.stuck
        for piece in found:
            return replace(piece, chunks=tuple(in_envelope(chunk, ENVELOPE) for chunk in piece.chunks))
        return None

    def prompt_of(self, number: int) -> tuple[int, ...] | None:
        return self.runs[number].stream.prompt if number in self.runs else None

    def stop(self, number: int) -> None:
        self.runs.pop(number, None)


def vllm_story_of(path: str, body: dict[str, Any]) -> tuple[str, ...]:
    """What the client of a vLLM that nothing happens to gets, with no relay before it."""
    return tuple(in_envelope(each, ENVELOPE) for each in vllm_model.Saying.of(path, body).events() if each != "[DONE]")


@dataclass(slots=True)
class SimTarget:
    """A replica that it may move to: its relay and its engine."""

    engine: Teller
    is_up: bool = True


@dataclass(slots=True)
class SimLink:
    """`hung_up` by an end: what it has sent before still arrives."""

    voice: int
    target: "SimTarget"
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
    def __init__(
        self,
        path: str,
        body: dict[str, Any],
        verdict: Verdict,
        *,
        engines: Mapping[Kind, Teller],
        targets: Mapping[str, Teller],
        traits: Traits,
    ) -> None:
        self.body = body
        self.repeats = verdict.repeats
        self.engines = engines
        self.traits = traits
        self.source = SourceSide(path, body, verdict)
        self.source_is_up = True
        self.targets = {name: SimTarget(teller) for name, teller in targets.items()}
        self.dials: deque[tuple[int, str]] = deque()  # on their way
        self._to = "first"  # where a link goes to
        self.inbox: deque[source_words.Event] = deque()
        self.links: dict[int, SimLink] = {}
        self.got: list[str] = []
        self.outcome = ""
        self.reports: list[source_words.Moved | source_words.NotMoved] = []
        self.lie = 0
        self._runs = 0
        self._knows_prompt = False
        self._told: set[int] = set()  # runs of targets that have told their prompt
        self.asked: list[tuple[Kind, tuple[int, ...]]] = []  # to go on from where
        self._voice_of_run: dict[tuple[Kind, int], int] = {}
        self._resume(self.source.begins)

    # -- who acts ------------------------------------------------------------------------------------------------------

    def act(self, what: str) -> bool:
        """Whether there was anything to do."""
        match what:
            case "source takes" if self.inbox and self.source_is_up:
                event = self.inbox.popleft()
                self._to = "second" if isinstance(event, source_words.Reached) else "first"
                self._do(self.source.take(event))
            case "move" if self.source_is_up:
                self.inbox.append(source_words.Move())
            case "move on":
                for link in self.links.values():
                    if link.target is self.targets["first"]:
                        link.inbox.append(target_side.Leaving(to="second"))
            case "dial" if self.dials and self.source_is_up:
                voice, to = self.dials.popleft()
                reached = self.targets[to].is_up
                self.inbox.append(
                    source_words.Reached(voice=voice) if reached else source_words.Unreached(voice=voice, why="away")
                )
            case "own speaks":
                return self._asked_speaks(Kind.OWN)
            case "elsewhere speaks":
                return self._asked_speaks(Kind.ELSEWHERE)
            case "target speaks":
                return self._target_speaks(self.targets["first"])
            case "second target speaks":
                return self._target_speaks(self.targets["second"])
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
                self._targets_engine_dies(self.targets["first"])
            case "second target's engine dies":
                self._targets_engine_dies(self.targets["second"])
            case "target dies":
                self._target_dies(self.targets["first"])
            case "second target dies":
                self._target_dies(self.targets["second"])
            case "link is cut":
                self._cut(*self.links.values())
            case "client leaves":
                self.inbox.append(source_words.ClientLeft())
            case "source dies":
                self.source_is_up = False
                self.outcome = self.outcome or "broken"  # the connection was its own
                _killed(self.engines[Kind.OWN])
                for run in tuple(self.engines[Kind.ELSEWHERE].runs):
                    self.engines[Kind.ELSEWHERE].stop(run)
                self._cut(*self.links.values(), source_hears=False)
            case "target lies":
                self.lie += 1

    # -- the source ----------------------------------------------------------------------------------------------------

    def _do(self, actions: tuple[source_words.Action, ...]) -> None:
        for action in actions:
            match action:
                case source_words.Emit(chunks=chunks):
                    assert not self.outcome, "after the end"
                    self.got += chunks
                case source_words.Finish():
                    assert not self.outcome
                    self.outcome = "finished"
                case source_words.Break():
                    assert not self.outcome
                    self.outcome = "broken"
                case source_words.Moved() | source_words.NotMoved():
                    self.reports.append(action)
                case source_words.Resume():
                    self._resume(action)
                case source_words.Silence(voice=voice):
                    self._silence(voice)
                case source_words.Dial(voice=voice, to=to):
                    self.dials.append((voice, to))
                case source_words.Link(voice=voice):
                    target = self.targets[self._to]
                    if target.is_up:
                        self.links[voice] = SimLink(voice, target, TargetSide(self.traits))
                    else:
                        self.inbox.append(source_words.Failed(voice=voice, why="refused"))
                case source_words.Send(voice=voice, message=message):
                    link = self.links.get(voice)
                    if link and not (link.source_hung_up or link.target_knows):
                        link.to_target.append(line_of(message))

    def _resume(self, how: source_words.Resume) -> None:
        self._runs += 1
        self.asked.append((how.kind, how.ids))
        if self.engines[how.kind].ask(self._runs, how.path, how.body, how.ids, prompt=how.prompt):
            self._voice_of_run[how.kind, self._runs] = how.voice
        else:
            self.inbox.append(source_words.Failed(voice=how.voice, why="refused"))

    def _silence(self, voice: int) -> None:
        for (kind, run), owner in self._voice_of_run.items():
            if owner == voice:
                self.engines[kind].stop(run)
        if link := self.links.get(voice):
            link.source_hung_up = True

    def _asked_speaks(self, kind: Kind) -> bool:
        engine = self.engines[kind]
        for run in tuple(engine.runs):
            said = engine.step(run)
            if (prompt := engine.prompt_of(run)) is not None and not self._knows_prompt:
                self._knows_prompt = True
                self.inbox.append(source_words.Tokenized(ids=prompt))
            if said:
                voice = self._voice_of_run[kind, run]
                self.inbox.append(
                    source_words.Spoke(voice=voice, ids=said.ids, chunks=said.chunks, last=said.last, whole=said.whole)
                )
            return True
        return False

    def _engine_dies(self, kind: Kind) -> None:
        for run in _killed(self.engines[kind]):
            self.inbox.append(source_words.Failed(voice=self._voice_of_run[kind, run], why="it died"))

    def _targets_engine_dies(self, target: SimTarget) -> None:
        died = _killed(target.engine)
        for link in self.links.values():
            for own, run in link.runs.items():
                if run in died:
                    link.inbox.append(target_side.Failed(run=own, why="it died"))

    def _target_dies(self, target: SimTarget) -> None:
        target.is_up = False
        _killed(target.engine)
        self._cut(*(link for link in self.links.values() if link.target is target), target_hears=False)

    # -- the link ------------------------------------------------------------------------------------------------------

    def _cut(self, *links: SimLink, source_hears: bool = True, target_hears: bool = True) -> None:
        for link in links:
            link.to_target.clear()
            link.to_source.clear()
            if source_hears and not link.source_knows:
                self.inbox.append(source_words.Failed(voice=link.voice, why="the link broke"))
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
                self.inbox.append(source_words.Heard(voice=link.voice, message=message))
            except Misunderstood as error:
                self.inbox.append(source_words.Failed(voice=link.voice, why=str(error)))
            return True
        if link.target_hung_up and not link.source_knows:
            link.source_knows = True
            self.inbox.append(source_words.Failed(voice=link.voice, why="it hung up"))
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
        if not (link.inbox and link.target.is_up):
            return False
        for action in link.side.take(link.inbox.popleft()):
            match action:
                case target_side.Say(message=message):
                    if not (link.target_hung_up or link.source_hung_up):
                        link.to_source.append(line_of(message))
                case target_side.HangUp():
                    link.target_hung_up = True
                case target_side.Ask():
                    self._runs += 1
                    if link.target.engine.ask(
                        self._runs,
                        action.path,
                        action.body,
                        action.ids,
                        prompt=action.prompt,
                        only_warms=action.only_warms,
                    ):
                        link.runs[action.run] = self._runs
                    else:
                        link.inbox.append(target_side.Failed(run=action.run, why="refused"))
                case target_side.StopAsking(run=run):
                    link.target.engine.stop(link.runs.get(run, 0))  # one that refused it has none
        return True

    def _target_speaks(self, target: SimTarget) -> bool:
        engine = target.engine
        owners = {run: (link, own) for link in self.links.values() for own, run in link.runs.items()}
        for run in tuple(engine.runs):
            link, own = owners[run]
            warms = engine.runs[run].only_warms
            said = engine.step(run)
            if (prompt := engine.prompt_of(run)) is not None and run not in self._told:
                self._told.add(run)
                link.inbox.append(target_side.Told(run=own, message=Prompt(ids=prompt)))
            if said and said.last and warms:
                link.inbox.append(target_side.Warmed(run=own))
            elif said and not warms:
                link.inbox.append(
                    target_side.Spoke(run=own, ids=said.ids, chunks=said.chunks, last=said.last, whole=said.whole)
                )
            return True
        return False


def _killed(engine: Teller) -> tuple[int, ...]:
    """What it was at."""
    engine.dead = True
    died = tuple(engine.runs)
    for run in died:
        engine.stop(run)
    return died


def story_world(body: dict[str, Any], *, repeats: bool, caches: bool, ends_apart: bool) -> World:
    """Of engines that take tokens as said."""
    own, elsewhere, first, second = (
        StoryTeller(luck=0 if repeats else n, caches=caches, ends_apart=ends_apart) for n in range(1, 5)
    )
    engines = {Kind.OWN: own, Kind.ELSEWHERE: elsewhere}
    return World(
        CHAT, body, Verdict(repeats=repeats), engines=engines, targets={"first": first, "second": second}, traits=FULL
    )


def vllm_world(path: str, body: dict[str, Any]) -> World:
    """Of engines that take them as a prompt's."""
    verdict = judged(path, body, BY_PROMPT)
    assert not verdict.why_not, verdict
    own, elsewhere, first, second = (VllmTeller(luck=n) for n in range(1, 5))
    engines = {Kind.OWN: own, Kind.ELSEWHERE: elsewhere}
    return World(path, body, verdict, engines=engines, targets={"first": first, "second": second}, traits=BY_PROMPT)
