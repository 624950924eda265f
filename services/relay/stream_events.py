"""An engine's stream of server-sent events as tokens, and as what its client gets of it.

Called for each piece that comes from an engine, on the thread that serves the client; one `EngineStream` for each
answer. The engine was asked to tell its tokens, the client perhaps not: what only tells tokens is taken out again. The
subtle thing is the end: from the chunk that says why it finished on, all is held until `[DONE]`, so that an end comes
whole or not at all, and an engine that dies in between has not said its last token yet. Of an engine that cannot take
tokens as said, the answer is also looked at for what nobody could go on with: `stuck`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.core.errors import KnativeMigError
from services.relay.chunk_forms import as_of_a_chat, count_as_said, shows, shows_null, text_of, why_stuck

_MOST_HELD: Final = 8 * 1024 * 1024  # bytes of one event
DONE: Final = b"data: [DONE]\n\n"
# By whether there are spaces, and nothing but ASCII: one is made once, as each token is written by it.
_ENCODERS: Final = {
    (spaced, ascii_only): json.JSONEncoder(separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=ascii_only)
    for spaced in (True, False)
    for ascii_only in (True, False)
}


class StreamBroken(KnativeMigError):
    """What came is no stream of a completion, or says that it failed."""

    reason = "StreamBroken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What comes at once: tokens, and the chunks that a client gets for them.

    Not `whole`: the tokens may be half a character, or more than half, whose text is still to come.
    """

    ids: tuple[int, ...]
    chunks: tuple[str, ...]
    last: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an engine's chunks become chunks of the answer to what the client asked."""

    keeps_tokens: bool = False  # the client has asked for them itself
    has_nulls: bool = False  # what it did not ask for is there all the same, and null; and so is a token without a text
    said_before: int = 0  # tokens of the answer, which the engine counts as its prompt's
    as_chat: bool = False  # the engine was asked for a completion, and the client for a chat

    @property
    def leaves_chunks(self) -> bool:
        """The client gets them as they come."""
        return self.keeps_tokens and not self.said_before and not self.as_chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """By what a client knows that chunks are of one answer. Whoever goes on with it writes the same."""

    id: str
    created: int
    model: str

    @classmethod
    def of(cls, chunk: Mapping[str, Any]) -> "Envelope":
        return cls(id=chunk.get("id", ""), created=chunk.get("created", 0), model=chunk.get("model", ""))


class EngineStream:
    def __init__(self, reading: Reading | None = None) -> None:
        self.envelope: Envelope | None = None  # of the first chunk
        self.prompt: tuple[int, ...] | None = None  # its tokens, where the engine tells them
        self.stuck = ""  # why nobody could go on with it
        self._reading = reading or Reading()
        self._unread = b""
        self._closing: list[str] = []
        self._closing_ids: tuple[int, ...] = ()
        self._finished = False
        self.is_done = False

    def feed(self, data: bytes) -> list[Piece]:
        """StreamBroken: and what came before it in the same data is lost, as if it had not come."""
        *events, self._unread = (self._unread + data.replace(b"\r\n", b"\n")).split(b"\n\n")
        if len(self._unread) > _MOST_HELD:
            raise StreamBroken("the engine's event does not end")
        return [piece for event in events if (piece := self._piece(event)) is not None]

    def _piece(self, event: bytes) -> Piece | None:
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(lines)  # a comment, or an event without data, is no chunk
        if not data or self.is_done:
            return None
        if data == b"[DONE]":
            self.is_done = True
            if not self._finished:
                raise StreamBroken("the engine's stream ends without a reason")
            return Piece(ids=self._closing_ids, chunks=tuple(self._closing), last=True)
        reading, came = self._reading, _text_of(data)
        chunk = chunk_of(came)
        ids = self._taken_out(chunk)
        if reading.has_nulls and not reading.said_before:
            self.stuck = self.stuck or why_stuck(chunk, ids, knows_prompt=self.prompt is not None)
        if reading.said_before:
            count_as_said(chunk, reading.said_before)
        if reading.as_chat:
            chunk = as_of_a_chat(chunk)
        choices = chunk["choices"]
        says = not ids or reading.keeps_tokens or any(map(shows_null if reading.has_nulls else shows, choices))
        as_it_came = reading.leaves_chunks and came.isprintable()  # one that is written in two lines is not
        text = (came if as_it_came else written(chunk, like=came),) if says else ()
        if any(choice.get("finish_reason") for choice in choices):
            self._finished = True
        if self._finished:
            self._closing += text
            self._closing_ids += ids
            return None
        return Piece(ids=ids, chunks=text, whole=not reading.has_nulls or any(map(text_of, choices)))

    def _taken_out(self, chunk: dict[str, Any]) -> tuple[int, ...]:
        """The tokens, and out of the chunk where the client has not asked for them."""
        if self.envelope is None:
            self.envelope = Envelope.of(chunk)
        ids: tuple[int, ...] = ()
        for holder in (chunk, *chunk["choices"]):
            if isinstance(prompt := holder.get("prompt_token_ids"), list):
                self.prompt = tuple(prompt)
                if self._reading.said_before:
                    holder["prompt_token_ids"] = None  # the client was told its own before
            if isinstance(tokens := holder.get("token_ids"), list):
                ids += tuple(tokens)
            if not self._reading.keeps_tokens:
                self._leave_out(holder)
        return ids

    def _leave_out(self, holder: dict[str, Any]) -> None:
        for name in ("prompt_token_ids", "token_ids"):
            if self._reading.has_nulls and name in holder:
                holder[name] = None
            else:
                holder.pop(name, None)


def _text_of(data: bytes) -> str:
    """StreamBroken: it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise StreamBroken("the engine sent an event that is no text") from None


def chunk_of(text: str) -> dict[str, Any]:
    """StreamBroken: it is none."""
    try:
        chunk = json.loads(text)
    except (ValueError, RecursionError):
        raise StreamBroken("the engine sent an event that is no JSON") from None
    if isinstance(chunk, dict) and "error" in chunk:
        raise StreamBroken(f"the engine failed: {json.dumps(chunk['error'])[:256]}")
    if not (
        isinstance(chunk, dict)
        and isinstance(choices := chunk.get("choices"), list)
        and all(isinstance(choice, dict) for choice in choices)
    ):
        raise StreamBroken("the engine sent an event that is no chunk")
    return chunk


def written(chunk: dict[str, Any], *, like: str) -> str:
    """In the way of the engine: with spaces or without, and with characters beyond ASCII as they are or spelt out."""
    return _ENCODERS['": ' in like[:64], like.isascii()].encode(chunk)


def envelope_of(text: str) -> Envelope:
    """StreamBroken: it is no chunk."""
    return Envelope.of(chunk_of(text))


def in_envelope(text: str, envelope: Envelope) -> str:
    """Another engine's chunk as one of the answer that the client is reading. StreamBroken: it is no chunk."""
    chunk = chunk_of(text)
    for name, value in (("id", envelope.id), ("created", envelope.created), ("model", envelope.model)):
        if name in chunk:
            chunk[name] = value
    return written(chunk, like=text)


def event_of(chunk: str) -> bytes:
    return b"data: " + chunk.encode() + b"\n\n"
