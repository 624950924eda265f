"""Clients that talk to the tiny model all the time, each answer a stream of a minute, and what became of each.

Used by test_generations.py. All ask the same, so all must read the same, whichever replica says it, and however often
it changes in the middle. Two clients that begin half an answer apart have, at any time, an answer that has far to go.
"""

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.tiny_llm.capacity import Slice
from services.tiny_llm.settings import WEIGHTS
from tests.cluster.function import Function
from tests.cluster.waits import eventually
from tests.rigs.tiny_server import Client, served

PATH: Final = "/v1/chat/completions"
TOKENS: Final = 3000
QUESTION: Final[dict[str, Any]] = {
    "model": "tiny-llm",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": TOKENS,
    "temperature": 1.0,
    "seed": 7,
    "ignore_eos": True,
}
_PATIENCE_SECONDS: Final = 300.0


def right_answer() -> str:
    """As a server here says it, which nothing holds up."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), weights=WEIGHTS, slice=Slice()) as server:
        with Client(server) as client:
            _, _, body = client.call("POST", PATH, QUESTION)
        assert body["usage"]["completion_tokens"] == TOKENS
        return str(body["choices"][0]["message"]["content"])


@dataclass(slots=True, kw_only=True)
class Answer:
    """One stream; `trouble` where it is not what it should be."""

    status: int = 0
    text: str = ""
    chunks: int = 0
    ids: set[str] = field(default_factory=set)
    tokens: int = 0  # as its usage says
    longest_gap: float = 0.0
    is_done: bool = False
    trouble: str = ""

    @property
    def goes_on(self) -> bool:
        return self.chunks > 0 and not (self.is_done or self.trouble)


@dataclass(slots=True, kw_only=True)
class Conversations:
    function: Function
    answers: list[Answer] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _clients: list[threading.Thread] = field(default_factory=list)

    def begin(self, *, after: int = 0) -> None:
        """Another client, which waits until a stream has come so far."""
        if after:
            eventually(
                f"a stream has {after} chunks", lambda: max((each.chunks for each in self.answers), default=0),
                lambda chunks: chunks >= after, seconds=_PATIENCE_SECONDS,
            )  # fmt: skip
        thread = threading.Thread(target=self._talk, daemon=True)
        thread.start()
        self._clients.append(thread)

    def under_way(self) -> list[Answer]:
        return [each for each in self.answers if each.goes_on]

    def end(self) -> None:
        """When each has its last answer."""
        self._over.set()
        for client in self._clients:
            client.join(_PATIENCE_SECONDS)
            assert not client.is_alive(), self.answers[-1]

    def _talk(self) -> None:
        while not self._over.is_set():
            answer = Answer()
            self.answers.append(answer)
            try:
                self._ask(answer)
            except (OSError, http.client.HTTPException, ValueError) as error:
                answer.trouble = repr(error)
            if answer.trouble:
                return

    def _ask(self, answer: Answer) -> None:
        address, _, port = self.function.gateway.partition(":")
        connection = http.client.HTTPConnection(address, int(port or 80), timeout=_PATIENCE_SECONDS)
        with closing(connection):
            asked = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
            headers = {"Host": self.function.host, "Content-Type": "application/json"}
            connection.request("POST", PATH, json.dumps(asked), headers)
            told = connection.getresponse()
            answer.status = told.status
            heard_at = time.monotonic()
            for line in told:
                if not line.startswith(b"data: "):
                    continue
                if answer.chunks:
                    answer.longest_gap = max(answer.longest_gap, time.monotonic() - heard_at)
                heard_at = time.monotonic()
                if line.strip() == b"data: [DONE]":
                    answer.is_done = True
                    break
                self._note(answer, json.loads(line[6:]))
            if not answer.is_done:
                answer.trouble = answer.trouble or f"{answer.status}, and it broke off after {answer.chunks} chunks"

    @staticmethod
    def _note(answer: Answer, chunk: Any) -> None:
        if "error" in chunk:
            answer.trouble = str(chunk["error"])
            return
        answer.chunks += 1
        answer.ids.add(chunk["id"])
        if chunk.get("usage"):
            answer.tokens = chunk["usage"]["completion_tokens"]
        for choice in chunk["choices"]:
            answer.text += choice["delta"].get("content") or ""


@contextmanager
def talking_to(function: Function) -> Iterator[Conversations]:
    conversations = Conversations(function=function)
    try:
        yield conversations
    finally:
        conversations.end()
