"""OpenAI's own client on a function of `dev`: an answer, a stream that comes as it is said, and errors it knows."""

import time
from collections.abc import Callable
from itertools import pairwise

import openai
import pytest

from tests.cluster.function import Function
from tests.dev.client import Client
from tests.dev_suite.conftest import TINY

_TOKENS = 300
_TRIES = 5


def test_a_function_is_asked_by_openais_client(kn: Client, handle: Callable[[str], Function]) -> None:
    kn("service", "create", "tiny", *TINY, "--limit", "nvidia.com/mig-1g.5gb=1", "--timeout", "60", "--no-wait")
    tiny = handle("tiny").wait_ready()
    with openai.OpenAI(
        base_url=f"http://{tiny.gateway}/v1", api_key="none", max_retries=0, default_headers={"Host": tiny.host}
    ) as client:
        assert [model.id for model in client.models.list()] == ["tiny-llm"]
        told = client.chat.completions.create(
            model="tiny-llm", messages=[{"role": "user", "content": "What colour is snow?"}], temperature=0
        )
        assert "white" in str(told.choices[0].message.content)

        # Held back anywhere on its way, all of it would come at once, each time. A machine that is busy elsewhere for
        # hundredths of a second, half of what a stream takes here, looks like that once.
        assert any(_comes_as_it_is_said(client) for _ in range(_TRIES))

        with pytest.raises(openai.NotFoundError, match="other"):
            client.completions.create(model="other", prompt="Once")


def _comes_as_it_is_said(client: openai.OpenAI) -> bool:
    asked = time.monotonic()
    came = [
        time.monotonic() - asked
        for chunk in client.completions.create(
            model="tiny-llm", prompt="Once", max_tokens=_TOKENS, stream=True, extra_body={"ignore_eos": True}
        )
        if chunk.choices and chunk.choices[0].text
    ]
    assert len(came) > _TOKENS / 2
    longest = max(later - earlier for earlier, later in pairwise(came))
    return max(came[0], longest) < came[-1] / 2
