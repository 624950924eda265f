"""What vLLM's pinned release streams for a completion or a chat, by a model without weights: pure, chunk by chunk.

Its next token depends on all tokens before, so who goes on from a wrong prompt is told another story. Its tokens are
bytes, and most characters are several: what a token says depends on those around it, and, as with the release, the
answer's text begins behind the prompt's last token, whole or not: the first chunk behind half a character repeats all
that came before. The forms are the release's own, with its nulls; two chunks differ only where its would.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MODEL: Final = "stub"
LONGEST: Final = 2048  # tokens, of prompt and answer
BEGINS, ENDS, SKIPPED = 256, 257, 258  # special tokens: none of them has a text
_HALF: Final = "\ufffd"
_LETTERS: Final = (*"abcdefgh ", "é", "ß", "語", "字", "🙂", "𝄞")
_COMPLETION, _CHAT = "/v1/completions", "/v1/chat/completions"


class Refused(Exception):
    """With a 400, before anything is streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """One generation; `luck` makes it a draw."""

    is_chat: bool
    prompt: tuple[int, ...]
    most: int  # tokens
    ignores_end: bool
    tells_tokens: bool
    tells_usage: bool
    tells_usage_each_time: bool
    luck: int
    id: str
    created: int

    @classmethod
    def of(cls, path: str, body: Mapping[str, Any], *, luck: int = 0, number: int = 0) -> "Saying":
        """Refused, as the release refuses it."""
        is_chat = path == _CHAT
        prompt = _prompt(body["messages"] if is_chat else body["prompt"], is_chat=is_chat)
        asked = body.get("max_completion_tokens") or body.get("max_tokens") if is_chat else body.get("max_tokens", 16)
        if asked is None and not is_chat:
            raise Refused("AssertionError")
        if asked is not None and not 1 <= asked <= LONGEST:
            raise Refused(f"max_tokens={asked} cannot be")
        if len(prompt) >= LONGEST:
            raise Refused("the prompt is longer than the context")
        options = body.get("stream_options") or {}
        return cls(
            is_chat=is_chat,
            prompt=prompt,
            most=min(LONGEST - len(prompt), asked or LONGEST),
            ignores_end=bool(body.get("ignore_eos")),
            tells_tokens=bool(body.get("return_token_ids")),
            tells_usage=bool(options.get("include_usage")),
            tells_usage_each_time=bool(options.get("continuous_usage_stats")),
            luck=0 if body.get("temperature") == 0 else luck,
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{number}",
            created=1_000_000 + number,
        )

    def events(self) -> Iterator[str]:
        """The data of each event, `[DONE]` too."""
        if self.is_chat:
            yield self._written(self._opening())
        said: tuple[int, ...] = ()
        text = Text(self.prompt)
        while True:
            token = next_token((*self.prompt, *said), self.luck)
            if token == ENDS and self.ignores_end:
                token = SKIPPED
            said += (token,)
            finish = "stop" if token == ENDS else "length" if len(said) == self.most else None
            yield self._written(self._chunk(said, text.step(token), finish))
            if finish:
                break
        if self.tells_usage:
            yield self._written({**self._head(), "choices": [], "usage": self._usage(len(said))})
        yield "[DONE]"

    def _opening(self) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        prompt = list(self.prompt) if self.tells_tokens else None
        usage = {"usage": self._usage(0)} if self.tells_usage_each_time else {}
        return {**self._head(), "choices": [choice], **usage, "prompt_token_ids": prompt, "prompt_text": None}

    def _chunk(self, said: tuple[int, ...], text: str, finish: str | None) -> dict[str, Any]:
        ids = [said[-1]] if self.tells_tokens else None
        if self.is_chat:
            choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
            choice |= {"stop_reason": None} if finish else {}
            choice |= {"token_ids": ids}
            choice |= {"weight_versions": None} if finish else {}
        else:
            prompt = list(self.prompt) if self.tells_tokens and len(said) == 1 else None
            choice = {
                "index": 0, "text": text, "logprobs": None, "finish_reason": finish, "stop_reason": None,
                "prompt_token_ids": prompt, "token_ids": ids, "weight_versions": None,
            }  # fmt: skip
        usage = {"usage": self._usage(len(said))} if self.tells_usage_each_time else {}
        return {**self._head(), "choices": [choice], **usage, "kv_transfer_params": None}

    def _head(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": MODEL}

    def _usage(self, said: int) -> dict[str, int]:
        prompt = len(self.prompt)
        return {"prompt_tokens": prompt, "total_tokens": prompt + said, "completion_tokens": said}

    @staticmethod
    def _written(chunk: dict[str, Any]) -> str:
        return json.dumps(chunk, separators=(",", ":"), ensure_ascii=False)


class Text:
    """What each token adds to the text, held back while a character is half said."""

    def __init__(self, prompt: tuple[int, ...]) -> None:
        self._ids = prompt
        before = decoded(prompt)
        self._told = 0 if before.endswith(_HALF) else len(before)

    def step(self, token: int) -> str:
        self._ids = (*self._ids, token)
        text = decoded(self._ids)
        if len(text) <= self._told or text.endswith(_HALF):
            return ""
        new, self._told = text[self._told :], len(text)
        return new


def decoded(ids: tuple[int, ...]) -> str:
    return bytes(each for each in ids if each < 256).decode(errors="replace")


def next_token(before: tuple[int, ...], luck: int = 0) -> int:
    """A half character is gone on with; else any."""
    number = int.from_bytes(hashlib.blake2b(repr((before, luck)).encode(), digest_size=4).digest(), "big")
    tail = bytes(reversed([*itertools.takewhile(lambda each: each < 256, reversed(before[-4:]))]))
    for count in range(1, len(tail) + 1):
        rests = [each.encode()[count:] for each in _LETTERS if each.encode().startswith(tail[-count:])]
        if (going_on := [rest for rest in rests if rest]) and not decoded(before[-count:]).isascii():
            return int(going_on[number % len(going_on)][0])
    if number % 29 == 0:
        return ENDS
    if number % 13 == 0:
        return SKIPPED
    return int(_LETTERS[number % len(_LETTERS)].encode()[0])


def _prompt(asked: Any, *, is_chat: bool) -> tuple[int, ...]:
    if is_chat:
        lines = "".join(f"<{each['role']}> {each['content']}\n" for each in asked)
        return (BEGINS, *f"{lines}<assistant> ".encode())
    if isinstance(asked, list) and asked and isinstance(asked[0], list):
        (asked,) = asked
    return (BEGINS, *asked.encode()) if isinstance(asked, str) else tuple(asked)
