"""Which of Knative's settings its webhook refuses, and in which words."""

import json

import pytest

from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.webhook.admission import Webhooks, is_config
from knative_mig.dev.serving.webhook.config_checks import wrong

UNREAD = "failed to parse data: failed to parse"
TARGET = "container-concurrency-target-percentage and container-concurrency-target-default"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, ""),
        ({"_example": "anything", "stable-window": "6s", "scale-to-zero-grace-period": "1s"}, ""),
        ({"stable-window": "5s"}, "stable-window = 5s, must be in [6s; 1h0m0s] range"),
        ({"stable-window": "61m30s"}, "stable-window = 1h1m30s, must be in [6s; 1h0m0s] range"),
        ({"stable-window": "6.5s"}, "stable-window = 6.5s, must be specified with at most second precision"),
        (
            {"stable-window": "abc"},
            f'{UNREAD} "stable-window": time: invalid duration "abc"',
        ),
        (
            {"enable-scale-to-zero": "maybe"},
            f'{UNREAD} "enable-scale-to-zero": strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ({"scale-to-zero-grace-period": "-500ms"}, "scale-to-zero-grace-period must be positive, was: -500ms"),
        ({"max-scale-up-rate": "0.5"}, "max-scale-up-rate = 0.5, must be greater than 1.0"),
        (
            {"container-concurrency-target-default": "0"},
            f"{TARGET} yield target concurrency of 0, can't be less than 0.01",
        ),
        (
            {"container-concurrency-target-percentage": "101"},
            "container-concurrency-target-percentage = 1.010000 is outside of valid range of (0, 100]",
        ),
        (
            {"target-burst-capacity": "-2"},
            "target-burst-capacity must be either non-negative or -1 (for unlimited), was: -2.000000",
        ),
        (
            {"initial-scale": "0"},
            "initial-scale = 0, must be at least 0 (or at least 1 when allow-zero-initial-scale is false)",
        ),
        ({"initial-scale": "0", "allow-zero-initial-scale": "true"}, ""),
        ({"max-scale": "5", "max-scale-limit": "3"}, "max-scale = 5, must be in [1, max-scale-limit(3)] range"),
        ({"min-scale": "5", "max-scale": "3"}, "min-scale (5) must be less than max-scale (3)"),
    ],
)
def test_the_autoscalers(data: dict[str, str], said: str) -> None:
    assert wrong("config-autoscaler", data) == said


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "config-defaults",
            {"revision-timeout-seconds": "5000"},
            "revision-timeout-seconds (5000) cannot be greater than max-revision-timeout-seconds (600)",
        ),
        ("config-defaults", {"container-concurrency": "-1"}, "expected 0 <= -1 <= 1000: container-concurrency"),
        (
            "config-deployment",
            {"progress-deadline": "0s"},
            "progress-deadline cannot be a non-positive duration, was 0s",
        ),
        ("config-deployment", {"default-affinity-type": "x"}, 'unsupported default-affinity-type value: "x"'),
        ("somebodys-own", {"stable-window": "5s"}, ""),
    ],
)
def test_the_others(name: str, data: dict[str, str], said: str) -> None:
    assert wrong(name, data) == said


def test_the_answer_is_knatives() -> None:
    body = {"metadata": {"name": "config-autoscaler", "namespace": "knative-serving"}, "data": {"stable-window": "5s"}}
    assert is_config(body)
    review = {"request": {"uid": "u", "name": "config-autoscaler", "object": body}}
    answer = json.loads(Webhooks(Settings).validate_config(json.dumps(review).encode()))["response"]
    assert (answer["uid"], answer["allowed"]) == ("u", False)
    assert answer["status"]["message"].startswith("validation failed: stable-window = 5s")
