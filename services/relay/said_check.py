"""Whether what a target says could be an answer to what was asked: the same is asked of it as of the own engine.

Called by `conversation` for each `said`, before anything is made of it; pure. What is in the text cannot be checked
here, as no relay knows the tokens' text: that is compared while both engines speak.
"""

from collections.abc import Mapping
from typing import Any

from services.relay.link_messages import Misunderstood, Said
from services.relay.resumable import CHAT, Traits, limit_of
from services.relay.stream_events import chunk_of


def check(said: Said, path: str, body: Mapping[str, Any], engine: Traits) -> None:
    """Misunderstood, StreamBroken: it could not."""
    limit = limit_of(path, body)
    limit = engine.longest if limit is None else limit
    if limit is not None and said.at + len(said.ids) > limit:
        raise Misunderstood("it says more tokens than were asked for")
    has_finished = False
    for text in said.chunks:
        for choice in (choices := chunk_of(text)["choices"]):
            if len(choices) > 1 or choice.get("index", 0) != 0 or not _says_text(choice, path):
                raise Misunderstood("it says a chunk that does not answer what was asked")
            has_finished = has_finished or isinstance(choice.get("finish_reason"), str)
    if has_finished != said.last:
        raise Misunderstood("it ends without a reason" if said.last else "it goes on behind its end")


def _says_text(choice: Mapping[str, Any], path: str) -> bool:
    if path != CHAT:
        return isinstance(choice.get("text"), str)
    delta = choice.get("delta")
    return isinstance(delta, dict) and isinstance(delta.get("content", ""), str | None)
