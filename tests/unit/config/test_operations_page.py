"""docs/operations.md names every metric, condition, reason and Event that the processes have."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from activator_hooks.source.__main__ import command as source
from activator_hooks.source.metrics import SourceMetrics
from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.core.agent.failed_pods import Why
from knative_mig.core.cluster.meters import Meters, Whose
from knative_mig.core.cluster.staleness import Outside
from knative_mig.core.events import OUTCOMES
from knative_mig.core.gpu_node import ConditionType, GpuHealth
from knative_mig.core.pending.asks import Rhythm
from knative_mig.core.pending.demand import Cause
from knative_mig.core.planner.decisions import Because
from reconfigurer.agent.gpu_loop import Kind
from reconfigurer.agent.happenings import _NOTES, _WARNINGS
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.planner.metrics import MeterCollector, PlannerMetrics

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()
AGENT = ROOT / "knative_mig" / "core" / "agent"


@pytest.mark.parametrize("metrics", [AgentMetrics, PlannerMetrics, SourceMetrics, WebhookMetrics])
def test_every_metric_has_its_row_with_its_labels_and_its_own_words(
    metrics: type[AgentMetrics] | type[PlannerMetrics] | type[SourceMetrics] | type[WebhookMetrics],
) -> None:
    registry = CollectorRegistry()
    metrics(registry)
    made = [each for each in registry._collector_to_names if isinstance(each, MetricWrapperBase)]
    assert made
    for each in made:
        name = f"{each._name}_total" if each._type == "counter" else each._name
        labels = ", ".join(f"`{label}`" for label in each._labelnames)
        assert f"| `{name}` | {labels} | {each._documentation} |" in PAGE


def test_every_meter_has_its_row() -> None:
    meters = MeterCollector()
    whose = Whose(namespace="n", service="s", profile="3g.20gb", state="Busy")
    meters.show(
        Meters(share_seconds={whose: 1.0}, fragmented_s={"3g.20gb": 1.0}, blocked_s={"3g.20gb": 1.0}, until=1.0)
    )
    for family in meters.collect():
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels)
        assert f"| `{family.name}_total` | {labels} | {family.documentation} |" in PAGE


def words_of(source: Path) -> set[str]:
    """The stable words of conditions and complaints, as the source gives them."""
    return set(re.findall(r'(?:_Word\(None, |reason=)"([A-Za-z]+)"', source.read_text()))


@pytest.mark.parametrize("source", ["report_conditions.py", "layout_change.py", "status.py"])
def test_every_reason_of_a_condition_is_explained(source: str) -> None:
    assert {word for word in words_of(AGENT / source) if f"`{word}`" not in PAGE} == set()


def test_conditions_and_healths_are_explained() -> None:
    assert all(f"| `{kind}` |" in PAGE for kind in ConditionType)
    assert all(f"`Gpu{health}`" in PAGE for health in GpuHealth if health is not GpuHealth.HEALTHY)


def test_every_event_is_explained() -> None:
    rejections = [Because.NO_SUCH_PROFILE, Because.NO_ELIGIBLE_NODE, Because.QUOTA_EXCEEDED, Because.NO_FREE_PLACE]
    reasons = {*Why, *rejections, Because.HELD_FOR_OLDER, Because.KEPT_FOR_BIGGER, Because.SOON_FREE}
    reasons |= {Because.NO_SPARE_SLICE, Because.REPLACES_REVISION}
    kinds = {kind for kind in Kind if kind in _WARNINGS | _NOTES}
    assert {reason for reason in reasons if f"`{reason}`" not in PAGE} == set()
    assert {kind for kind in kinds if f"`Slice{kind}`" not in PAGE} == set()


def test_every_reason_to_leave_a_node_out_is_explained() -> None:
    assert all(f"`{reason}`" in PAGE for reason in Outside)


def test_what_the_pending_source_can_be_told_is_there_and_its_pauses_are_as_the_page_says() -> None:
    rows = re.findall(r"`(K(?:NATIVE_MIG)?_[A-Z_]+)`", PAGE)
    own = ("again_s", "again_most_s", "retry_s", "retry_most_s", "token_file")
    understood = {str(each.envvar) for each in source.params if each.envvar} | {f"KNATIVE_MIG_{n.upper()}" for n in own}
    assert set(rows) == understood
    assert {each.name for each in source.params} >= {*own}
    rhythm = Rhythm()
    assert (rhythm.again_s, rhythm.again_most_s, rhythm.retry_s, rhythm.retry_most_s) == (2.0, 300.0, 0.1, 5.0)
    assert all(f"`{cause}`" in PAGE for cause in Cause)


def test_every_outcome_is_explained() -> None:
    assert all(f"| `{kind}` |" in PAGE for kind in OUTCOMES)
    assert all(f"`{word}`" in PAGE for word in ("SliceProvisioned", "SliceReleased", "pendingid", "migprofile"))
