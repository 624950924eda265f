"""What a target says is an answer to what was asked, or it is not listened to."""

import json
from typing import Any

import pytest

from services.relay.link_messages import Misunderstood, Said
from services.relay.resumable import CHAT, COMPLETIONS, TINY_LLM, VLLM
from services.relay.said_check import check
from services.relay.stream_events import StreamBroken

BODY = {"max_tokens": 9}
VLLM_OF_9 = type(VLLM)(tells_tokens=True, resumes=False, longest=9)


def chunk(text: str = "a", finish: str | None = None, **more: Any) -> str:
    return json.dumps({"id": "x", "choices": [{"index": 0, "text": text, "finish_reason": finish, **more}]})


def of_a_chat(finish: str | None = None, **delta: Any) -> str:
    return json.dumps({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


USAGE = json.dumps({"id": "x", "choices": [], "usage": {"completion_tokens": 2}})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (COMPLETIONS, Said(at=7, ids=(1, 2), chunks=(chunk(),))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=())),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(chunk(), chunk("", "length"), USAGE), last=True)),
        (CHAT, Said(at=0, ids=(), chunks=(of_a_chat(role="assistant", content=""),))),
        (CHAT, Said(at=7, ids=(1,), chunks=(of_a_chat(content="a"), of_a_chat("stop"), USAGE), last=True)),
    ],
)
def test_what_an_engine_says_is_let_through(path: str, said: Said) -> None:
    check(said, path, BODY, TINY_LLM)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (COMPLETIONS, Said(at=7, ids=(1, 2, 3), chunks=(chunk(),))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(chunk(),), last=True)),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(), last=True)),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(chunk("a", "stop"),))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=("not JSON",))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=('{"error": {}}',))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(of_a_chat(content="a"),))),
        (COMPLETIONS, Said(at=7, ids=(1,), chunks=(chunk(index=1),))),
        (CHAT, Said(at=7, ids=(1,), chunks=(chunk(),))),
        (CHAT, Said(at=7, ids=(1,), chunks=(of_a_chat(content=5),))),
    ],
)
def test_what_none_would_say_is_not(path: str, said: Said) -> None:
    with pytest.raises((Misunderstood, StreamBroken)):
        check(said, path, BODY, TINY_LLM)


def test_a_chat_without_a_limit_is_no_longer_than_the_context() -> None:
    check(Said(at=8, ids=(1,), chunks=()), CHAT, {}, VLLM_OF_9)
    with pytest.raises(Misunderstood):
        check(Said(at=9, ids=(1,), chunks=()), CHAT, {}, VLLM_OF_9)
