"""What applies to a revision: annotations before ConfigMaps, Knative's own defaults before nothing."""

from typing import Any

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.kpa.cluster import Cluster, cluster_of
from knative_mig.core.kpa.settings import Averaging, Metric, Settings, settings_of


def of(cluster: Cluster | None = None, concurrency: int = 0, **annotations: str) -> Settings:
    words = {f"autoscaling.knative.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return settings_of(words, container_concurrency=concurrency, cluster=cluster)


def test_a_function_without_any_has_knatives_defaults() -> None:
    settings = of()
    assert (settings.target, settings.total, settings.burst) == (70.0, 100.0, 211.0)
    assert (settings.stable_window_s, settings.panic_window_s, settings.panic_threshold) == (60, 6, 2.0)
    assert (settings.min_scale, settings.max_scale, settings.initial_scale) == (0, 0, 1)
    assert (settings.metric, settings.averaging) == (Metric.CONCURRENCY, Averaging.LINEAR)
    assert (settings.grace_s, settings.retention_s, settings.give_up_after_s) == (30, 0, 630)
    assert settings.scale_to_zero
    assert settings.scraped


@pytest.mark.parametrize(
    ("concurrency", "annotations", "target", "total"),
    [
        pytest.param(8, {}, 5.6, 8, id="what the container takes"),
        pytest.param(8, {"target": "4"}, 2.8, 4, id="less than the container takes"),
        pytest.param(8, {"target": "20"}, 5.6, 8, id="never more than it takes"),
        pytest.param(0, {"target": "20"}, 14, 20, id="a container without a limit"),
        pytest.param(8, {"target_utilization_percentage": "100"}, 8, 8, id="all of it"),
        pytest.param(1, {"target": "0.01"}, 0.01, 0.01, id="there is a least target"),
        pytest.param(8, {"metric": "rps"}, 140, 200, id="requests, whatever the container takes"),
        pytest.param(8, {"metric": "rps", "target": "10"}, 7, 10, id="requests by annotation"),
        pytest.param(8, {"metric": "cpu"}, 5.6, 8, id="what it does not know is concurrency"),
    ],
)
def test_the_target_of_a_pod(concurrency: int, annotations: dict[str, Any], target: float, total: float) -> None:
    settings = of(concurrency=concurrency, **annotations)
    assert settings.target == pytest.approx(target)
    assert settings.total == total


@pytest.mark.parametrize(
    ("window", "percentage", "panic_s"),
    [("60s", "10", 6), ("6s", "10", 1), ("6s", "1", 1), ("25s", "10", 3), ("24s", "10", 2), ("1m", "100", 60)],
)
def test_the_panic_window_is_a_part_in_whole_seconds(window: str, percentage: str, panic_s: int) -> None:
    assert of(window=window, panic_window_percentage=percentage).panic_window_s == panic_s


def test_always_by_the_activator_means_that_pods_are_not_asked() -> None:
    assert not of(target_burst_capacity="-1").scraped
    assert of(target_burst_capacity="0").scraped


@pytest.mark.parametrize("name", ["weighted-exponential", "weightedExponential"])
def test_weights_by_either_name(name: str) -> None:
    assert of(metric_aggregation_algorithm=name).averaging is Averaging.WEIGHTED


def test_of_two_spellings_the_newer_counts() -> None:
    words = {"autoscaling.knative.dev/minScale": "1", "autoscaling.knative.dev/min-scale": "2"}
    assert settings_of(words).min_scale == 2
    assert settings_of({"autoscaling.knative.dev/minScale": "1"}).min_scale == 1


@pytest.mark.parametrize("text", ["two", "", "1.5", "99999999999", " 2"])
def test_an_annotation_that_is_no_number_is_not_there(text: str) -> None:
    assert of(Cluster(min_scale=3), min_scale=text).min_scale == 3


def test_nothing_keeps_a_pod_of_a_revision_that_no_route_leads_to() -> None:
    words = {"min-scale": "2", "max-scale": "5", "scale-to-zero-pod-retention-period": "1m"}
    settings = settings_of({f"autoscaling.knative.dev/{key}": text for key, text in words.items()}, reachable=False)
    assert (settings.min_scale, settings.max_scale, settings.retention_s) == (0, 5, 0)


@pytest.mark.parametrize(("allowed", "initial"), [(True, 0), (False, 1)])
def test_a_revision_may_begin_at_zero_where_the_cluster_says_so(*, allowed: bool, initial: int) -> None:
    assert of(Cluster(allow_zero_initial_scale=allowed), initial_scale="0").initial_scale == initial


def test_a_revision_is_given_up_half_a_minute_after_its_own_deadline() -> None:
    assert settings_of({"serving.knative.dev/progress-deadline": "20m"}).give_up_after_s == 1230
    assert of(Cluster(progress_deadline_s=60)).give_up_after_s == 90


# -- the cluster's own -------------------------------------------------------------------------------------------------


def test_configmaps_say_what_applies_to_all() -> None:
    cluster = cluster_of(
        {
            "stable-window": "2m",
            "enable-scale-to-zero": "false",
            "container-concurrency-target-percentage": "80",
            "max-scale": "7",
            "something-else": "is none of ours",
        },
        {"progress-deadline": "5m"},
    )
    assert (cluster.stable_window_s, cluster.enable_scale_to_zero, cluster.max_scale) == (120, False, 7)
    assert (cluster.utilization, cluster.progress_deadline_s) == (0.8, 300)
    assert cluster.grace_s == Cluster().grace_s


def test_a_share_may_be_written_as_a_share() -> None:
    assert cluster_of({"container-concurrency-target-percentage": "0.8"}).utilization == 0.8
    assert cluster_of({"container-concurrency-target-percentage": "1"}).utilization == 1


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("stable-window", "60", "duration"),
        ("enable-scale-to-zero", "yes", "truth"),
        ("max-scale", "1.5", "whole number"),
        ("max-scale-up-rate", "fast", "number"),
    ],
)
def test_what_is_wrong_in_a_configmap_is_said(key: str, text: str, kind: str) -> None:
    with pytest.raises(BadInput, match=f"^config-autoscaler: {key} is '{text}', which is no {kind}$"):
        cluster_of({key: text})
