"""Which of Knative's settings its webhook refuses, and in which words."""

import json

import pytest

from knative_mig.dev.serving.settings import Settings, settings_of
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
        (
            "config-deployment",
            {"progress-deadline": "600"},
            'failed to parse "progress-deadline": time: missing unit in duration "600"',
        ),
        (
            "config-deployment",
            {"progress-deadline": "1h5min"},
            'failed to parse "progress-deadline": time: unknown unit "min" in duration "1h5min"',
        ),
    ],
)
def test_the_others(name: str, data: dict[str, str], said: str) -> None:
    assert wrong(name, data) == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"retain-since-create-time": "", "max-non-active-revisions": ""}, ""),
        ({"retain-since-create-time": "Disabled", "max-non-active-revisions": "DISABLED"}, ""),
        ({"min-non-active-revisions": "3000000000", "max-non-active-revisions": "3000000000"}, ""),
        ({"min-non-active-revisions": "-5"}, "min-non-active-revisions must be non-negative, was: -5"),
        (
            {"min-non-active-revisions": "few"},
            f'{UNREAD} "min-non-active-revisions": strconv.ParseInt: parsing "few": invalid syntax',
        ),
        (
            {"min-non-active-revisions": "9223372036854775808"},
            f'{UNREAD} "min-non-active-revisions": strconv.ParseInt: parsing "9223372036854775808": value out of range',
        ),
        (
            {"retain-since-create-time": "bogus"},
            'failed to parse retain-since-create-time: time: invalid duration "bogus"',
        ),
        (
            {"retain-since-last-active-time": "15"},
            'failed to parse retain-since-last-active-time: time: missing unit in duration "15"',
        ),
        ({"retain-since-create-time": "-1h"}, "failed to parse retain-since-create-time: must be non-negative"),
        (
            {"max-non-active-revisions": "banana"},
            'failed to parse max-non-active-revisions: strconv.ParseUint: parsing "banana": invalid syntax',
        ),
        (
            {"max-non-active-revisions": "-1"},
            'failed to parse max-non-active-revisions: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            {"max-non-active-revisions": "9223372036854775808"},
            "failed to parse max-non-active-revisions: value should be lower than 9223372036854775807",
        ),
        (
            {"min-non-active-revisions": "5", "max-non-active-revisions": "2"},
            "min-non-active-revisions(5) must be <= max-non-active-revisions(2)",
        ),
        (
            {"max-non-active-revisions": "2"},
            "min-non-active-revisions(20) must be <= max-non-active-revisions(2)",
        ),
        ({"min-non-active-revisions": "5", "max-non-active-revisions": "disabled"}, ""),
    ],
)
def test_how_long_revisions_are_kept(data: dict[str, str], said: str) -> None:
    assert wrong("config-gc", data) == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"default-external-scheme": "gopher", "external-domain-tls": "maybe", "mesh-compatibility-mode": "x"}, ""),
        (
            {"autocreate-cluster-domain-claims": "abc"},
            'failed to parse "autocreate-cluster-domain-claims": strconv.ParseBool: parsing "abc": invalid syntax',
        ),
        (
            {"rollout-duration": "5m"},
            'failed to parse "rollout-duration": strconv.ParseInt: parsing "5m": invalid syntax',
        ),
        ({"rollout-duration": "-1"}, "rollout-duration must be a positive integer, but was -1"),
        ({"rolloutDuration": "-2"}, "rollout-duration must be a positive integer, but was -2"),
        ({"rolloutDuration": "-2", "rollout-duration": "3"}, ""),
        ({"http-protocol": "Redirected", "system-internal-tls": "Enabled", "cluster-local-domain-tls": ""}, ""),
        ({"http-protocol": "spdy"}, "httpProtocol spdy in config-network ConfigMap is not supported"),
        (
            {"system-internal-tls": "yes"},
            'system-internal-tls with value: "yes" in config-network ConfigMap is not supported',
        ),
        (
            {"cluster-local-domain-tls": "yes"},
            'cluster-local-domain-tls with value: "yes" in config-network ConfigMap is not supported',
        ),
    ],
)
def test_the_networks(data: dict[str, str], said: str) -> None:
    assert wrong("config-network", data) == said


JSON = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"localhost": "", "_example": "anything"}, ""),
        ({"example.org": "selector:\n  app: prod\n  tier: 1\n", "example.com": "type: wildcard"}, ""),
        ({"example.org": "mine"}, f"{JSON} string into Go value of type config.domainInternalConfig"),
        ({"example.org": "[1]"}, f"{JSON} array into Go value of type config.domainInternalConfig"),
        (
            {"example.org": "selector: prod"},
            f"{JSON} string into Go struct field domainInternalConfig.selector of type map[string]string",
        ),
        ({"example.org": "selector: {"}, "error converting YAML to JSON: yaml: "),
    ],
)
def test_the_domains(data: dict[str, str], said: str) -> None:
    told = wrong("config-domain", data)
    assert told.startswith(said) if said.endswith(": ") else told == said
    assert "\n" not in told


def test_a_feature_may_be_set_to_anything_and_is_then_as_by_default() -> None:
    data = {"multi-container": "abc", "kubernetes.podspec-volumes-emptydir": "abc", "kubernetes.podspec-affinity": "1"}
    assert wrong("config-features", data) == ""
    features = settings_of({"config-features": data}).features
    assert features.is_on("multi-container")
    assert features.is_on("kubernetes.podspec-volumes-emptydir")
    assert features.is_off("kubernetes.podspec-affinity")


def test_what_is_disabled_is_so_in_any_case() -> None:
    off = {"retain-since-create-time": "Disabled", "max-non-active-revisions": "DISABLED"}
    retention = settings_of({"config-gc": off}).retention
    assert (retention.since_created_s, retention.most) == (None, None)


def test_the_answer_is_knatives() -> None:
    body = {"metadata": {"name": "config-autoscaler", "namespace": "knative-serving"}, "data": {"stable-window": "5s"}}
    assert is_config(body)
    review = {"request": {"uid": "u", "name": "config-autoscaler", "object": body}}
    answer = json.loads(Webhooks(Settings).validate_config(json.dumps(review).encode()))["response"]
    assert (answer["uid"], answer["allowed"]) == ("u", False)
    assert answer["status"]["message"].startswith("validation failed: stable-window = 5s")
