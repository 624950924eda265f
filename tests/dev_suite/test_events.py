"""An event by a Broker wakes a function at zero, and what it answers is an event to the next one. Made by kn."""

import json
from collections.abc import Callable

import pytest

from tests.cluster.function import Function
from tests.cluster.waits import eventually
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK, TINY

_ASKED, _ANSWERED = "com.example.asked", "dev.knative-mig.completion.finished.v1"


@pytest.mark.long
def test_an_event_wakes_a_function_and_its_reply_the_next_one(
    kn: Client, kubectl: Client, handle: Callable[[str], Function], curl: Callable[..., str]
) -> None:
    kn("broker", "create", "default")
    kn("service", "create", "tiny", *TINY, "--limit", "nvidia.com/mig-1g.5gb=1", "--timeout", "60")
    kn("service", "create", "listener", *QUICK)
    kn("trigger", "create", "ask", "--filter", f"type={_ASKED}", "--sink", "ksvc:tiny")
    kn("trigger", "create", "hear", "--filter", f"type={_ANSWERED}", "--sink", "ksvc:listener")
    eventually("both are Ready", lambda: kn("trigger", "list"), lambda listed: listed.count("True") == 2)
    handle("tiny").wait_zero()
    handle("listener").wait_zero()

    url = kubectl("get", "broker", "default", "--output", "jsonpath={.status.address.url}")
    event = {"specversion": "1.0", "id": "question-1", "source": "/tests", "type": _ASKED}
    headers = [word for name, value in event.items() for word in ("--header", f"ce-{name}: {value}")]
    question = json.dumps({"model": "tiny-llm", "prompt": "Once upon a time", "max_tokens": 8})
    said = curl("--json", question, *headers, "--write-out", "%{http_code}", url)
    assert said == "202"
    eventually(
        "its answer has come as an event",
        lambda: kubectl("logs", "--selector", "serving.knative.dev/service=listener"),
        lambda log: f"POST / event {_ANSWERED}" in log,
    )
