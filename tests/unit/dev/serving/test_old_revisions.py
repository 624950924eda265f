"""Which Revisions are collected, and which are kept for a rollback."""

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.serving import old_revisions
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    CONFIGURATION_LABEL,
    ROUTING_SINCE,
    ROUTING_STATE,
    Object,
    Seen,
)
from knative_mig.dev.serving.settings import Retention, Settings, settings_of
from knative_mig.dev.serving.writes import Decided
from knative_mig.ports.kube import Key

NOW = 1_800_000_000.0
HOUR = 3600.0


def revision(number: int, *, age_h: float, idle_h: float, state: str = "reserve", **notes: str) -> Object:
    return {
        "metadata": {
            "name": f"llm-{number:05d}",
            "namespace": "default",
            "uid": str(number),
            "creationTimestamp": time_text(NOW - age_h * HOUR),
            "labels": {CONFIGURATION_LABEL: "llm", ROUTING_STATE: state},
            "annotations": {ROUTING_SINCE: time_text(NOW - idle_h * HOUR), **notes},
        }
    }


def decided(*revisions: Object, retention: Retention, ready: str = "") -> Decided:
    configuration = {"metadata": {"name": "llm", "namespace": "default"}, "status": {"latestReadyRevisionName": ready}}
    key = Key("default", "llm")
    found = {Key("default", each["metadata"]["name"]): each for each in revisions}
    objects = {CONFIGURATION: {key: configuration}, REVISION: found}
    return old_revisions.decide(Seen(objects=objects, now=NOW, settings=Settings(retention=retention)), key)


def deleted(*revisions: Object, retention: Retention = Retention(least=1), ready: str = "") -> list[str]:  # noqa: B008
    return [write.key.name for write in decided(*revisions, retention=retention, ready=ready).writes]  # type: ignore[union-attr]


def test_what_is_old_and_long_idle_goes_but_for_the_least_that_are_kept() -> None:
    old = [revision(number, age_h=60, idle_h=20 - number) for number in (1, 2, 3)]
    assert deleted(*old) == ["llm-00001", "llm-00002"]
    assert deleted(*old, retention=Retention()) == []


def test_neither_age_nor_idleness_alone_is_enough() -> None:
    keep = [revision(1, age_h=60, idle_h=10), revision(2, age_h=40, idle_h=30), revision(3, age_h=1, idle_h=1)]
    assert deleted(*keep) == []
    assert decided(*keep, retention=Retention(least=1)).look_again_s == 5 * HOUR


def test_what_serves_is_latest_or_is_marked_is_never_collected() -> None:
    marked = revision(3, age_h=90, idle_h=90)
    marked["metadata"]["annotations"]["serving.knative.dev/no-gc"] = "True"
    every = [
        revision(1, age_h=90, idle_h=90, state="active"),
        revision(2, age_h=90, idle_h=90),
        marked,
        revision(4, age_h=90, idle_h=90, state="pending"),
    ]
    assert deleted(*every, retention=Retention(least=0), ready="llm-00002") == []


def test_beyond_the_most_that_are_kept_the_longest_idle_go() -> None:
    young = [revision(number, age_h=1, idle_h=number / 10) for number in (1, 2, 3, 4)]
    assert deleted(*young, retention=Retention(least=1, most=2)) == ["llm-00004", "llm-00003"]


def test_the_cluster_may_keep_all() -> None:
    off = {"retain-since-create-time": "disabled", "retain-since-last-active-time": "disabled"}
    settings = settings_of({"config-gc": {**off, "max-non-active-revisions": "disabled"}})
    old = [revision(number, age_h=900, idle_h=900) for number in range(30)]
    assert deleted(*old, retention=settings.retention) == []
    assert settings_of({}).retention == Retention(
        since_created_s=48 * HOUR, since_active_s=15 * HOUR, least=20, most=1000
    )
