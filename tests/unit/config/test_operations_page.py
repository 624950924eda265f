"""docs/operations.md names every metric, condition, reason and Event that the processes have."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from activator_hooks.source.__main__ import command as source
from activator_hooks.source.metrics import SourceMetrics
from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.core.admission.choice import Why as Chosen
from knative_mig.core.agent.failed_pods import Why
from knative_mig.core.cluster.meters import Meters, Whose
from knative_mig.core.cluster.slice_condition import GIVEN, TYPE
from knative_mig.core.cluster.staleness import Outside
from knative_mig.core.events import OUTCOMES, Delivered
from knative_mig.core.gpu_node import ConditionType, GpuHealth
from knative_mig.core.mover.values import Phase
from knative_mig.core.pending.asks import Rhythm
from knative_mig.core.pending.demand import Cause
from knative_mig.core.planner.decisions import Because, How
from reconfigurer.agent.gpu_loop import Kind
from reconfigurer.agent.happenings import _NOTES, _WARNINGS
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.planner.condition_writer import MOST_TRIES, PAUSE_S
from reconfigurer.planner.door import Outcome as AtTheDoor
from reconfigurer.planner.floor import FloorOutcome
from reconfigurer.planner.loop import Outcome as Round
from reconfigurer.planner.metrics import FloorMetrics, MeterCollector, MoverMetrics, PlannerMetrics
from reconfigurer.planner.outbox import LOST
from reconfigurer.planner.settings import PlannerSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()
AGENT = ROOT / "knative_mig" / "core" / "agent"


METRICS = (AgentMetrics, PlannerMetrics, FloorMetrics, MoverMetrics, SourceMetrics, WebhookMetrics)


def made_by(metrics: Callable[[CollectorRegistry], object]) -> list[MetricWrapperBase]:
    registry = CollectorRegistry()
    metrics(registry)
    return [each for each in registry._collector_to_names if isinstance(each, MetricWrapperBase)]


def name_of(metric: MetricWrapperBase) -> str:
    return f"{metric._name}_total" if metric._type == "counter" else metric._name


@pytest.mark.parametrize("metrics", METRICS)
def test_every_metric_has_its_row_with_its_labels_and_its_own_words(
    metrics: Callable[[CollectorRegistry], object],
) -> None:
    made = made_by(metrics)
    assert made
    for each in made:
        labels = ", ".join(f"`{label}`" for label in each._labelnames)
        assert f"| `{name_of(each)}` | {labels} | {each._documentation} |" in PAGE


def test_no_row_is_of_a_metric_that_nobody_has() -> None:
    rows = set(re.findall(r"^\| `(knative_mig_[a-z_]+)` \|", PAGE, re.MULTILINE))
    meters = {row for row in rows if row.endswith(("share_seconds_total", "wait_seconds_total"))}
    assert rows == meters | {name_of(each) for metrics in METRICS for each in made_by(metrics)}
    assert len(meters) == 3


def test_no_class_of_metrics_is_forgotten() -> None:
    files = (path for package in ("reconfigurer", "activator_hooks") for path in (ROOT / package).rglob("metrics.py"))
    named = {name for path in files for name in re.findall(r"^class (\w+Metrics):", path.read_text(), re.MULTILINE)}
    assert named == {metrics.__name__ for metrics in METRICS}


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        pytest.param("knative_mig_planner_rounds_total", Round, id="rounds"),
        pytest.param("knative_mig_planner_events_total", AtTheDoor, id="events"),
        pytest.param("knative_mig_planner_steps_total", How, id="steps"),
        pytest.param("knative_mig_planner_outcome_events_total", [*Delivered, LOST], id="outcomes' events"),
        pytest.param("knative_mig_floor_rounds_total", FloorOutcome, id="the floor's rounds"),
        pytest.param("knative_mig_source_events_total", Delivered, id="the source's events"),
        pytest.param("knative_mig_webhook_choices_total", Chosen, id="choices"),
    ],
)
def test_what_a_label_can_be_is_in_the_metrics_row(metric: str, values: Iterable[str]) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{metric}` |")]
    listed = re.search(r"\(([^()]+)\)", row)
    assert listed
    assert sorted(listed[1].split(", ")) == sorted(values)


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


# Why a slice was found, and where: in the outcome and in the log, on no pod.
ON_NO_POD = {Because.IDLE_SLICE, Because.FREE_UNITS, Because.CHEAPEST_MERGE, Because.STARTS_FASTEST}
ON_NO_POD |= {Because.KEEPS_FLEXIBILITY, Because.ASKED_BY_EVENT}


def test_every_event_is_explained() -> None:
    kinds = {f"Slice{kind}" for kind in Kind if kind in _WARNINGS | _NOTES}
    sources = [path.read_text() for path in (ROOT / "reconfigurer").rglob("*.py")]
    named = {reason for text in sources for reason in re.findall(r'EventType\.\w+, "(\w+)"', text)}
    assert {"FloorSet", "MoveBegun", "RecreateAbandoned", "JournalRebuilt"} <= named
    reasons = {*Why, *(set(Because) - ON_NO_POD), *kinds, *named}
    assert {reason for reason in reasons if f"`{reason}`" not in PAGE} == set()


def test_how_fast_conditions_of_pods_are_written_and_how_often_they_are_tried() -> None:
    _, _, section = PAGE.partition("\n### The condition of a pod\n")
    section = " ".join(section.partition("\n### ")[0].split())
    assert f"`{TYPE}` is False" in section
    assert f"reason `{GIVEN}`" in section
    assert f"one every {PAUSE_S} s at the most" in section
    assert f"is tried {('', 'once', 'twice', 'three times', 'four times')[MOST_TRIES]}" in section
    assert f"again after {PlannerSettings().tell_again_s:.0f} s" in section


def test_every_phase_of_a_move_is_explained() -> None:
    _, _, table = PAGE.partition("| phase of a move |")
    firsts = [row.split(" | ")[0] for row in table.partition("\n\n")[0].splitlines()[2:]]
    assert re.findall(r"`(\w+)`", " ".join(firsts)) == [*Phase]


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
    assert all(f"`{word}`" in PAGE for word in ("SliceProvisioned", "SliceReleased", "pendingid"))
