"""How an engine is asked to go on from tokens, and how its answer is read as one to what the client asked.

Called by `conversation` and `arrival` before they ask; pure. An engine that resumes takes the tokens beside what was
asked. For one such as vLLM they are the end of a prompt of tokens, asked for as a completion, whatever the client asked
for: the limit is less by them, and so is what counts as the prompt. The subtle thing is where one may go on: vLLM's
text begins behind the prompt's last token, so half a character at the prompt's end is lost, or all of the text is told
again. Whoever calls gives tokens up to where the text was whole, and the rest is said again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.relay.link_messages import Prompt, Stuck
from services.relay.resumable import CHAT, COMPLETIONS, GO_ON, Traits, limit_of
from services.relay.stream_events import EngineStream, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an engine is asked, and how its answer is read."""

    path: str
    body: bytes
    reading: Reading


def question(
    path: str,
    body: Mapping[str, Any],
    ids: tuple[int, ...],
    engine: Traits,
    *,
    prompt: tuple[int, ...] | None = None,
    only_warms: bool = False,
) -> Question:
    """To go on from these tokens. `prompt`: the tokens of what was asked, as the engine that it was asked told them."""
    keeps = body.get("return_token_ids") is True
    if not engine.goes_on_by_prompt:
        return Question(path=path, body=_resumed(body, ids, only_warms=only_warms), reading=Reading(keeps_tokens=keeps))
    given: dict[str, Any] = {**body, "stream": True, "return_token_ids": True}
    limits = {"max_tokens": 1} if only_warms else {}
    if not ids:
        given = {**given, **limits}
        if only_warms:
            given.pop("max_completion_tokens", None)
        return Question(path=path, body=_written(given), reading=Reading(keeps_tokens=keeps, has_nulls=True))
    assert prompt is not None, "told with the first token, or it is stuck"
    kept = {name: value for name, value in given.items() if name in GO_ON and value is not None}
    longer = {"prompt": [*prompt, *ids], "max_tokens": _left(path, body, engine, len(prompt), len(ids)), **limits}
    reading = Reading(keeps_tokens=keeps, has_nulls=True, said_before=len(ids), as_chat=path == CHAT)
    return Question(
        path=COMPLETIONS,
        body=_written({**kept, **longer, "stream": True, "return_token_ids": True}),
        reading=reading,
    )


def told(stream: EngineStream, engine: Traits) -> tuple[Prompt | Stuck, ...]:
    """Of an answer from the beginning: what whoever goes on with it has to know."""
    if not engine.goes_on_by_prompt:
        return ()
    prompt = () if stream.prompt is None else (Prompt(ids=stream.prompt),)
    return (*prompt, *((Stuck(why=stream.stuck),) if stream.stuck else ()))


def _left(path: str, body: Mapping[str, Any], engine: Traits, prompt: int, said: int) -> int:
    """Of a limit that is reached nothing is left, which the engine refuses."""
    limit = limit_of(path, body)
    if limit is None:
        limit = (engine.longest or 0) - prompt
    return max(0, limit - said)


def _resumed(body: Mapping[str, Any], ids: tuple[int, ...], *, only_warms: bool) -> bytes:
    """Without any tokens it is asked from its beginning."""
    before = body.get("resume_token_ids") or ()  # of who has sent it on to here
    given = {**body, "stream": True, "return_token_ids": True}
    if said := [*before, *ids]:
        given["resume_token_ids"] = said
    if only_warms:
        given["only_warms"] = True
    return _written(given)


def _written(given: Mapping[str, Any]) -> bytes:
    return json.dumps(given).encode()
