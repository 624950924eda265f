"""Writes what a client of OpenAI's API gets: whole objects, or the chunks of a stream.

Called by `http_server` with the deltas as they come. One `Answer` for each request; it keeps what whole answers are
made of, and a stream's usage. The subtle thing is that a token may have no text yet (half a character, or what may
become a stop string): in a stream nothing is sent for it, unless its log probability is wanted.
"""

from collections.abc import Iterator
from typing import Any

from services.tiny_llm import tokenizer
from services.tiny_llm.generation import Asked, Delta
from services.tiny_llm.openai_request import Kind, Request
from services.tiny_llm.sampler import Drawn
from services.tiny_llm.text_stream import TextStream

_OBJECTS = {Kind.CHAT: ("chat.completion", "chat.completion.chunk"), Kind.COMPLETION: ("text_completion",) * 2}


class Answer:
    def __init__(self, request: Request, *, model: str, identity: str, created: int) -> None:
        self._request = request
        self._head = {
            "id": f"{'chatcmpl' if request.kind is Kind.CHAT else 'cmpl'}-{identity}",
            "created": created,
            "model": model,
        }
        self._texts = [[self._echo(number)] for number in range(len(request.asked))]
        self._drawn: list[list[Drawn]] = [[] for _ in request.asked]
        self._lengths = [
            len(texts[0]) + _length_out(asked) for texts, asked in zip(self._texts, request.asked, strict=True)
        ]
        self._offsets: list[list[int]] = [[] for _ in request.asked]  # where each token's text begins
        self._finish: list[str | None] = [None for _ in request.asked]

    @property
    def is_finished(self) -> bool:
        return None not in self._finish

    def take(self, number: int, delta: Delta) -> None:
        self._offsets[number].append(self._lengths[number])
        self._lengths[number] += len(delta.text)
        self._texts[number].append(delta.text)
        self._drawn[number].append(delta.drawn)
        self._finish[number] = delta.finish.value if delta.finish else None

    def whole(self) -> dict[str, Any]:
        choices = [self._choice(number) for number in range(len(self._texts))]
        return {**self._head, "object": _OBJECTS[self._request.kind][0], "choices": choices, "usage": self._usage()}

    # -- streamed ------------------------------------------------------------------------------------------------------

    def opening(self) -> Iterator[dict[str, Any]]:
        """Before there is any token. What is gone on with has had that."""
        if self._request.asked[0].said:
            return
        for number in range(len(self._request.asked)):
            if self._request.kind is Kind.CHAT:
                yield self._chunk(number, {"role": "assistant", "content": ""})
            elif echo := self._echo(number):
                yield self._chunk(number, echo)

    def chunks(self, number: int, delta: Delta) -> Iterator[dict[str, Any]]:
        """For a delta that has been taken."""
        finish = delta.finish.value if delta.finish else None
        logprobs = self._logprobs(number, latest_only=True)
        token = delta.drawn.token if self._request.tokens_told else None
        if self._request.kind is Kind.COMPLETION:
            if delta.text or logprobs or finish or token is not None:
                yield self._chunk(number, delta.text, logprobs, finish, token)
            return
        if delta.text or logprobs or token is not None:
            yield self._chunk(number, {"content": delta.text}, logprobs, None, token)
        if finish:
            yield self._chunk(number, {}, None, finish)

    def closing(self) -> Iterator[dict[str, Any]]:
        if self._request.usage_streamed:
            chunk = {**self._head, "object": _OBJECTS[self._request.kind][1], "choices": []}
            yield {**chunk, "usage": self._usage()}

    def _chunk(
        self,
        number: int,
        content: Any,
        logprobs: dict[str, Any] | None = None,
        finish: str | None = None,
        token: int | None = None,
    ) -> dict[str, Any]:
        name = "delta" if self._request.kind is Kind.CHAT else "text"
        choice = {"index": number, name: content, "logprobs": logprobs, "finish_reason": finish}
        if token is not None:
            choice["token_ids"] = [token]
            asked = self._request.asked[number]
            if len(self._drawn[number]) == 1 and not asked.said:
                choice["prompt_token_ids"] = list(asked.prompt)
        chunk = {**self._head, "object": _OBJECTS[self._request.kind][1], "choices": [choice]}
        return {**chunk, "usage": None} if self._request.usage_streamed else chunk

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _echo(self, number: int) -> str:
        return self._request.echoed[number // self._request.n] if self._request.echoed else ""

    def _choice(self, number: int) -> dict[str, Any]:
        text = "".join(self._texts[number])
        content: dict[str, Any] = {"text": text}
        if self._request.kind is Kind.CHAT:
            content = {"message": {"role": "assistant", "content": text, "refusal": None}}
        logprobs = self._logprobs(number)
        return {"index": number, **content, "logprobs": logprobs, "finish_reason": self._finish[number]}

    def _usage(self) -> dict[str, int]:
        prompt, completion = self._request.prompt_tokens, sum(map(len, self._drawn))
        completion += sum(len(each.said) for each in self._request.asked)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _logprobs(self, number: int, *, latest_only: bool = False) -> dict[str, Any] | None:
        if self._request.asked[number].sampling.logprobs is None:
            return None
        first = len(self._drawn[number]) - 1 if latest_only else 0
        drawn, offsets = self._drawn[number][first:], self._offsets[number][first:]
        if self._request.kind is Kind.CHAT:
            content = [
                {
                    **_named(each.token, each.logprob),
                    "top_logprobs": [_named(token, logprob) for token, logprob in each.alternatives],
                }
                for each in drawn
            ]
            return {"content": content, "refusal": None}
        return {
            "tokens": [tokenizer.shown(each.token) for each in drawn],
            "token_logprobs": [each.logprob for each in drawn],
            "top_logprobs": [
                {tokenizer.shown(token): logprob for token, logprob in each.alternatives} for each in drawn
            ],
            "text_offset": offsets,
        }


def _length_out(asked: Asked) -> int:
    """Characters that the client has of what was said before it came here."""
    stream = TextStream(asked.stops)
    return sum(len(stream.feed(token)) for token in asked.said)


def _named(token: int, logprob: float) -> dict[str, Any]:
    return {"token": tokenizer.shown(token), "logprob": logprob, "bytes": list(tokenizer.bytes_of([token])) or None}
